"""GSSAPI as the server, before tickets of a real KDC: who gets in, and why others do not."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest

from smtpd_anontls.authentication.gssapi import missing_library
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason
from tests import mit_kdc
from tests.components.accepting import EITHER, client, exchange_of, reason_of
from tests.der import ap_req, gss_token, negotiate_answer, negotiate_token
from tests.initiator import converse
from tests.lab import eventually
from tests.mit_kdc import SERVICE, MitKdc

pytestmark = pytest.mark.slow

NTLM = (b"NTLMSSP\0\1\0\0\0", bytes.fromhex("060a2b06010401823702020a"))


@EITHER
async def test_client_with_a_ticket_is_who_it_is(realm: MitKdc, *, negotiate: bool) -> None:
    """A ticket for the service authenticates its principal, and the last token the server."""
    ended = await converse(exchange_of(realm), client(realm, negotiate=negotiate))

    assert isinstance(ended, Authenticated)
    assert ended.identity == "MBX2$@CONTOSO.TEST"
    assert ended.token
    way = ", in Negotiate" if negotiate else ""
    assert ended.detail == (
        "Kerberos, a ticket for SMTPSVC/mbx1.contoso.test@CONTOSO.TEST (encryption type 18, key version 2)"
        f"{way}, with mutual authentication"
    )


@EITHER
async def test_client_need_not_ask_who_the_server_is(realm: MitKdc, *, negotiate: bool) -> None:
    """Without mutual authentication the client is authenticated all the same, and the sentence says so."""
    ended = await converse(exchange_of(realm), client(realm, negotiate=negotiate, mutual=False))

    assert isinstance(ended, Authenticated)
    assert "mutual" not in ended.detail


async def test_negotiation_may_take_several_tokens(realm: MitKdc) -> None:
    """Where Negotiate begins without a ticket, the server asks for one and takes it."""
    exchange, initiator = exchange_of(realm), client(realm)

    first = await exchange.step(negotiate_token(None))
    ended = await exchange.step(negotiate_answer(initiator.first()))

    assert isinstance(first, Challenge)
    assert isinstance(ended, Authenticated)
    assert ended.identity == "MBX2$@CONTOSO.TEST"


async def test_talk_without_end_is_ended(realm: MitKdc) -> None:
    """A client that only ever answers a question with nothing is heard a few times."""
    exchange = exchange_of(realm)
    step = await exchange.step(negotiate_token(None))

    for _ in range(10):
        if not isinstance(step, Challenge):
            break
        step = await exchange.step(negotiate_answer(b""))

    assert isinstance(step, Failed)


async def test_many_clients_at_once(realm: MitKdc, tmp_path: Path) -> None:
    """Exchanges that run at the same time each end with their own client."""
    alice = realm.add("alice", tmp_path / "alice.keytab")
    tokens = [client(realm, keytab=each).first() for each in (realm.client_keytab, alice) * 20]

    steps = await asyncio.gather(*(exchange_of(realm).step(token) for token in tokens))

    assert [getattr(step, "identity", None) for step in steps] == [
        "MBX2$@CONTOSO.TEST",
        "alice@CONTOSO.TEST",
    ] * 20


async def test_delegated_tickets_are_not_kept(realm: MitKdc, tmp_path: Path) -> None:
    """A client may hand over its tickets; they are in no cache afterwards."""
    import gssapi  # noqa: PLC0415 - only with the extra

    ended = await converse(exchange_of(realm), client(realm, delegate=True))

    assert isinstance(ended, Authenticated)
    assert not (tmp_path / "none").exists()
    with pytest.raises(gssapi.exceptions.MissingCredentialsError):
        gssapi.Credentials(usage="initiate")


# -- tickets that are not taken


@EITHER
async def test_second_use_of_a_token_is_a_replay(realm: MitKdc, *, negotiate: bool) -> None:
    """What was taken once is taken by no exchange again."""
    token = client(realm, negotiate=negotiate).first()

    first, second = await exchange_of(realm).step(token), await exchange_of(realm).step(token)

    assert isinstance(first, Authenticated)
    assert isinstance(second, Failed)
    assert second.reason is FailureReason.REPLAY
    assert second.detail == "the token has been used before (Request is a replay)"
    assert not second.is_ours


@EITHER
@pytest.mark.parametrize("mutual", [True, False], ids=["mutual", "one-sided"])
async def test_ticket_for_another_host_is_for_another_key(
    realm: MitKdc, *, negotiate: bool, mutual: bool
) -> None:
    """A ticket that was issued for MBX2 does not open MBX1, and the sentence names both."""
    initiator = client(realm, host="mbx2.contoso.test", negotiate=negotiate, mutual=mutual)

    step = await exchange_of(realm).step(initiator.first())

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.WRONG_KEY
    assert "SMTPSVC/mbx2.contoso.test@CONTOSO.TEST" in step.detail
    assert step.detail.endswith("; mbx1.keytab has to hold the current key of SMTPSVC/mbx1.contoso.test")


@EITHER
async def test_keytab_of_another_host_is_of_no_use(realm: MitKdc, *, negotiate: bool) -> None:
    """With the keytab of MBX2, a ticket for MBX1 is for another key."""
    exchange = exchange_of(realm, keytab=realm.other_keytab)

    assert (
        reason_of(await exchange.step(client(realm, negotiate=negotiate).first())) is FailureReason.WRONG_KEY
    )


@EITHER
async def test_keytab_may_hold_another_key_of_that_name(
    realm: MitKdc, tmp_path: Path, *, negotiate: bool
) -> None:
    """A keytab with the right name and version and another key does not open the ticket."""
    keytab = realm.forge_key(SERVICE, 2, tmp_path / "forged.keytab")
    exchange = exchange_of(realm, keytab=keytab)

    step = await exchange.step(client(realm, negotiate=negotiate).first())

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.WRONG_KEY
    assert "cannot decrypt ticket" in step.detail


@EITHER
async def test_keytab_may_be_out_of_date(realm: MitKdc, tmp_path: Path, *, negotiate: bool) -> None:
    """After the key was changed, the keytab with the one before does not open a new ticket."""
    host = f"renewed-{negotiate}.contoso.test".lower()
    keytab = realm.add(f"SMTPSVC/{host}", tmp_path / "old.keytab")
    realm.renew(f"SMTPSVC/{host}", tmp_path / "new.keytab")

    step = await exchange_of(realm, keytab=keytab).step(client(realm, host=host, negotiate=negotiate).first())

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.WRONG_KEY
    assert "keytab is likely out of date" in step.detail


@EITHER
async def test_expired_ticket(
    realm: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, negotiate: bool
) -> None:
    """A ticket has expired when its time is over, even for a client whose clock says that it is not."""
    cache = mit_kdc.set_clock(realm.ticket(tmp_path / "tickets", "-l", "1s"), -60)
    # Kerberos counts whole seconds; the ticket was made before now.
    over = time.time() + 2
    await eventually(lambda: time.time() > over)
    token = client(realm, keytab=None, cache=cache, negotiate=negotiate).first()
    monkeypatch.setenv("KRB5_CONFIG", str(realm.configure("strict.conf", clockskew="0")))

    step = await exchange_of(realm).step(token)

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.TICKET_EXPIRED
    assert step.detail.startswith("the ticket has expired (")


@EITHER
@pytest.mark.parametrize("seconds", [3600, -250], ids=["ahead", "behind"])
async def test_clock_of_another_time(
    realm: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, negotiate: bool, seconds: int
) -> None:
    """A client whose clock is off has a ticket that is good and a token that is not."""
    cache = mit_kdc.set_clock(realm.ticket(tmp_path / "tickets"), seconds)
    token = client(realm, keytab=None, cache=cache, negotiate=negotiate).first()
    monkeypatch.setenv("KRB5_CONFIG", str(realm.configure("strict.conf", clockskew="100")))

    step = await exchange_of(realm).step(token)

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.CLOCK_SKEW
    assert "five minutes" in step.detail


@EITHER
async def test_altered_token(realm: MitKdc, *, negotiate: bool) -> None:
    """Whichever octet of a token is altered on its way, it is refused with a reason, or nothing depends on it."""
    whole = client(realm, negotiate=negotiate).first()
    refused = set()
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 0x01
        refused.add(reason_of(await exchange_of(realm).step(bytes(altered))))

    # Some octets mean nothing: whoever alters one of those is taken, and after that is a replay.
    assert refused - {None, FailureReason.REPLAY} == {
        FailureReason.MALFORMED,
        FailureReason.WRONG_KEY,
        FailureReason.UNKNOWN,  # Another encryption type than there is.
    }


# -- no tickets


@pytest.mark.parametrize(
    ("token", "said"),
    [
        pytest.param(b"", "the client sent no token", id="nothing"),
        pytest.param(b"garbage", "7 octets, all of them printable ASCII", id="text"),
        pytest.param(bytes(range(256)), "256 octets", id="octets"),
        pytest.param(NTLM[0], "the signature of NTLM", id="NTLM"),
        pytest.param(negotiate_token(*NTLM), "a GSS token of SPNEGO", id="NTLM alone in Negotiate"),
        pytest.param(gss_token(b""), "a GSS token of Kerberos", id="frame without a ticket"),
        pytest.param(negotiate_token(b"\x60"), "a GSS token of SPNEGO", id="frames without a ticket"),
        pytest.param(ap_req()[:100], "begin with no element of ASN.1", id="half a ticket"),
    ],
)
async def test_no_token_of_kerberos(realm: MitKdc, token: bytes, said: str) -> None:
    """What is no token of Kerberos is malformed, and the sentence says what it looks like."""
    step = await exchange_of(realm).step(token)

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.MALFORMED
    assert said in step.detail
    assert step.error == "IllegalMessage"


@EITHER
async def test_truncated_token(realm: MitKdc, *, negotiate: bool) -> None:
    """A token that ends too early is malformed, wherever it ends."""
    whole = client(realm, negotiate=negotiate).first()

    for size in (1, 2, 10, 40, len(whole) // 2, len(whole) - 1):
        assert reason_of(await exchange_of(realm).step(whole[:size])) is FailureReason.MALFORMED


@EITHER
async def test_ticket_that_says_what_no_terminal_should_see(realm: MitKdc, *, negotiate: bool) -> None:
    """The name in a ticket may be anything: it is shown escaped."""
    token = client(realm, negotiate=negotiate, host="mbx2.contoso.test").first()
    token = token.replace(b"mbx2.contoso", b"m\xff\x1b[31m\x0d\x0abso")

    step = await exchange_of(realm).step(token)

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.WRONG_KEY
    assert step.detail.isprintable()
    assert "\\x1b[31m" in step.detail


# -- what the operator has to see to


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("missing", "the keytab own.keytab does not exist"),
        ("folder", "the keytab own.keytab cannot be read (is a directory)"),
        ("empty", "the keytab own.keytab holds no key (Keytab FILE:own.keytab is nonexistent or empty)"),
        ("text", "the keytab own.keytab holds no key (Keytab FILE:own.keytab is nonexistent or empty)"),
    ],
)
async def test_keytab_that_is_none(realm: MitKdc, tmp_path: Path, made: str, said: str) -> None:
    """Without a keytab that holds a key nobody is authenticated, and the fault is ours."""
    keytab = tmp_path / "own.keytab"
    if made == "folder":
        keytab.mkdir()
    elif made != "missing":
        keytab.write_text("" if made == "empty" else "no keytab\n")

    step = await exchange_of(realm, keytab=keytab).step(client(realm).first())

    assert step == Failed(FailureReason.NOT_AVAILABLE, said)
    assert isinstance(step, Failed)
    assert step.is_ours


@EITHER
async def test_replay_cache_that_cannot_be_written(
    realm: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, negotiate: bool
) -> None:
    """Where nothing can be remembered nobody is authenticated, and the sentence says what would do."""
    monkeypatch.setenv("KRB5RCACHENAME", f"file2:{tmp_path}/nowhere/replays")

    step = await exchange_of(realm).step(client(realm, negotiate=negotiate).first())

    assert isinstance(step, Failed)
    assert step.reason is FailureReason.NOT_AVAILABLE
    assert "KRB5RCACHEDIR" in step.detail


# -- nothing stays


def test_nothing_is_left_behind(realm: MitKdc, tmp_path: Path) -> None:
    """After a success and failures no file is open, none was made but the replay cache, and no variable is set."""
    folder = tmp_path / "own"
    folder.mkdir()
    keytab = shutil.copy(realm.keytab, folder / "own.keytab")
    tokens = [client(realm).first() for _ in range(2)]
    tokens += [client(realm, host="mbx2.contoso.test").first(), b"garbage", tokens[0]]

    async def take(tokens: list[bytes]) -> int:
        for token in tokens:
            await exchange_of(realm, keytab=keytab).step(token)
        return len(list(Path("/proc/self/fd").iterdir()))  # noqa: ASYNC240 - no disk is behind it

    asyncio.run(take([b"garbage"]))
    variables, files = dict(os.environ), asyncio.run(take([b"garbage"]))

    assert asyncio.run(take(tokens)) == files
    assert dict(os.environ) == variables
    assert [each.name for each in folder.iterdir()] == ["own.keytab"]
    assert {each.name for each in tmp_path.iterdir()} == {"own", "replays"}


def test_library_is_there() -> None:
    """Where these tests run, nothing is missing."""
    assert missing_library() is None
