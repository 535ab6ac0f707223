"""``import`` of dumps in every form that PowerShell writes, and of what the real ones lack."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
import yaml

from tests import dumps
from tests.command import call
from tests.components.importing import DER, THUMBPRINT, connectors, imported, minimal, refused
from tests.dumps import REAL, REAL_SERVER, Text
from tests.making import certificate

if TYPE_CHECKING:
    from pathlib import Path


def test_files_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    """Whatever they are called, in UTF-16 as Export-Clixml writes it, or in UTF-8 with and without a mark."""
    source = dumps.write(
        tmp_path / "in",
        one_bin=dumps.dump(dumps.a_connector()).encode("utf-16"),
        two_txt=b"\xef\xbb\xbf" + dumps.dump(dumps.a_certificate(DER)).encode(),
        three_xml=dumps.dump(dumps.a_transport_service(THUMBPRINT)),
    )
    document = imported(source, tmp_path / "out")

    assert document["connectors"] == ["Default Frontend MBX1"]
    assert document["internal_transport"]["thumbprint"] == THUMBPRINT


@pytest.mark.parametrize("prefix", ["", "Deserialized.", "Selected."])
def test_types_by_any_session(tmp_path: Path, prefix: str) -> None:
    """A session that does not know the types, and Select-Object, put a word before their names."""
    source = minimal(tmp_path / "in", connectors_xml=dumps.dump(dumps.a_connector(prefix=prefix)))

    assert imported(source, tmp_path / "out")["connectors"] == ["Default Frontend MBX1"]


def test_a_list_that_was_exported_whole(tmp_path: Path) -> None:
    """Export-Clixml -InputObject makes one list of all objects."""
    both = dumps.a_connector() + dumps.a_connector(Name="Relay", Bindings=["10.0.0.1:25"])
    source = minimal(tmp_path / "in", connectors_xml=dumps.dump(f"<Obj><LST>{both}</LST></Obj>"))

    assert imported(source, tmp_path / "out")["connectors"] == ["Default Frontend MBX1", "Relay"]


def test_the_server_says_its_name_and_role(tmp_path: Path) -> None:
    """Get-ExchangeServer goes before what the connectors suggest."""
    said = dumps.an_object(
        dumps.SERVER, {"Name": "MBX1", "Fqdn": "edge.contoso.test", "ServerRole": Text("Edge")}
    )
    document = imported(minimal(tmp_path / "in", server_xml=dumps.dump(said)), tmp_path / "out")

    assert (document["fqdn"], document["role"]) == ("edge.contoso.test", "Edge")
    # The connector has another name now, which Exchange would not allow.
    assert ["must be the server's FQDN" in finding for finding in document["findings"]] == [True]


def test_a_server_whose_name_nobody_says(tmp_path: Path) -> None:
    """Its own label stands for the FQDN, and the document says that no dump says it."""
    source = minimal(tmp_path / "in", connectors_xml=dumps.dump(dumps.a_connector(Fqdn=None)))
    document = imported(source, tmp_path / "out")

    assert document["fqdn"] == "MBX1"
    assert document["fqdn_from"].startswith("no dump says it")


def test_the_value_of_the_directory(tmp_path: Path) -> None:
    """The certificate itself is kept beside the directory, not put into the store."""
    other = certificate("other")
    value = dumps.dump(dumps.an_object(dumps.X509, {"RawData": other.der}))
    document = imported(minimal(tmp_path / "in", value_xml=value), tmp_path / "out")
    explained = call(
        "explain", "--config", tmp_path / "out" / "receive.yaml", "--verb", "X-ANONYMOUSTLS", "--json"
    ).document

    assert document["internal_transport"]["thumbprint"] == other.thumbprint
    assert [each["thumbprint"] for each in document["certificates"]] == [THUMBPRINT]
    (selection,) = explained
    assert selection["event_ids"] == [12013]
    assert selection["steps"][2]["detail"].endswith(f"names {other.thumbprint} as a certificate (DER)")


def test_an_attribute_that_is_not_set(tmp_path: Path) -> None:
    """A null thumbprint is an answer."""
    source = minimal(tmp_path / "in", transport_xml=dumps.dump(dumps.a_transport_service(None)))
    document = imported(source, tmp_path / "out")

    assert document["internal_transport"] == {"told": True, "thumbprint": None, "powershell": []}
    directory = yaml.safe_load((tmp_path / "out" / "directory.yaml").read_text())
    assert directory == {"MBX1": {"msExchServerInternalTLSCert": None}}


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_plain_certificates(tmp_path: Path, form: str) -> None:
    """A .cer is a certificate of the store of which nothing else is told."""
    other = certificate("other")
    pem = f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(other.der).decode()}-----END CERTIFICATE-----\n"
    source = minimal(tmp_path / "in", other_cer=other.der if form == "DER" else pem)
    document = imported(source, tmp_path / "out")
    told = {each["thumbprint"]: each for each in document["certificates"]}

    assert (told[other.thumbprint]["services"], told[other.thumbprint]["private_key"]) == (None, "untold")
    assert other.thumbprint not in (tmp_path / "out" / "certs" / "services.yaml").read_text()


def test_two_servers_of_one_organization(tmp_path: Path) -> None:
    """--server chooses, in any case and with a domain, and the other's objects are named as left out."""
    theirs = certificate("theirs")
    source = dumps.write(
        tmp_path / "in",
        connectors_xml=dumps.dump(
            dumps.a_connector(), dumps.a_connector(Server=Text("MBX2"), Name="Default Frontend MBX2")
        ),
        certificates_xml=dumps.dump(
            dumps.a_certificate(DER, Identity=f"mbx1.contoso.test\\{THUMBPRINT}"),
            dumps.a_certificate(theirs.der, Identity=f"mbx2.contoso.test\\{theirs.thumbprint}"),
        ),
        transport_xml=dumps.dump(
            dumps.a_transport_service(THUMBPRINT), dumps.a_transport_service(theirs.thumbprint, "MBX2")
        ),
    )
    document = imported(source, tmp_path / "out", "--server", "mbx2.contoso.test")
    left_out = [each["owner"] for each in document["dropped"] if each["property"] == "(the object)"]

    assert document["server"] == "MBX2"
    assert document["internal_transport"]["thumbprint"] == theirs.thumbprint
    assert [each["thumbprint"] for each in document["certificates"]] == [theirs.thumbprint]
    assert left_out == ["Default Frontend MBX1", THUMBPRINT, "MBX1"]


def test_a_request_that_waits_for_its_certificate(tmp_path: Path) -> None:
    """It is in no personal store, so it is left out, and named."""
    waiting = certificate("waiting")
    both = dumps.dump(
        dumps.a_certificate(DER), dumps.a_certificate(waiting.der, Status=Text("PendingRequest"))
    )
    document = imported(minimal(tmp_path / "in", certificates_xml=both), tmp_path / "out")

    assert [each["thumbprint"] for each in document["certificates"]] == [THUMBPRINT]
    assert [each["owner"] for each in document["dropped"] if each["property"] == "(the object)"] == [
        waiting.thumbprint
    ]


def test_a_certificate_whose_key_the_server_lacks(tmp_path: Path) -> None:
    """It is explained as on the server: 12013."""
    source = minimal(
        tmp_path / "in",
        certificates_xml=dumps.dump(dumps.a_certificate(DER, HasPrivateKey=False)),
        transport_xml=dumps.dump(dumps.a_transport_service(THUMBPRINT)),
    )
    imported(source, tmp_path / "out")
    (selection,) = call(
        "explain", "--config", tmp_path / "out" / "receive.yaml", "--verb", "X-ANONYMOUSTLS", "--json"
    ).document

    assert selection["event_ids"] == [12013]
    assert selection["steps"][-1]["detail"].endswith("it has no private key, so it cannot be loaded")


def test_dumps_of_the_same_object(tmp_path: Path) -> None:
    """Two files may say the same; two that differ are a mistake."""
    twice = dumps.dump(dumps.a_connector())
    source = minimal(tmp_path / "in", again_xml=twice)

    assert imported(source, tmp_path / "out")["connectors"] == ["Default Frontend MBX1"]
    dumps.write(source, again_xml=dumps.dump(dumps.a_connector(Bindings=["10.0.0.1:25"])))
    assert refused(source, tmp_path) == [
        "connectors.xml: 'Default Frontend MBX1' is in again.xml too, with other properties; keep one of the dumps"
    ]


def test_a_port_offset(tmp_path: Path) -> None:
    """Each port moves by it, so that serving needs no right to low ports."""
    imported(REAL, tmp_path / "out", "--port-offset", "20000")

    assert [str(b) for b in connectors(tmp_path / "out")[f"Default {REAL_SERVER}"].bindings] == [
        "0.0.0.0:22525",
        "[::]:22525",
    ]
    answer = call("import", REAL, "--output", tmp_path / "far", "--port-offset", "64000")
    assert (answer.code, answer.mistakes) == (
        2,
        [f"--port-offset: 2525 of 'Default {REAL_SERVER}' would become 66525, which is no port"],
    )


def test_rules_that_the_server_breaks_are_findings(tmp_path: Path) -> None:
    """They are told, and the configuration is written all the same; serving it is refused."""
    source = minimal(
        tmp_path / "in", connectors_xml=dumps.dump(dumps.a_connector(Fqdn=Text("mail.contoso.test")))
    )
    answer = call("import", source, "--output", tmp_path / "out")
    config = tmp_path / "out" / "receive.yaml"

    assert answer.code == 0
    assert answer.stderr.startswith(f"finding: {config}: servers[0].connectors[0].fqdn: ")
    assert call("explain", "--config", config).code == 0
    assert call("check", "--config", config).code == 2
