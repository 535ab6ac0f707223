"""``import``: what a real server's dumps become, read back by other means and compared."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
import yaml

from smtpd_anontls.domain.flags import AuthMechanism, PermissionGroups
from tests.command import call
from tests.components.importing import connectors, imported
from tests.dumps import REAL, REAL_CERTIFICATES, REAL_CONNECTORS, REAL_SERVER, REAL_THUMBPRINT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.components.importing import Json


_SPACE = "{http://schemas.microsoft.com/powershell/2004/04}"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, Path]:
    """Import the real dumps once."""
    output = tmp_path_factory.mktemp("real") / "out"
    return imported(REAL, output), output


# -- the real dumps, against the XML itself


def elements(path: Path) -> Iterator[tuple[str, ET.Element]]:
    """Yield each object's Name, or what stands for it, with the object."""
    for element in ET.parse(path).getroot():  # noqa: S314 - a file of our own, read by other means
        name = element.findtext(f"{_SPACE}Props/{_SPACE}S[@N='Name']")
        yield name or "", element


def of(element: ET.Element, name: str) -> ET.Element:
    """Return a property of an object."""
    found = element.find(f"{_SPACE}Props/*[@N='{name}']")
    assert found is not None
    return found


def test_every_connector_is_there(real: tuple[Json, Path]) -> None:
    """In their order, none more."""
    document, output = real
    names = [name for name, _ in elements(REAL_CONNECTORS)]

    assert list(connectors(output)) == document["connectors"] == names
    assert len(names) == 5


@pytest.mark.parametrize("name", [name for name, _ in elements(REAL_CONNECTORS)])
def test_a_connector_is_the_one_in_the_xml(real: tuple[Json, Path], name: str) -> None:
    """Flags by Exchange's numbers, bindings, ranges, limits and durations."""
    element = dict(elements(REAL_CONNECTORS))[name]
    connector = connectors(real[1])[name]

    def number(of_what: str) -> int:
        return int(of(element, of_what).findtext(f"{_SPACE}I32") or of(element, of_what).text or "")

    def text(of_what: str) -> str:
        return of(element, of_what).findtext(f"{_SPACE}ToString") or of(element, of_what).text or ""

    def items(of_what: str) -> list[str]:
        return [
            item.findtext(f"{_SPACE}ToString") or ""
            for item in of(element, of_what).findall(f"{_SPACE}LST/*")
        ]

    def ticks(of_what: str) -> int:
        return int(of(element, of_what).findtext(f"{_SPACE}Props/*[@N='Ticks']") or "")

    assert connector.auth_mechanism == AuthMechanism(number("AuthMechanism"))
    assert connector.permission_groups == PermissionGroups(number("PermissionGroups"))
    assert [str(binding) for binding in connector.bindings] == items("Bindings")
    assert [str(each) for each in connector.remote_ip_ranges] == items("RemoteIPRanges")
    assert (connector.fqdn, connector.tls_certificate_name or "") == (
        text("Fqdn"),
        text("TlsCertificateName"),
    )
    assert connector.transport_role.value == text("TransportRole")
    assert f"{connector.max_message_size:,} bytes" in text("MaxMessageSize")
    assert f"{connector.max_header_size:,} bytes" in text("MaxHeaderSize")
    assert connector.connection_timeout * 10**7 == ticks("ConnectionTimeout")
    assert connector.tarpit_interval * 10**7 == ticks("TarpitInterval")
    assert connector.max_recipients_per_message == number("MaxRecipientsPerMessage")
    assert connector.size_enabled.value == text("SizeEnabled")
    for property_name, key in (
        ("MessageRateLimit", connector.message_rate_limit),
        ("MaxInboundConnectionPerSource", connector.max_inbound_connection_per_source),
        ("MaxInboundConnection", connector.max_inbound_connection),
        ("MaxProtocolErrors", connector.max_protocol_errors),
    ):
        assert ("Unlimited" if key is None else str(key)) == text(property_name)
    for flag in element.findall(f"{_SPACE}Props/{_SPACE}B"):
        key_name = re.sub("_", "", flag.get("N") or "").casefold()
        ours = {field.replace("_", ""): field for field in type(connector).__dataclass_fields__}
        if key_name in ours:
            assert getattr(connector, ours[key_name]) is (flag.text == "true"), flag.get("N")


def test_nothing_is_lost_that_the_table_does_not_name(real: tuple[Json, Path]) -> None:
    """Each property of each object was taken or is named with a reason."""
    document = real[0]
    known = {(each["owner"], each["property"]) for each in (*document["taken"], *document["dropped"])}
    thumbprints = dict(raw_certificates())
    owners = [
        *elements(REAL_CONNECTORS),
        *((thumbprints[raw_of(element)], element) for _, element in elements(REAL_CERTIFICATES)),
    ]
    wanted = {
        (owner, each.get("N") or "")
        for owner, element in owners
        for place in ("Props", "MS")
        for each in element.findall(f"{_SPACE}{place}/*")
    }

    assert wanted - known == set()
    assert len(wanted) > 350
    assert all(each["reason"] for each in document["dropped"])
    assert document["passed_over"] == [{"file": "ORIGIN.md", "reason": "is neither a dump nor a certificate"}]


def raw_of(element: ET.Element) -> str:
    """Return the certificate that an object carries, as it stands in the XML."""
    return element.findtext(f"{_SPACE}Props/{_SPACE}BA[@N='RawData']") or ""


def raw_certificates() -> Iterator[tuple[str, str]]:
    """Yield each certificate of the XML with its thumbprint."""
    for _, element in elements(REAL_CERTIFICATES):
        raw = raw_of(element)
        yield raw, hashlib.sha1(base64.b64decode(raw), usedforsecurity=False).hexdigest().upper()


def test_the_thumbprints_are_those_that_the_dump_shows(real: tuple[Json, Path]) -> None:
    """In the text of each object, by the hash of its octets, and in the output."""
    shown = re.findall(
        r"\[Thumbprint\]_x000D__x000A_  ([0-9A-F]{40})", REAL_CERTIFICATES.read_text("utf-8-sig")
    )

    assert shown == [thumbprint for _, thumbprint in raw_certificates()]
    assert [each["thumbprint"] for each in real[0]["certificates"]] == shown


def test_the_certificates_of_the_store_are_those_of_the_dump(real: tuple[Json, Path]) -> None:
    """To openssl they have the same names and dates in the written files as in the dump's octets."""
    document, output = real
    for raw, thumbprint in raw_certificates():
        (each,) = [found for found in document["certificates"] if found["thumbprint"] == thumbprint]
        written = facts_by_openssl((output / "certs" / each["file"]).read_bytes(), "PEM")

        assert written == facts_by_openssl(base64.b64decode(raw), "DER")
        assert f"notBefore={each['not_before'].replace('T', ' ')}" in written
        assert f"notAfter={each['not_after'].replace('T', ' ')}" in written
        assert f"serial={each['serial_number']}" in written


def facts_by_openssl(octets: bytes, form: str) -> list[str]:
    """Return what openssl says of a certificate."""
    words = (
        "-noout",
        "-subject",
        "-issuer",
        "-serial",
        "-startdate",
        "-enddate",
        "-fingerprint",
        "-dateopt",
        "iso_8601",
    )
    done = subprocess.run(
        ["openssl", "x509", "-inform", form, *words], input=octets, capture_output=True, check=True
    )
    return done.stdout.decode().splitlines()


def test_the_services_are_the_numbers_in_the_streams(real: tuple[Json, Path]) -> None:
    """IMAP, POP and IIS for the certificate of setup, none for the others; all of status Valid."""
    document, output = real
    numbers = {}
    for _, element in elements(REAL_CERTIFICATES):
        stream = base64.b64decode(element.findtext(f"{_SPACE}MS/{_SPACE}BA[@N='SerializationData']") or "")
        found = re.search(
            rb"AllowedServices\x01\x00\x00\x00\x07value__\x00\x08\x02\x00\x00\x00(.{4})", stream, re.DOTALL
        )
        assert found is not None
        numbers[dict(raw_certificates())[raw_of(element)]] = int.from_bytes(found[1], "little")
    bits = {"IMAP": 1, "POP": 2, "UM": 4, "IIS": 8, "SMTP": 16}

    assert numbers[REAL_THUMBPRINT] == 11
    assert {
        each["thumbprint"]: sum(bits[service] for service in each["services"])
        for each in document["certificates"]
    } == numbers
    assert {each["status"] for each in document["certificates"]} == {"Valid"}
    listed = yaml.safe_load((output / "certs" / "services.yaml").read_text())
    assert listed[REAL_THUMBPRINT] == ["IMAP", "POP", "IIS"]


def test_the_private_keys_are_what_the_streams_say(real: tuple[Json, Path]) -> None:
    """A key that can be exported is there; of the others the dump says nothing, so nothing is said."""
    told = {each["thumbprint"]: each["private_key"] for each in real[0]["certificates"]}

    assert told.pop(REAL_THUMBPRINT) == "untold"
    assert set(told.values()) == {"exportable"}
    assert not any((real[1] / "certs").glob("*.key"))


def test_what_no_dump_tells_is_not_guessed(real: tuple[Json, Path]) -> None:
    """The directory is unreadable, and the PowerShell that would tell is named."""
    document, output = real

    assert yaml.safe_load((output / "directory.yaml").read_text()) == {REAL_SERVER: {"readable": False}}
    assert document["internal_transport"]["told"] is False
    assert document["internal_transport"]["powershell"][0] == (
        f"Get-TransportService {REAL_SERVER} | Export-Clixml transport-service.xml"
    )


def test_the_table_for_people(tmp_path: Path) -> None:
    """It names what is lost and says something, the way to have the rest told, and what to type next."""
    answer = call("import", REAL, "--output", tmp_path / "out")

    assert (answer.code, answer.stderr) == (0, "")
    assert re.search(
        r"ReceiveConnector +TlsDomainCapabilities = fabrikam\.com:AcceptCloudServicesMail \(Default Frontend [^)]*\) +what",
        answer.stdout,
    )
    assert re.search(r"DomainSecureEnabled = true .* does not act on it yet", answer.stdout)
    assert "no dump tells it, so the directory counts as unreadable" in answer.stdout
    assert f"Get-TransportService {REAL_SERVER} | Export-Clixml transport-service.xml" in answer.stdout
    assert f"explain --config {tmp_path}/out/receive.yaml" in answer.stdout
