"""Importing for tests: the command, and the least that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smtpd_anontls.settings.load import load_config
from tests import dumps
from tests.command import call
from tests.making import certificate

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.connectors import ReceiveConnector

Json = dict[str, Any]

DER = certificate("mbx1").der
THUMBPRINT = certificate("mbx1").thumbprint


def imported(source: Path, output: Path, *more: str) -> Json:
    """Import *source* and return what the command says of it."""
    answer = call("import", source, "--output", output, "--json", *more)
    assert answer.code == 0, answer.stderr
    document: Json = answer.document
    return document


def minimal(folder: Path, **more: str | bytes) -> Path:
    """Write the least that can be imported: a connector and a certificate of MBX1."""
    usual: dict[str, str | bytes] = {
        "connectors_xml": dumps.dump(dumps.a_connector()),
        "certificates_xml": dumps.dump(dumps.a_certificate(DER)),
    }
    return dumps.write(folder, **{**usual, **more})


def connectors(output: Path) -> dict[str, ReceiveConnector]:
    """Return the connectors of the written configuration by name."""
    (server,) = load_config(output / "receive.yaml", environ={}).settings.servers
    return {each.name: each for each in server.server.connectors}


def refused(source: Path, folder: Path, *more: str) -> list[str]:
    """Return the lines of an import that is refused; nothing may be left of it."""
    output = folder / "refused"
    answer = call("import", source, "--output", output, *more)
    assert (answer.code, answer.stdout) == (2, "")
    assert not output.exists()
    assert not list(folder.glob(".refused*"))
    return answer.mistakes
