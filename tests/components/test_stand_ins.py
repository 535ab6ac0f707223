"""An imported server: explained as the real one, served with look-alikes alone."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from smtpd_anontls.certificates.pem import pem_of
from smtpd_anontls.certificates.stand_ins import StandInError, StandIns
from smtpd_anontls.domain.certificate import Certificate
from smtpd_anontls.receiver import Receiver
from smtpd_anontls.settings.load import ConfigError, load_config
from tests import dumps
from tests.command import call, serving
from tests.components.importing import imported
from tests.dumps import REAL, REAL_SERVER, REAL_THUMBPRINT
from tests.lab import greeted
from tests.making import DAY, NOW, certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import Serving
    from tests.lab import Lab

pytestmark = pytest.mark.slow

Json = dict[str, Any]

ALL = 1 | 2 | 8 | 16  # IMAP, POP, IIS, SMTP.


def replay(folder: Path, services: int) -> tuple[Path, list[str]]:
    """Import the real dumps with what they lack, on free ports; return the configuration and what serving needs."""
    source = dumps.write(
        folder / "in",
        connectors_xml=dumps.REAL_CONNECTORS.read_bytes(),
        certificates_xml=dumps.with_services(
            dumps.REAL_CERTIFICATES.read_text("utf-8-sig"), [REAL_THUMBPRINT], services
        ),
        transport_xml=dumps.dump(dumps.a_transport_service(REAL_THUMBPRINT, REAL_SERVER)),
    )
    document = imported(source, folder / "out")
    ports = [
        word
        for number in range(len(document["connectors"]))
        for word in ("--set", f"servers[0].connectors[{number}].bindings=127.0.0.1:0")
    ]
    return folder / "out" / "receive.yaml", ports


@pytest.fixture(
    scope="module", params=[pytest.param(11, id="as it is"), pytest.param(ALL, id="enabled for SMTP")]
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Serving, list[Json]]]:
    """Run the stand-in of the real server, and return it with what was explained before."""
    config, ports = replay(tmp_path_factory.mktemp("replay"), request.param)
    explained = call("explain", "--config", config, "--json").document
    with serving(config, "--stand-in-keys", *ports) as receiver:
        yield receiver, explained


def test_the_stand_in_answers_as_it_was_explained(server: tuple[Serving, list[Json]]) -> None:
    """On every connector a probe sees the verbs, names and dates that the explanation has, by another key."""
    receiver, explained = server
    assert len(explained) == 10
    for selection in explained:
        (bound,) = [
            each for each in receiver.started["listening"] if each["connector"] == selection["connector"]
        ]
        answer = call("probe", f"127.0.0.1:{bound['port']}", "--verb", selection["verb"], "--json")
        probed = answer.document
        assert probed["advertised"] is selection["advertised"], answer.stdout
        assert (selection["verb"] in json.dumps(probed["ehlo"])) is selection["advertised"]
        shown, real = probed["certificate"], selection["certificate"]
        if real is None:
            assert shown is None
            continue
        (started,) = [
            each
            for each in receiver.started["selections"]
            if (each["connector"], each["verb"]) == (selection["connector"], selection["verb"])
        ]

        assert {**shown, "thumbprint": ""} == {**real, "thumbprint": ""}
        assert shown["thumbprint"] == started["certificate"]["thumbprint"] != real["thumbprint"]
        assert started["event_ids"] == selection["event_ids"]


def test_every_trace_is_marked(server: tuple[Serving, list[Json]]) -> None:
    """Where a look-alike is presented the step that chose says so; explanations say where the key is."""
    receiver, explained = server
    chosen = [each for each in receiver.started["selections"] if each["certificate"] is not None]
    marked = [each for each in chosen if sum("STAND-IN" in step["detail"] for step in each["steps"]) == 1]

    assert chosen
    assert marked == chosen
    assert all(
        "its private key is on the server that was exported (assumed: the export does not say)"
        in json.dumps(each)
        for each in explained
        if each["certificate"] is not None
    )
    assert "STAND-IN" not in json.dumps(explained)


def test_without_a_look_alike_nothing_is_served(tmp_path: Path) -> None:
    """It says which certificate, and both ways out."""
    config, ports = replay(tmp_path, ALL)
    answer = call("serve", "--config", config, "--set", "web.bind=null", *ports)
    line = answer.mistakes[-1]

    assert answer.code == 2
    assert line == (
        f"{config}: {REAL_SERVER}: WIN-CTD3L0RGEN4-611C687D.cer has its private key on the server that it was exported "
        "from, so it can be explained but not served; say --stand-in-keys to serve a look-alike with a key of its own, "
        "or put the key beside it"
    )


def test_a_server_whose_certificates_nobody_chose(tmp_path: Path) -> None:
    """Without a certificate there is nothing to stand in for: the dumps alone are served as they are."""
    imported(REAL, tmp_path / "out")
    ports = [word for n in range(5) for word in ("--set", f"servers[0].connectors[{n}].bindings=127.0.0.1:0")]
    with serving(tmp_path / "out" / "receive.yaml", *ports) as receiver:
        advertised = [each["advertised"] for each in receiver.started["selections"]]

    assert advertised == [False] * 10


def test_what_a_person_is_told(tmp_path: Path) -> None:
    """The listing names the certificates' private keys, and the store's own command, too."""
    config, _ = replay(tmp_path, ALL)
    listed = call("certificate", "list", "--config", config)
    (internal,) = [
        each
        for each in call("certificate", "list", "--config", config, "--json").objects
        if each["internal_transport"]
    ]

    assert "has its private key on the server that it was exported from" in listed.stdout
    assert (internal["thumbprint"], internal["private_key"]) == (REAL_THUMBPRINT, "elsewhere")


def test_when_does_it_expire(tmp_path: Path) -> None:
    """The day before, the day after, as a selection of the real server."""
    config, _ = replay(tmp_path, ALL)

    def asked(at: str) -> list[int]:
        words = ("--connector", f"Default {REAL_SERVER}", "--verb", "X-ANONYMOUSTLS", "--at", at, "--json")
        (selection,) = call("explain", "--config", config, *words).document
        assert selection["certificate"]["thumbprint"] == REAL_THUMBPRINT
        events: list[int] = selection["event_ids"]
        return events

    assert asked("2026-08-06T13:56:14Z") == []
    assert asked("2026-08-06T13:56:15Z") == [12015]


def test_which_connector_takes_a_peer(tmp_path: Path) -> None:
    """The bindings and ranges are the server's own, so the question is answered for it."""
    config, _ = replay(tmp_path, ALL)
    answer = call(
        "explain", "--config", config, "--remote-ip", "10.1.2.3", "--local", "10.0.0.1:587", "--json"
    )

    assert {each["connector"] for each in answer.document} == {f"Client Frontend {REAL_SERVER}"}


# -- a running receiver


async def test_a_receiver_in_python(tmp_path: Path) -> None:
    """With look-alikes it listens and presents one; its selections say so."""
    config, ports = replay(tmp_path, ALL)
    loaded = load_config(config, overrides=ports[1::2], environ={})
    stand_ins = StandIns()
    async with Receiver(loaded, stand_ins=stand_ins) as receiver:
        host, port = receiver.address(f"Default {REAL_SERVER}")
        answer = await asyncio.to_thread(call, "probe", f"{host}:{port}", "--json")
        chosen = {
            s.certificate.thumbprint for _, s in receiver.selections_at_start if s.certificate is not None
        }

    shown = stand_ins.made[REAL_THUMBPRINT].thumbprint
    assert chosen == {shown}
    assert answer.document["certificate"]["thumbprint"] == shown


async def test_a_receiver_without_look_alikes(tmp_path: Path) -> None:
    """It does not start."""
    config, ports = replay(tmp_path, ALL)
    receiver = Receiver(load_config(config, overrides=ports[1::2], environ={}))

    with pytest.raises(ConfigError, match="can be explained but not served"):
        await receiver.__aenter__()


async def test_a_key_that_leaves_a_running_receiver(lab: Lab) -> None:
    """A session is not offered what cannot be loaded, whatever an export says of it: 12013."""
    async with lab.receiver() as receiver:
        own = lab.certificate("internal")
        (lab.store / "internal.pem").write_bytes(pem_of(own.der))
        (lab.store / "exported.yaml").write_text(f"{own.thumbprint}: {{private_key: present}}\n")
        async with await greeted(receiver) as peer:
            assert await peer.ask("X-ANONYMOUSTLS") == ["500 5.3.3 Unrecognized command"]
    (anonymous,) = [s for s in lab.session()["selections"] if s["verb"] == "X-ANONYMOUSTLS"]

    assert anonymous["event_ids"] == [12013]
    assert "has its private key on the server that it was exported from" in anonymous["steps"][-1]["detail"]


# -- one look-alike


def look_alike(real: Certificate) -> Certificate:
    """Return what stands in for *real*."""
    return asyncio.run(StandIns().standing_in_for(real))


@pytest.mark.parametrize(
    "real",
    [
        pytest.param(certificate("mbx1"), id="self-signed"),
        pytest.param(certificate("mail", issuer="Contoso Issuing CA"), id="issued"),
        pytest.param(certificate("old", not_before=NOW - 300 * DAY, not_after=NOW - DAY), id="expired"),
        pytest.param(certificate("bare", names=()), id="without alternative names"),
    ],
)
def test_a_look_alike_has_the_same_names_and_dates(real: Certificate) -> None:
    """All that a selection looks at is the same, and the key is another."""
    shown = look_alike(real)
    keys = {x509.load_der_x509_certificate(each.der).public_key().public_numbers() for each in (shown, real)}  # type: ignore[union-attr]

    assert len(keys) == 2
    assert shown.thumbprint != real.thumbprint
    for name in (
        "subject",
        "issuer",
        "serial_number",
        "not_before",
        "not_after",
        "subject_alternative_names",
    ):
        assert getattr(shown, name) == getattr(real, name)
    assert shown.self_signed is real.self_signed


async def test_a_look_alike_is_made_once() -> None:
    """Whoever asks at the same time gets the same one, and it is found by its own thumbprint."""
    stand_ins = StandIns()
    real = certificate("mbx1")
    first, second = await asyncio.gather(stand_ins.standing_in_for(real), stand_ins.standing_in_for(real))

    assert first is second
    found = stand_ins.find(first.thumbprint)
    assert found is not None
    assert found.held.certificate == first
    assert stand_ins.find(real.thumbprint) is None
    assert stand_ins.made == {real.thumbprint: first}


def test_the_real_keys_kind_and_size_are_kept() -> None:
    """Setup's own is RSA of 2048 bits; a peer sees the same strength."""
    for raw in dumps.REAL_CERTIFICATES.read_text("utf-8-sig").split('<BA N="RawData">')[1:]:
        real = Certificate.from_der(base64.b64decode(raw.partition("<")[0]))
        key = x509.load_der_x509_certificate(look_alike(real).der).public_key()

        assert getattr(key, "key_size", 0) == 2048


def test_a_certificate_that_nobody_can_make() -> None:
    """One that ends before it begins can be read, but not made again; the reason is one clause."""
    first, last = re.findall(rb"\x17\x0d(\d{12}Z)", certificate("mbx1").der)
    backwards = certificate("mbx1").der.replace(last, b"200101000000Z")
    assert first < last

    with pytest.raises(StandInError, match=r"^no look-alike of [0-9A-F]{40} can be made: "):
        look_alike(Certificate.from_der(backwards))
