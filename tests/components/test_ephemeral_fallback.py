"""The certificate for the moment that stands in for one that cannot be loaded (event 12024)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from smtpd_anontls.certificates.store import LocalComputerStore
from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.domain.tls_policy import TlsPolicy
from tests.command import call
from tests.components.handshake import NOW, client_context, presented, shake, weak_rsa
from tests.components.watched import files_with
from tests.lab import ABSENT_THUMBPRINT, CONNECTOR, FQDN, SERVER
from tests.peer import Peer

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

FALLING_BACK: dict[str, Any] = {"server": {"ephemeral_fallback": True}, "directory": "missing-thumbprint"}


async def meet(receiver: Receiver, verb: str = "X-ANONYMOUSTLS") -> str:
    """Upgrade a session and return the thumbprint of the certificate that was presented."""
    async with await Peer.connect(receiver.address(CONNECTOR)) as peer:
        await peer.reply()
        assert f"250-{verb}" in await peer.ask("EHLO client.test")
        await peer.ask(verb)
        await peer.upgrade()
        thumbprint = thumbprint_of(peer.presented() or b"")
        await peer.ask("QUIT")
    return thumbprint


async def test_store_makes_one_certificate_for_a_server(tmp_path: Path) -> None:
    """It is RSA 2048 with the server's names, made at the first question, and presented by its thumbprint."""
    store = LocalComputerStore(tmp_path)
    names = (SERVER, FQDN)
    first, *others = await asyncio.gather(*(store.ephemeral(names, NOW) for _ in range(3)))
    key = x509.load_der_x509_certificate(first.der).public_key()

    assert others == [first, first]
    assert (first.common_names, first.subject_alternative_names) == ((SERVER,), names)
    assert (first.self_signed, first.not_before) == (True, NOW)
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048

    context = await store.context(first.thumbprint, TlsPolicy())

    assert presented(shake(context, client_context())) == first.thumbprint
    assert await store.find(first.thumbprint) is None
    assert await store.all() == []
    assert files_with(b"", tmp_path) == []

    (tmp_path / "notes.pem").write_text("")

    assert await store.context(first.thumbprint, TlsPolicy()) is context
    assert await store.ephemeral(("MX2", "mx2.lab.test"), NOW) != first


async def test_receiver_presents_it_until_the_certificate_is_back(lab: Lab) -> None:
    """12024 in place of 12013 at start and in each session; STARTTLS by name is as ever."""
    async with lab.receiver(**FALLING_BACK) as receiver:
        first, second = await meet(receiver), await meet(receiver)
        by_name = await meet(receiver, "STARTTLS")
        text = lab.config.read_text()
        lab.config.write_text(text.replace("name: MX1\n", "name: MX1\n  expiry_warning_days: 7\n"))
        after_a_reload = await meet(receiver)
        (lab.config.parent / "directory.yaml").write_text(
            f"MX1: {{msExchServerInternalTLSCert: {lab.certificate('internal').thumbprint}}}"
        )
        restored = await meet(receiver)

    assert first == second == after_a_reload
    assert first not in {lab.certificate(name).thumbprint for name in ("internal", FQDN)}
    assert by_name == lab.certificate(FQDN).thumbprint
    assert restored == lab.certificate("internal").thumbprint
    assert [event["event_id"] for event in lab.events] == [12024] * 5
    assert {event["level"] for event in lab.events} == {"Information"}
    assert {tuple(event["inserts"]) for event in lab.events} == {(ABSENT_THUMBPRINT, first)}
    assert lab.events[0]["message"].endswith(f"certificate with thumbprint {first} is being used.")
    assert [event["session_id"] is None for event in lab.events].count(True) == 1


async def test_starttls_presents_the_same_where_it_presents_the_internal_transport_certificate(
    lab: Lab,
) -> None:
    """A client without the verb meets the certificate that X-ANONYMOUSTLS has."""
    connector = {"starttls_certificate": "internal_transport"}
    async with lab.receiver(**FALLING_BACK, connector=connector) as receiver:
        thumbprints = {await meet(receiver), await meet(receiver, "STARTTLS")}

    assert len(thumbprints) == 1
    assert {event["event_id"] for event in lab.events} == {12024}


@pytest.mark.parametrize("falls_back", [True, False])
async def test_certificate_that_openssl_does_not_take(lab: Lab, *, falls_back: bool) -> None:
    """A key that the cipher string's security level forbids is as good as none, and falls back like one."""
    lab.write()
    weak = weak_rsa()
    (lab.store / "weak.pem").write_bytes(weak.certificate_pem + weak.key_pem)
    thumbprint = weak.certificate.thumbprint
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(
            lab.receiver(
                server={"ephemeral_fallback": falls_back},
                directory={"msExchServerInternalTLSCert": thumbprint},
                settings={"tls": {"ciphers": "HIGH:@SECLEVEL=2"}},
            )
        )
        if falls_back:
            assert await meet(receiver) != thumbprint
        else:
            peer = await stack.enter_async_context(await Peer.connect(receiver.address(CONNECTOR)))
            await peer.reply()
            assert "250-X-ANONYMOUSTLS" not in await peer.ask("EHLO client.test")

    (selection,) = (each for each in lab.session()["selections"] if each["verb"] == "X-ANONYMOUSTLS")
    step = selection["steps"][3]
    assert (step["step"], step["passed"]) == ("certificate_store", falls_back)
    assert step["detail"].startswith(
        "weak.pem holds it: CN=OLD, issued by CN=OLD; weak.pem: OpenSSL does not take it"
    )
    assert {event["event_id"] for event in lab.events} == ({12024} if falls_back else {12013})


def test_check_and_explain_say_so(lab: Lab) -> None:
    """A connector with a stand-in can do what it is asked; the sentence names the process that made it."""
    config = lab.write(**FALLING_BACK)
    check, explain = call("check", "--config", config), call("explain", "--config", config, "--json")
    (selection, _) = explain.document
    thumbprint = selection["certificate"]["thumbprint"]

    assert check.code == 0
    assert "would write event 12024 (Information) for MX1" in check.stdout.splitlines()
    assert (selection["advertised"], selection["event_ids"]) == (True, [12024])
    assert selection["steps"][3] == {
        "step": "certificate_store",
        "passed": True,
        "detail": f"the local computer store holds no certificate with thumbprint {ABSENT_THUMBPRINT}; instead an "
        "ephemeral, self-signed certificate is used, which is in the memory of this process alone: "
        f"{thumbprint}",
    }
