"""Kerberos through a whole receiver: another server logs on as Exchange's do, and every way in which it may not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.components.logging_on import (
    AS_SERVER,
    AUTHENTICATED,
    DENIED,
    FAULT,
    OK,
    attempts,
    end_point,
    events,
    exchange,
    mail,
)
from tests.components.ntlm_talking import Client
from tests.initiator import HOST, Initiator
from tests.lab import CONNECTOR, eventually, secured
from tests.mit_kdc import SERVICE, keep_replays, set_clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.components.logging_on import Json
    from tests.lab import Lab, Pki
    from tests.mit_kdc import MitKdc
    from tests.peer import Peer
    from tests.samba import DomainController

pytestmark = pytest.mark.slow  # A KDC, and Samba.

USER, PASSWORD = "CONTOSO\\alice", "open sesame"
SENDER = "CONTOSO\\MBX2$"
CONTEXT = "X-EXPS GSSAPI"
OTHER_HOST = "mbx2.contoso.test"


def given(keytab: Path, **more: Json) -> Json:
    """Return the arguments of a receiver that is MBX1, and takes mail of servers alone."""
    return {
        "server": {"fqdn": HOST, "keytab": str(keytab)},
        "store": {HOST: "valid"},
        "users": {USER: PASSWORD},
        **more,
        "connector": {"permission_groups": ["ExchangeServers"], **more.get("connector", {})},
    }


async def log_on(peer: Peer, initiator: Initiator, command: str = CONTEXT) -> str:
    """Let *initiator* log on; it has to be satisfied with the server, too."""
    line = await exchange(peer, command, initiator.first(), initiator.answer)
    assert initiator.is_done or line != AUTHENTICATED
    return line


async def is_usable(peer: Peer) -> bool:
    """Whether the session goes on, and its sender can still say who it is."""
    client = Client(USER, PASSWORD, binding=end_point(peer))
    assert await peer.ask("NOOP") == [OK]
    return await exchange(peer, "X-EXPS NTLM", client.negotiate(), client.answer) == AUTHENTICATED


# -- Active Directory


async def test_server_of_the_domain_sends_mail(
    lab: Lab, pki: Pki, kerberos: DomainController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MBX2$ logs on to MBX1 inside X-ANONYMOUSTLS, is an Exchange server by the directory, and may do what those may."""
    keep_replays(tmp_path, monkeypatch)
    kerberos.publish(pki.credentials("internal").certificate.der)
    ours = given(kerberos.keytab("MBX1$"), settings={"directory": kerberos.settings()})
    ours["server"]["name"] = "MBX1"
    async with lab.receiver(**ours) as receiver, await secured(receiver) as peer:
        assert (await peer.ask("MAIL FROM:<a@lab.test>"))[0].startswith("530 5.7.57 ")
        initiator = Initiator(keytab=kerberos.keytab("MBX2$"), binding=end_point(peer))
        assert await log_on(peer, initiator) == AUTHENTICATED
        assert "Queued mail for delivery" in await mail(peer)
        await peer.ask("QUIT")

    session = lab.session()
    assert (session["authenticated_as"], session["outcome"]) == (SENDER, "completed")
    assert session["groups"] == ["ExchangeUsers", "ExchangeServers"]
    assert session["permissions"] == AS_SERVER
    assert attempts(session) == [("X-EXPS", "GSSAPI", SENDER, None)]
    detail = session["authentications"][0]["detail"]
    assert detail.startswith("Kerberos, a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST")
    assert (
        f"; the directory says ExchangeUsers, ExchangeServers of {SENDER}: it is an account of the " in detail
    )
    assert [message["sender"] for message in lab.messages] == ["a@lab.test"]
    assert lab.events == []


async def test_accounts_of_the_domain_that_may_not(
    lab: Lab, pki: Pki, kerberos: DomainController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user of the domain is no Exchange server; a ticket for another server, or used before, is none for this one."""
    keep_replays(tmp_path, monkeypatch)
    kerberos.publish(pki.credentials("internal").certificate.der)
    ours = given(kerberos.keytab("MBX1$"), settings={"directory": kerberos.settings()})
    ours["server"]["name"] = "MBX1"
    async with lab.receiver(**ours) as receiver:
        async with await secured(receiver) as peer:
            other = Initiator(keytab=kerberos.keytab("MBX2$"), host=OTHER_HOST)
            assert await log_on(peer, other) == DENIED
            reader = Initiator(keytab=kerberos.keytab("svc-reader"))
            used = reader.first()
            assert await exchange(peer, CONTEXT, used, reader.answer) == AUTHENTICATED
            refused = await mail(peer)
        async with await secured(receiver) as peer:
            assert await exchange(peer, CONTEXT, used, bytes) == DENIED
            assert await is_usable(peer)

    assert refused == "550 5.7.1 Client does not have permissions to submit to this server"
    again, first = lab.sessions
    assert attempts(first) == [
        ("X-EXPS", "GSSAPI", None, "wrong_key"),
        ("X-EXPS", "GSSAPI", "CONTOSO\\svc-reader", None),
    ]
    assert first["groups"] == ["ExchangeUsers"]
    assert [failure for *_, failure in attempts(again)] == ["replay", None]
    assert events(lab, 1035) == [["LogonDenied", CONNECTOR, "Gssapi", "127.0.0.1"]] * 2


# -- tickets that are not taken


def of_another_host(realm: MitKdc, _folder: Path, _binding: bytes) -> bytes:
    """Return the token of a ticket for MBX2."""
    return Initiator(keytab=realm.client_keytab, host=OTHER_HOST).first()


def bound_elsewhere(realm: MitKdc, _folder: Path, binding: bytes) -> bytes:
    """Return the token of a client that was shown another certificate."""
    return Initiator(keytab=realm.client_keytab, binding=binding[:-1] + b"!").first()


def unbound(realm: MitKdc, _folder: Path, _binding: bytes) -> bytes:
    """Return the token of a client that binds nothing."""
    return Initiator(keytab=realm.client_keytab).first()


def of_another_time(realm: MitKdc, folder: Path, _binding: bytes) -> bytes:
    """Return the token of a client whose clock is an hour ahead."""
    return Initiator(cache=set_clock(realm.ticket(folder / "tickets"), 3600)).first()


def garbage(_realm: MitKdc, _folder: Path, _binding: bytes) -> bytes:
    """Return no token of Kerberos."""
    return b"no token"


REQUIRE = {"extended_protection_policy": "Require"}
LOGON_DENIED, ILLEGAL_MESSAGE = "LogonDenied", "IllegalMessage"


@pytest.mark.parametrize(
    ("token_of", "connector", "failure", "error", "identity"),
    [
        pytest.param(of_another_host, {}, "wrong_key", LOGON_DENIED, None, id="another host's"),
        pytest.param(bound_elsewhere, REQUIRE, "wrong_binding", LOGON_DENIED, None, id="wrong binding"),
        pytest.param(
            unbound, REQUIRE, "missing_binding", LOGON_DENIED, "CONTOSO\\MBX2$", id="missing binding"
        ),
        pytest.param(of_another_time, {}, "clock_skew", LOGON_DENIED, None, id="skewed clock"),
        pytest.param(garbage, {}, "malformed", ILLEGAL_MESSAGE, None, id="garbage"),
    ],
)
async def test_a_ticket_that_is_not_taken(
    lab: Lab,
    realm: MitKdc,
    tmp_path: Path,
    *,
    token_of: Callable[[MitKdc, Path, bytes], bytes],
    connector: Json,
    failure: str,
    error: str,
    identity: str | None,
) -> None:
    """It is refused alike, whatever the reason: that is in the record, and the error in event 1035."""
    ours = given(realm.keytab, connector=connector)
    async with lab.receiver(**ours) as receiver, await secured(receiver) as peer:
        token = token_of(realm, tmp_path, end_point(peer))
        assert await exchange(peer, CONTEXT, token, bytes) == DENIED
        assert await is_usable(peer)

    assert attempts(lab.session()) == [
        ("X-EXPS", "GSSAPI", identity, failure),
        ("X-EXPS", "NTLM", USER, None),
    ]
    assert events(lab, 1035) == [[error, CONNECTOR, "Gssapi", "127.0.0.1"]]


async def test_an_expired_ticket(
    lab: Lab, realm: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ticket whose time is over is refused, even of a client whose clock says that it is not."""
    cache = set_clock(realm.ticket(tmp_path / "tickets", "-l", "1s"), -60)
    # Kerberos counts whole seconds; the ticket was made before now.
    over = time.time() + 2
    await eventually(lambda: time.time() > over)
    token = Initiator(cache=cache).first()
    monkeypatch.setenv("KRB5_CONFIG", str(realm.configure("strict.conf", clockskew="0")))
    async with lab.receiver(**given(realm.keytab)) as receiver, await secured(receiver) as peer:
        assert await exchange(peer, CONTEXT, token, bytes) == DENIED
        assert await is_usable(peer)

    assert attempts(lab.session())[0] == ("X-EXPS", "GSSAPI", None, "ticket_expired")
    assert events(lab, 1035) == [[LOGON_DENIED, CONNECTOR, "Gssapi", "127.0.0.1"]]


@pytest.mark.parametrize(
    ("made", "reply", "failure"), [("forged", DENIED, "wrong_key"), ("gone", FAULT, "not_available")]
)
async def test_a_keytab_that_opens_nothing(
    lab: Lab, realm: MitKdc, tmp_path: Path, *, made: str, reply: str, failure: str
) -> None:
    """With another key than the KDC's the ticket is refused; without the keytab the fault is ours, and it is 454."""
    keytab = realm.forge_key(SERVICE, 2, tmp_path / "own.keytab")
    async with lab.receiver(**given(keytab)) as receiver, await secured(receiver) as peer:
        if made == "gone":
            keytab.unlink()
        assert await log_on(peer, Initiator(keytab=realm.client_keytab)) == reply
        assert await is_usable(peer)

    assert attempts(lab.session())[0] == ("X-EXPS", "GSSAPI", None, failure)
    assert events(lab, 1035) == [[LOGON_DENIED, CONNECTOR, "Gssapi", "127.0.0.1"]]
    assert str(tmp_path) not in repr(lab.session())


@pytest.mark.parametrize("negotiate", [False, True], ids=["Kerberos", "Negotiate"])
async def test_a_token_is_good_once(lab: Lab, realm: MitKdc, *, negotiate: bool) -> None:
    """What let one session in lets in no other."""
    async with lab.receiver(**given(realm.keytab)) as receiver:
        initiator = Initiator(keytab=realm.client_keytab, negotiate=negotiate)
        token = initiator.first()
        async with await secured(receiver) as peer:
            assert await exchange(peer, CONTEXT, token, initiator.answer) == AUTHENTICATED
            assert "Queued mail for delivery" in await mail(peer)
        async with await secured(receiver) as peer:
            assert await exchange(peer, CONTEXT, token, bytes) == DENIED
            assert await is_usable(peer)

    replayed, first = lab.sessions
    assert (first["authenticated_as"], first["groups"]) == (SENDER, ["ExchangeServers"])
    assert first["permissions"] == AS_SERVER
    assert attempts(replayed)[0] == ("X-EXPS", "GSSAPI", None, "replay")


# -- the round of RFC 4752


@pytest.mark.parametrize(("identity", "failure"), [("", None), ("alice@contoso.test", "other_identity")])
async def test_auth_gssapi_ends_with_its_round(
    lab: Lab, realm: MitKdc, identity: str, failure: str | None
) -> None:
    """AUTH GSSAPI, other than X-EXPS, offers a security layer in the end, which has to be none."""
    ours = given(realm.keytab, connector={"enable_auth_gssapi": True})
    async with lab.receiver(**ours) as receiver, await secured(receiver) as peer:
        initiator = Initiator(keytab=realm.client_keytab)

        def answer(token: bytes) -> bytes:
            return (
                initiator.choose(token, identity=identity) if initiator.is_done else initiator.answer(token)
            )

        line = await exchange(peer, "AUTH GSSAPI", initiator.first(), answer)

    assert line == (AUTHENTICATED if failure is None else DENIED)
    assert [found for *_, found in attempts(lab.session())] == [failure]


# -- EXCHANGEAUTH


async def test_a_ticket_inside_exchangeauth_is_looked_at(lab: Lab, realm: MitKdc) -> None:
    """The blob and its ticket are described, nobody is let in by it, and the session can log on otherwise."""
    ours = given(realm.keytab, settings={"authentication": {"exchange_auth": "observe"}})
    async with lab.receiver(**ours) as receiver, await secured(receiver) as peer:
        blob = b"\x01\x02\x03\x04" + Initiator(keytab=realm.client_keytab).first()
        assert await exchange(peer, "X-EXPS EXCHANGEAUTH", blob, bytes) == FAULT
        assert (await peer.ask("MAIL FROM:<a@lab.test>"))[0].startswith("530 5.7.57 ")
        assert await log_on(peer, Initiator(keytab=realm.client_keytab)) == AUTHENTICATED
        assert "Queued mail for delivery" in await mail(peer)

    assert attempts(lab.session()) == [
        ("X-EXPS", "EXCHANGEAUTH", "CONTOSO\\MBX2$", "observed"),
        ("X-EXPS", "GSSAPI", SENDER, None),
    ]
    detail = lab.session()["authentications"][0]["detail"]
    assert detail.startswith(f"the client's token is {len(blob):,} octets, ")
    assert "at 4 a GSS token of Kerberos" in detail
    assert "; the ticket is good and of MBX2$@CONTOSO.TEST: Kerberos" in detail
    assert events(lab, 1035) == [["UnexpectedExchangeAuthBlob", CONNECTOR, "ExchangeAuth", "127.0.0.1"]]
