"""``import`` of what is no dump, or not of one server: one line each, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import dumps
from tests.command import call
from tests.components.importing import DER, THUMBPRINT, imported, minimal, refused
from tests.dumps import REAL, REAL_CONNECTORS, Text
from tests.making import certificate

if TYPE_CHECKING:
    from pathlib import Path


_ENTITIES = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(25))
_BOMB = f'<!DOCTYPE o [<!ENTITY a "aaaaaaaaaa">{_ENTITIES}]><Objs>&z;</Objs>'
_FAR = (
    '<!DOCTYPE o [<!ENTITY x SYSTEM "file:///etc/hostname">]><Objs>&x;</Objs>',
    '<!DOCTYPE o SYSTEM "http://127.0.0.1:9/x.dtd"><Objs/>',
)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(
            REAL_CONNECTORS.read_bytes()[:200_000],
            "is cut off, or not well-formed XML (line ",
            id="truncated",
        ),
        pytest.param(_BOMB, "has a document type, which Export-Clixml never writes; it is not read", id="entity bomb"),
        pytest.param(_FAR[0], "has a document type, which", id="external entity"),
        pytest.param(_FAR[1], "has a document type, which", id="external subset"),
        pytest.param("<Obj>" * 100_000, "is nested deeper than 64 levels; export without -Depth", id="deep nesting"),
        pytest.param(
            f"<Objs>{'<Nil/>' * 200_001}</Objs>", "has more than 200000 elements; export fewer", id="wide"
        ),
        pytest.param(
            dumps.dump(dumps.an_object(dumps.CONNECTOR, {f"P{n}": None for n in range(301)})),
            "has an object with more than 300 properties",
            id="an object with too many properties",
        ),
        pytest.param(b" " * (32 * 1024**2 + 1), "is larger than 32768 KiB", id="large"),
        pytest.param(dumps.dump(f"<S>{'a' * 2**21}</S>"), "has a value longer than 1048576 characters", id="long"),
        pytest.param(
            dumps.dump("<S {}>a</S>".format(" ".join(f'a{n}="1"' for n in range(9)))),
            "has an element with more attributes than Export-Clixml writes",
            id="attributes",
        ),
        pytest.param("", "is cut off, or not well-formed XML (line 1)", id="empty"),
        pytest.param("<html></html>", "is XML, but not what Export-Clixml writes", id="other XML"),
        pytest.param(b"<Objs>\xff\xfe</Objs>", "is cut off, or not well-formed XML", id="octets of no encoding"),
        pytest.param(
            '<?xml version="1.0" encoding="klingon"?><Objs/>', "is in an encoding that is not known", id="encoding"
        ),
        pytest.param(
            dumps.dump('<Obj RefId="0"><TNRef RefId="7"/></Obj>'),
            "is not what Export-Clixml writes (something refers to what is not there)",
            id="a reference to nothing",
        ),
        pytest.param(
            dumps.dump('<Obj RefId="0"><LST><Ref RefId="0"/></LST></Obj>'),
            "has an object that holds itself",
            id="an object that holds itself",
        ),
        pytest.param(dumps.dump("<What/>"), "is not what Export-Clixml writes (Unknown element found: What)", id="element"),
        pytest.param(
            dumps.dump(dumps.an_object(dumps.MAILBOX, {"Name": "alice"})),
            "holds 1 of Microsoft.Exchange.Data.Directory.Management.Mailbox, which import does not read; it takes "
            "dumps of Get-ReceiveConnector, ",
            id="another cmdlet",
        ),
        pytest.param(dumps.dump("<S>hello</S>"), "holds 1 of hello, which import does not read", id="text"),
    ],
)  # fmt: skip
def test_a_dump_that_is_none(tmp_path: Path, content: str | bytes, line: str) -> None:
    """It says what is wrong in one line."""
    (mistake,) = refused(minimal(tmp_path / "in", bad_xml=content), tmp_path)

    assert mistake.startswith(f"bad.xml: {line}")


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"AuthMechanism": Text("Tls, Quantum")}, "AuthMechanism: 'Quantum' is not one of None, Tls, "),
        ({"AuthMechanism": 64}, "AuthMechanism: 64 is not a sum of Tls 1, "),
        ({"AuthMechanism": None}, "AuthMechanism: is empty; a connector has at least None"),
        ({"Bindings": ["25"]}, "Bindings: '25' is not a binding; "),
        ({"RemoteIPRanges": ["everybody"]}, "RemoteIPRanges: 'everybody' is not an address range; "),
        ({"MaxMessageSize": Text("huge")}, "MaxMessageSize: 'huge' is not a whole number"),
        ({"ConnectionTimeout": Text("soon")}, "ConnectionTimeout: 'soon' is not a duration"),
        ({"Enabled": Text("perhaps")}, "Enabled: 'perhaps' is neither true nor false"),
        ({"SizeEnabled": Text("Maybe")}, "SizeEnabled: 'Maybe' is not one of Enabled, "),
        ({"MaxHopCount": Text("Unlimited")}, "MaxHopCount: 'Unlimited' is not a whole number"),
    ],
)
def test_a_property_that_is_not_what_the_cmdlet_writes(
    tmp_path: Path, changed: dict[str, dumps.Property], line: str
) -> None:
    """It is named with its connector; nothing stands for it."""
    source = minimal(tmp_path / "in", connectors_xml=dumps.dump(dumps.a_connector(changed)))
    (mistake,) = refused(source, tmp_path)

    assert mistake.startswith(f"connectors.xml: 'Default Frontend MBX1': {line}")


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (("Server",), "a ReceiveConnector has no Name"),
        (("Name",), "'Default Frontend MBX1' has no Server"),
        (("Name", "Server"), "'Default Frontend MBX1' has no AuthMechanism"),
        (("Name", "Server", "AuthMechanism", "Fqdn"), "'Default Frontend MBX1' has no Bindings"),
    ],
)
def test_a_selection_of_properties(tmp_path: Path, kept: tuple[str, ...], line: str) -> None:
    """Without what decides the selections every answer would be a guess."""
    chosen = dumps.an_object(dumps.CONNECTOR, {name: dumps.USUAL[name] for name in kept}, prefix="Selected.")
    source = minimal(tmp_path / "in", connectors_xml=dumps.dump(chosen))

    assert refused(source, tmp_path) == [
        f"connectors.xml: {line}; export whole objects, without Select-Object"
    ]


def test_all_mistakes_in_one_run(tmp_path: Path) -> None:
    """Each file and each property has its line."""
    source = minimal(
        tmp_path / "in",
        connectors_xml=dumps.dump(dumps.a_connector(Enabled="perhaps", Bindings=["25"])),
        broken_xml="<Objs>",
        broken_cer=b"\x30\x03abc",
    )

    assert [line.partition(":")[0] for line in refused(source, tmp_path)] == [
        "broken.cer",
        "broken.xml",
        "connectors.xml",
        "connectors.xml",
    ]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"RawData": None}, "a certificate has no RawData, the certificate itself; "),
        (
            {"RawData": b"certainly not"},
            "a certificate: RawData is not an X.509 certificate that can be read",
        ),
        (
            {"Services": Text("SMTP, Telnet")},
            "{thumbprint}: Services has 'Telnet', which is not one of IMAP, ",
        ),
        (
            {"SerializationData": b"\0\1\2"},
            "{thumbprint}: SerializationData: it is cut off; export it again",
        ),
        ({"HasPrivateKey": "perhaps"}, "{thumbprint}: 'perhaps' is neither true nor false"),
    ],
)
def test_a_certificate_that_is_not_what_the_cmdlet_writes(
    tmp_path: Path, told: dict[str, dumps.Property], line: str
) -> None:
    """It is named, by its thumbprint where it has one."""
    source = minimal(tmp_path / "in", certificates_xml=dumps.dump(dumps.a_certificate(DER, told)))
    (mistake,) = refused(source, tmp_path)

    assert mistake.startswith(f"certificates.xml: {line.format(thumbprint=THUMBPRINT)}")


def test_two_servers_and_no_choice(tmp_path: Path) -> None:
    """The names that there are."""
    both = dumps.dump(dumps.a_connector(), dumps.a_connector(Server=Text("MBX2")))
    source = minimal(tmp_path / "in", connectors_xml=both)

    assert refused(source, tmp_path) == [
        "connectors.xml: connectors of MBX1, MBX2; say --server with one of them"
    ]
    assert refused(source, tmp_path, "--server", "MBX3") == ["--server: 'MBX3' is not one of MBX1, MBX2"]


def test_two_answers_to_one_question(tmp_path: Path) -> None:
    """Dumps of different times disagree about the directory."""
    value = dumps.dump(dumps.an_object(dumps.X509, {"RawData": certificate("other").der}))
    source = minimal(
        tmp_path / "in", value_xml=value, transport_xml=dumps.dump(dumps.a_transport_service(None))
    )
    (mistake,) = refused(source, tmp_path)

    assert mistake == (
        f"transport.xml: the internal transport certificate is not set, and in value.xml it is "
        f"{certificate('other').thumbprint}; export both again"
    )


@pytest.mark.parametrize(
    ("left_out", "cmdlet"),
    [("connectors.xml", "Get-ReceiveConnector"), ("certificates.xml", "Get-ExchangeCertificate")],
)
def test_a_dump_that_is_missing(tmp_path: Path, left_out: str, cmdlet: str) -> None:
    """What it takes and how to make it: without certificates every answer would be a guess."""
    source = minimal(tmp_path / "in")
    (source / left_out).unlink()
    (mistake,) = refused(source, tmp_path)

    assert f"run: {cmdlet} -Server " in mistake
    assert f"| Export-Clixml {left_out.replace('connectors', 'receive-connectors')}" in mistake


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """The operating system's own reason."""
    (mistake,) = refused(tmp_path / "nowhere", tmp_path)

    assert mistake.endswith(
        "nowhere: cannot be listed (no such file or directory); name the folder with the dumps"
    )


@pytest.mark.parametrize("occupied_by", ["a file in it", "a file of that name"])
def test_an_output_that_is_not_empty(tmp_path: Path, occupied_by: str) -> None:
    """It is refused and stays as it is."""
    output = tmp_path / "out"
    if occupied_by == "a file in it":
        output.mkdir()
        (output / "precious").write_text("mine")
    else:
        output.write_text("mine")
    answer = call("import", REAL, "--output", output)

    assert (answer.code, answer.mistakes) == (
        2,
        [f"{output}: is not an empty folder; name one that is, or a new one"],
    )
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_an_output_that_is_there_and_empty(tmp_path: Path) -> None:
    """It is filled."""
    (tmp_path / "out").mkdir()
    imported(REAL, tmp_path / "out")

    assert (tmp_path / "out" / "receive.yaml").exists()


def test_a_name_that_the_configuration_cannot_have(tmp_path: Path) -> None:
    """What the receiver cannot stand for is told in the words of the configuration, and nothing is written."""
    strange = dumps.dump(dumps.a_connector(Server=Text("MBX 1"), Fqdn=None))
    mistakes = refused(minimal(tmp_path / "in", connectors_xml=strange), tmp_path)

    assert mistakes[0] == (
        f"{tmp_path}/refused/receive.yaml: servers[0].name: 'MBX 1' is not a host label; write letters, digits and "
        "hyphens, such as MBX1 (as the export has it; the receiver cannot stand for such a server)"
    )


def test_hostile_names_are_shown_as_escapes(tmp_path: Path) -> None:
    """A terminal is not driven by what stands in a dump."""
    source = minimal(
        tmp_path / "in", connectors_xml=dumps.dump(dumps.a_connector(Name="a_x001B_[31m", Enabled="x"))
    )
    (mistake,) = refused(source, tmp_path)

    assert "\x1b" not in mistake


def test_private_keys_are_not_taken(tmp_path: Path) -> None:
    """Import takes public certificates alone; a key in the folder is named and left where it is."""
    key = b"-----BEGIN " + b"PRIVATE" + b" KEY-----\nAAAA\n"
    document = imported(minimal(tmp_path / "in", mbx1_key=key), tmp_path / "out")

    assert document["passed_over"] == [
        {"file": "mbx1.key", "reason": "holds a private key; import takes public certificates alone"}
    ]
    assert json.dumps(document).count("AAAA\\n") == 0
