"""Real sessions in the protocol log: what a receiver writes of them, in both layouts."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.protocol_log.rows import FIELDS
from tests.lab import CONNECTOR, SERVER, greeted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the only file in *folder*, by their columns."""
    (path,) = folder.iterdir()
    with path.open(encoding="utf-8", newline="") as file:
        return [dict(zip(FIELDS, line, strict=True)) for line in csv.reader(file) if line[0][0] != "#"]


def shown(found: list[dict[str, str]]) -> list[str]:
    """Return what each row says, with its event."""
    return [f"{row['event']} {row['data']}{'|' if row['context'] else ''}{row['context']}" for row in found]


async def test_a_session_with_starttls(lab: Lab) -> None:
    """From the connection to its end, the rows and their order are those of a front end of Exchange 2019."""
    folder = lab.folder / "protocol-log"
    async with (
        lab.receiver(settings={"protocol_log": {"path": str(folder)}}) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("STARTTLS")
        await peer.upgrade()
        await peer.ask("EHLO edge.lab.test")
        await peer.ask("MAIL FROM:<a@lab.test>")
        await peer.ask("QUIT")

    found = rows(folder)
    said = shown(found)
    assert {row["connector-id"] for row in found} == {f"{SERVER}\\{CONNECTOR}"}
    assert {row["session-id"] for row in found} == {lab.session()["id"].upper()}
    assert {row["local-endpoint"] for row in found} == {lab.session()["local"]}
    assert {row["remote-endpoint"] for row in found} == {lab.session()["remote"]}
    assert [row["sequence-number"] for row in found] == [str(number) for number in range(len(found))]
    assert said[0] == "+ "
    assert said[1].startswith("> 220 mx1.lab.test Microsoft ESMTP MAIL Service ready at ")
    assert said[2] == "< EHLO edge.lab.test"
    assert said[3].startswith("> 250  mx1.lab.test Hello [127.0.0.1] SIZE 37748736 PIPELINING ")
    assert said[4:6] == ["< STARTTLS", "> 220 2.0.0 SMTP server ready"]
    assert said[6].startswith("*  ")
    assert "|Sending certificate Subject Issuer name Serial number Thumbprint Not before" in said[6]
    assert lab.certificate("mx1.lab.test").thumbprint in said[6]
    assert said[7].startswith("* |TLS protocol SP_PROT_TLS1_2_SERVER negotiation succeeded using bulk ")
    assert said[8:11] == [
        "< EHLO edge.lab.test",
        "* |Client certificate chain validation status: 'EmptyCertificate'",
        "* |TlsDomainCapabilities='None'; Status='NoRemoteCertificate'",
    ]
    assert "> 250 2.1.0 Sender OK" in said
    assert said[-3:] == ["< QUIT", "> 221 2.0.0 Service closing transmission channel", "- |Local"]
    assert not lab.warnings


async def test_a_session_in_the_layout_of_2013(lab: Lab) -> None:
    """The permissions are there before the banner, each line of EHLO's answer, each fact of the certificate."""
    folder = lab.folder / "protocol-log"
    settings = {"protocol_log": {"path": str(folder), "layout": 2013}}
    async with lab.receiver(settings=settings) as receiver, await greeted(receiver) as peer:
        await peer.ask("X-ANONYMOUSTLS")
        await peer.upgrade()

    said = shown(rows(folder))
    assert said[:2] == [
        "+ ",
        (
            "* SMTPSubmit SMTPAcceptAnySender SMTPAcceptAuthoritativeDomainSender AcceptRoutingHeaders|"
            "Set Session Permissions"
        ),
    ]
    assert "> 250-PIPELINING" in said
    start = said.index("* |Sending certificate")
    contexts = [line.partition("|")[2] for line in said[start : start + 6]]
    assert contexts == [
        "Sending certificate",
        "Certificate subject",
        "Certificate issuer name",
        "Certificate serial number",
        "Certificate thumbprint",
        "Certificate alternate names",
    ]
    assert f"* {lab.certificate('internal').thumbprint}|Certificate thumbprint" in said
    assert said[-1] == "- |Remote"


async def test_no_secret(lab: Lab) -> None:
    """Neither a name nor a password that a client sends for AUTH LOGIN is in the file, encoded or not."""
    folder = lab.folder / "protocol-log"
    sent = "U2VjcmV0UGFzc3dvcmQ="
    async with (
        lab.receiver(
            settings={"protocol_log": {"path": str(folder)}}, users={r"LAB\alice": "another"}
        ) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("STARTTLS")
        await peer.upgrade()
        await peer.ask("EHLO edge.lab.test")
        await peer.ask("AUTH LOGIN")
        await peer.ask("TEFCXGFsaWNl")
        assert (await peer.ask(sent))[0].startswith("535 ")
        await peer.ask("QUIT")

    (path,) = folder.iterdir()
    text = path.read_text("utf-8")
    assert sent not in text
    assert "SecretPassword" not in text
    assert "Inbound AUTH LOGIN failed because of LogonDenied" in text


@pytest.mark.parametrize("off", [{"path": None}, {}])
async def test_where_there_is_none(lab: Lab, off: dict[str, None]) -> None:
    """Without a path, or with protocol_logging_level None on the connector, no session is written."""
    folder = lab.folder / "protocol-log"
    connector = {} if off else {"protocol_logging_level": "None"}
    settings = {"protocol_log": {"path": str(folder), **off}}
    async with (
        lab.receiver(settings=settings, connector=connector) as receiver,
        await greeted(receiver) as peer,
    ):
        await peer.ask("QUIT")

    assert not folder.exists() or not list(folder.iterdir())
