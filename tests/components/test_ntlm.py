"""NTLM as the server: the specification's own examples, independent clients, and hostile messages."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st
from spnego._ntlm_raw.messages import AvId
from spnego._ntlm_raw.messages import Challenge as ChallengeMessage

from smtpd_anontls.authentication.binding import NO_BINDING, channel_bindings_hash
from smtpd_anontls.authentication.credentials import NtHash, UserFile
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Authenticated, Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from tests.components.ntlm_talking import (
    FQDN,
    NEGOTIATE_V1,
    NONCE,
    NOW,
    OEM,
    PASSWORD,
    PASSWORD_HASH,
    SIGN,
    Client,
    Memory,
    acceptor,
    authenticated,
    by_hand,
    challenge_of,
    failed,
    step,
)

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.authentication.ntlm import NtlmExchange

ALLOW, REQUIRE = ExtendedProtectionPolicy.Allow, ExtendedProtectionPolicy.Require
BINDING = b"tls-server-end-point:" + b"\x01" * 32
OTHER_BINDING = b"tls-server-end-point:" + b"\x02" * 32
NT_HASH = bytes.fromhex(PASSWORD_HASH)

# -- the examples of MS-NLMP section 4.2: User of Domain at COMPUTER, "Password"

EXAMPLE_USERS = Memory(f"DOMAIN\\User:nt:{PASSWORD_HASH}")
NAMES = bytes.fromhex("44006f006d00610069006e00550073006500720043004f004d0050005500540045005200")
VERSION = bytes.fromhex("0501280a0000000f")


def example(nt: str, lm: str, session_key: str, flags: str) -> bytes:
    """Return an AUTHENTICATE message laid out as those of sections 4.2.2.3, 4.2.3.3 and 4.2.4.3 are."""
    nt_octets, lm_octets, key = bytes.fromhex(nt), bytes.fromhex(lm), bytes.fromhex(session_key)
    start = 0x6C
    fields = (
        (len(lm_octets), start),
        (len(nt_octets), start + len(lm_octets)),
        (12, 0x48),
        (8, 0x54),
        (16, 0x5C),
        (len(key), start + len(lm_octets) + len(nt_octets)),
    )
    head = b"NTLMSSP\0" + struct.pack("<I", 3)
    head += b"".join(struct.pack("<HHI", size, size, offset) for size, offset in fields)
    return head + bytes.fromhex(flags) + VERSION + NAMES + lm_octets + nt_octets + key


NTLMV1 = example(
    nt="67c43011f30298a2ad35ece64f16331c44bdbed927841f94",
    lm="98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13",
    session_key="518822b1b3f350c8958682ecbb3e3cb7",
    flags="338202e2",
)
NTLMV1_SESSION_SECURITY = example(
    nt="7537f803ae367128ca458204bde7caf81e97ed2683267232",
    lm="aaaaaaaaaaaaaaaa00000000000000000000000000000000",
    session_key="",
    flags="33820882",
)
NTLMV2 = bytes.fromhex(
    "4e544c4d5353500003000000180018006c00000054005400840000000c000c00480000000800080054000000100010005c000000"
    "10001000d8000000358288e20501280a0000000f44006f006d00610069006e00550073006500720043004f004d0050005500"
    "54004500520086c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa68cd0ab851e51c96aabc927bebef6a1c01010000"
    "000000000000000000000000aaaaaaaaaaaaaaaa0000000002000c0044006f006d00610069006e0001000c00530065007200"
    "7600650072000000000000000000c5dad2544fc9799094ce1ce90bc9d03e"
)
EXAMPLES = {
    "NTLMv1": NTLMV1,
    "NTLMv1 with extended session security": NTLMV1_SESSION_SECURITY,
    "NTLMv2": NTLMV2,
}


def after_challenge(exchange: NtlmExchange) -> NtlmExchange:
    """Return an exchange that has sent its challenge."""
    challenge_of(exchange, NEGOTIATE_V1)
    return exchange


@pytest.mark.parametrize("how", EXAMPLES)
def test_the_examples_of_the_specification_are_right(how: str) -> None:
    """MS-NLMP sections 4.2.2, 4.2.3 and 4.2.4, against the challenge that they share."""
    answer = step(after_challenge(acceptor(EXAMPLE_USERS, ntlmv1=True)), EXAMPLES[how])

    assert authenticated(answer).identity == "DOMAIN\\User"
    assert authenticated(answer).detail == f"{how}, by the password of DOMAIN\\User"


@pytest.mark.parametrize("how", EXAMPLES)
def test_the_examples_answer_no_other_challenge(how: str) -> None:
    """What was made for one challenge is worth nothing for another."""
    exchange = acceptor(EXAMPLE_USERS, ntlmv1=True, random=lambda size: NONCE[::-1][:size])

    assert failed(step(after_challenge(exchange), EXAMPLES[how])).reason is FailureReason.WRONG_PASSWORD


def test_the_nt_hash_is_that_of_the_specification() -> None:
    """NTOWFv1 of MS-NLMP section 4.2.2.1.2."""
    assert NtHash.of(PASSWORD).octets == NT_HASH


# -- an independent client: pyspnego's initiator


@pytest.mark.parametrize(
    ("entry", "user", "identity"),
    [
        ("CONTOSO\\alice", "CONTOSO\\alice", "CONTOSO\\alice"),
        ("CONTOSO\\alice", "contoso\\ALICE", "CONTOSO\\alice"),
        ("CONTOSO\\alice", "contoso.test\\alice", "CONTOSO\\alice"),
        ("CONTOSO\\alice", "alice@contoso.test", "CONTOSO\\alice"),
        ("CONTOSO\\alice", "alice", "CONTOSO\\alice"),
        ("alice@contoso.test", "CONTOSO\\alice", "CONTOSO\\alice"),
        ("alice", "alice", "alice"),
        ("alice", "FABRIKAM\\alice", "alice"),
        ("CONTOSO\\MBX2$", "CONTOSO\\MBX2$", "CONTOSO\\MBX2$"),
        ("CONTOSO\\jürgen", "CONTOSO\\JÜRGEN", "CONTOSO\\jürgen"),
    ],
)
def test_a_client_is_known_by_any_form_of_its_name(entry: str, user: str, identity: str) -> None:
    """The identity is always the file's, never what the client chose to write."""
    answer = Client(user).authenticate(acceptor(Memory(f"{entry}:nt:{PASSWORD_HASH}")))

    assert authenticated(answer) == Authenticated(
        identity, f"NTLMv2 with a message integrity code, by the password of {entry}"
    )


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(spnego.ContextReq.none, id="the session key is derived"),
        pytest.param(spnego.ContextReq.integrity, id="it travels encrypted, to sign"),
        pytest.param(spnego.ContextReq.confidentiality, id="it travels encrypted, to seal"),
    ],
)
def test_the_integrity_code_is_right_for_every_key_exchange(flags: spnego.ContextReq) -> None:
    """MS-NLMP section 3.2.5.1.2: which key it was made with depends on the flags."""
    assert "integrity code" in authenticated(Client(flags=flags).authenticate(acceptor())).detail


@pytest.mark.parametrize(
    ("user", "password", "reason", "detail", "claimed"),
    [
        (
            "CONTOSO\\alice",
            "password",
            FailureReason.WRONG_PASSWORD,
            "the response was not made with the password of CONTOSO\\alice",
            "CONTOSO\\alice",
        ),
        (
            "FABRIKAM\\alice",
            PASSWORD,
            FailureReason.UNKNOWN_USER,
            "users.txt has no entry for FABRIKAM\\alice",
            "FABRIKAM\\alice",
        ),
        ("bob", PASSWORD, FailureReason.UNKNOWN_USER, "users.txt has no entry for bob", "bob"),
        (
            "\x1b[2Jbob",
            PASSWORD,
            FailureReason.UNKNOWN_USER,
            "users.txt has no entry for \\x1b[2Jbob",
            "\\x1b[2Jbob",
        ),
    ],
)
def test_a_client_is_refused(
    user: str, password: str, reason: FailureReason, detail: str, claimed: str
) -> None:
    """The record says why, and whom it claimed to be."""
    answer = failed(Client(user, password).authenticate(acceptor()))

    assert answer == Failed(reason, detail, claimed)
    assert answer.error == "LogonDenied"


def test_without_a_file_the_fault_is_ours() -> None:
    """The client hears of a temporary failure, not that its password was wrong."""
    answer = failed(Client().authenticate(acceptor(Memory(None))))

    assert answer == Failed(FailureReason.NOT_AVAILABLE, "there is no file", "CONTOSO\\alice")
    assert answer.is_ours


# -- what the challenge says


def test_the_challenge_names_the_server_and_the_time() -> None:
    """Names, time and flags are those that clients look at; the nonce is the random source's."""
    challenge = ChallengeMessage.unpack(challenge_of(acceptor(), Client().negotiate()))
    info = challenge.target_info

    assert info is not None
    assert challenge.server_challenge == NONCE
    assert challenge.target_name == "CONTOSO"
    assert [info[key] for key in (1, 2, 3, 4)] == ["MBX1", "CONTOSO", FQDN, "contoso.test"]
    assert info[AvId.timestamp].replace(tzinfo=NOW.tzinfo) == NOW
    assert str(challenge.version) == "10.0.17763.15"


def test_the_challenge_has_a_version_only_where_it_was_asked_for() -> None:
    """MS-NLMP section 2.2.1.2: its place counts only with its flag."""
    challenge = ChallengeMessage.unpack(challenge_of(acceptor(), NEGOTIATE_V1))

    assert not challenge.flags & 0x02000000


def test_a_client_without_unicode_speaks_its_code_page() -> None:
    """Names of such a client are read as it writes them."""
    exchange = acceptor(Memory(f"CONTOSO\\jürgen:nt:{PASSWORD_HASH}"), ntlmv1=True)
    negotiate = struct.pack("<8sII", b"NTLMSSP\0", 1, 0x206) + bytes(16)
    challenge = ChallengeMessage.unpack(challenge_of(exchange, negotiate), encoding="cp1252")
    answer = step(exchange, by_hand(user="jürgen", nt=NTLMV1[0x84:0x9C], flags=0x200 | OEM))

    assert challenge.target_name == "CONTOSO"
    assert authenticated(answer).identity == "CONTOSO\\jürgen"


# -- altered and replayed


def test_an_altered_negotiate_message_is_noticed() -> None:
    """The integrity code covers all three messages: nobody takes signing away on the way."""
    exchange, client = acceptor(), Client()
    negotiate = bytearray(client.negotiate())
    negotiate[12] ^= SIGN
    answer = failed(step(exchange, client.answer(challenge_of(exchange, bytes(negotiate)))))

    assert answer.reason is FailureReason.ALTERED
    assert answer.detail == "the message integrity code does not fit: a message was altered on its way"


def test_an_integrity_code_that_was_promised_cannot_be_taken_away() -> None:
    """The response itself says that there has to be one."""
    pairs = struct.pack("<HHI", AvId.flags, 4, 2)
    answer = failed(step(after_challenge(acceptor()), by_hand(nt=v2_response(pairs=pairs))))

    assert answer.reason is FailureReason.ALTERED


def test_a_captured_message_opens_no_other_session() -> None:
    """Each exchange has a challenge of its own, and each challenge takes one answer."""
    exchange, client = acceptor(), Client()
    captured = client.answer(challenge_of(exchange, client.negotiate()))
    other = after_challenge(acceptor(random=os.urandom))

    assert isinstance(step(exchange, captured), Authenticated)
    assert failed(step(exchange, captured)).reason is FailureReason.MALFORMED
    assert failed(step(other, captured)).reason is FailureReason.WRONG_PASSWORD


# -- channel bindings


def v2_response(*, pairs: bytes = b"", user: str = "ALICE", domain: str = "CONTOSO") -> bytes:
    """Return an NTLMv2 response with these pairs (MS-NLMP section 3.3.2), made without the codec."""
    key = hmac.digest(NT_HASH, (user + domain).encode("utf-16-le"), "md5")
    temp = b"\x01\x01" + bytes(6) + bytes(8) + b"\xaa" * 8 + bytes(4) + pairs + bytes(4) + bytes(4)
    return hmac.digest(key, NONCE + temp, "md5") + temp


def pair_of_binding(octets: bytes) -> bytes:
    """Return an MsvAvChannelBindings pair."""
    return struct.pack("<HH", AvId.channel_bindings, len(octets)) + octets


@pytest.mark.parametrize("policy", [ALLOW, REQUIRE])
def test_a_client_that_binds_itself_to_our_certificate_is_taken(policy: ExtendedProtectionPolicy) -> None:
    """And the record says that it was bound."""
    answer = Client(binding=BINDING).authenticate(acceptor(policy=policy, binding=BINDING))

    assert ", bound to the TLS channel, by the password" in authenticated(answer).detail


@pytest.mark.parametrize(
    ("policy", "binding", "sent", "reason"),
    [
        (ALLOW, BINDING, OTHER_BINDING, FailureReason.WRONG_BINDING),
        (ALLOW, None, BINDING, FailureReason.WRONG_BINDING),
        (REQUIRE, BINDING, OTHER_BINDING, FailureReason.WRONG_BINDING),
        (REQUIRE, BINDING, None, FailureReason.MISSING_BINDING),
        (REQUIRE, None, None, FailureReason.MISSING_BINDING),
    ],
)
def test_a_client_whose_binding_is_not_ours_is_refused(
    policy: ExtendedProtectionPolicy, binding: bytes | None, sent: bytes | None, reason: FailureReason
) -> None:
    """Its password was right: it is a relay that this keeps out."""
    answer = Client(binding=sent).authenticate(acceptor(policy=policy, binding=binding))

    assert failed(answer).reason is reason


@pytest.mark.parametrize(
    ("policy", "sent"), [(ALLOW, None), (ExtendedProtectionPolicy.NotUsed, OTHER_BINDING)]
)
def test_a_binding_is_not_asked_for(policy: ExtendedProtectionPolicy, sent: bytes | None) -> None:
    """Allow takes a client without one, and None does not look at any."""
    answer = Client(binding=sent).authenticate(acceptor(policy=policy, binding=BINDING))

    assert "bound" not in authenticated(answer).detail


def test_an_all_zero_binding_is_none() -> None:
    """MS-NLMP section 2.2.2.1; it passes with Allow, and is missing with Require."""
    message = by_hand(nt=v2_response(pairs=pair_of_binding(NO_BINDING)))
    allowed = step(after_challenge(acceptor(policy=ALLOW, binding=BINDING)), message)
    required = step(after_challenge(acceptor(policy=REQUIRE, binding=BINDING)), message)

    assert isinstance(allowed, Authenticated)
    assert failed(required).reason is FailureReason.MISSING_BINDING


def test_a_wrong_password_is_said_before_a_wrong_binding() -> None:
    """What an unproved client says of its channel is worth nothing."""
    answer = Client(password="wrong", binding=OTHER_BINDING).authenticate(  # noqa: S106 - a wrong one
        acceptor(policy=REQUIRE, binding=BINDING)
    )

    assert failed(answer).reason is FailureReason.WRONG_PASSWORD


def test_ntlmv1_has_no_place_for_a_binding() -> None:
    """So it never gets past Require."""
    message = by_hand(nt=NTLMV1[0x84:0x9C])
    allowed = step(after_challenge(acceptor(ntlmv1=True, policy=ALLOW, binding=BINDING)), message)
    required = step(after_challenge(acceptor(ntlmv1=True, policy=REQUIRE, binding=BINDING)), message)

    assert isinstance(allowed, Authenticated)
    assert failed(required).reason is FailureReason.MISSING_BINDING


def test_a_client_that_hashes_a_binding_by_itself_is_taken() -> None:
    """The pair is read as MS-NLMP lays it out, not as one library does."""
    message = by_hand(nt=v2_response(pairs=pair_of_binding(channel_bindings_hash(BINDING))))
    answer = step(after_challenge(acceptor(policy=REQUIRE, binding=BINDING)), message)

    assert authenticated(answer).detail.startswith("NTLMv2, bound to the TLS channel,")


# -- NTLMv1, LM, and nobody


@pytest.mark.parametrize("how", ["NTLMv1", "NTLMv1 with extended session security"])
def test_ntlmv1_is_refused_unless_the_configuration_takes_it(how: str) -> None:
    """Whatever its flavour, and before anybody looks at the password."""
    answer = failed(step(after_challenge(acceptor(EXAMPLE_USERS)), EXAMPLES[how]))

    assert answer == Failed(
        FailureReason.NTLMV1_REFUSED,
        "the client answered with NTLMv1, and authentication.ntlmv1 is false",
        "DOMAIN\\User",
    )


@pytest.mark.parametrize("ntlmv1", [False, True])
def test_an_lm_response_alone_is_never_taken(ntlmv1: bool) -> None:  # noqa: FBT001 - a column
    """The file holds no LM hash."""
    message = by_hand(lm=NTLMV1[0x6C:0x84])
    answer = failed(step(after_challenge(acceptor(ntlmv1=ntlmv1)), message))

    assert answer.reason is FailureReason.NTLMV1_REFUSED
    assert "an LM response alone" in answer.detail


@pytest.mark.parametrize("lm", [b"", b"\0"])
def test_anonymous_access_is_refused(lm: bytes) -> None:
    """MS-NLMP section 3.2.5.1.2: no name, and no response but a zero."""
    answer = failed(step(after_challenge(acceptor(ntlmv1=True)), by_hand(user="", domain="", lm=lm)))

    assert answer == Failed(FailureReason.UNKNOWN_USER, "the client asks for anonymous access")


def test_a_name_in_upper_case_is_what_windows_makes_of_it() -> None:
    """One character stays one, also where another alphabet has two for it."""
    users = Memory(f"CONTOSO\\straße:nt:{PASSWORD_HASH}")
    message = by_hand(user="straße", nt=v2_response(user="STRAßE"))

    assert authenticated(step(after_challenge(acceptor(users)), message)).identity == "CONTOSO\\straße"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ntlmv1", "password", "reason"),
    [
        (True, PASSWORD, None),
        (True, "wrong", FailureReason.WRONG_PASSWORD),
        (False, PASSWORD, FailureReason.NTLMV1_REFUSED),
    ],
)
def test_the_module_that_swaks_uses(ntlmv1: bool, password: str, reason: FailureReason | None) -> None:  # noqa: FBT001 - a column
    """Perl's Authen::NTLM answers with NTLMv1."""
    script = (
        "ntlm_user(shift); ntlm_domain(shift); ntlm_password(shift);"
        'print ntlm(), "\n"; chomp(my $c = <STDIN>); print ntlm($c), "\n";'
    )
    exchange = acceptor(ntlmv1=ntlmv1)
    with subprocess.Popen(
        ["perl", "-MAuthen::NTLM", "-e", f"$| = 1; {script}", "alice", "CONTOSO", password],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as perl:
        assert perl.stdout is not None
        assert perl.stdin is not None
        negotiate = base64.b64decode(perl.stdout.readline())
        challenge = challenge_of(exchange, negotiate)
        perl.stdin.write(base64.b64encode(challenge) + b"\n")
        perl.stdin.close()
        answer = step(exchange, base64.b64decode(perl.stdout.readline()))

    if reason is None:
        assert authenticated(answer).identity == "CONTOSO\\alice"
    else:
        assert failed(answer).reason is reason


# -- what is no NTLM


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        (b"", "what came is empty"),
        (b"EHLO", "what came is not a message of NTLM"),
        (b"NTLMSSP\0", "what came is not a NEGOTIATE message of NTLM"),
        (NEGOTIATE_V1[:20], "what came is not a NEGOTIATE message of NTLM"),
        (NTLMV2, "what came is not a NEGOTIATE message of NTLM"),
        (
            struct.pack("<8sII", b"NTLMSSP\0", 9, 0x207) + bytes(16),
            "what came is not a NEGOTIATE message of NTLM",
        ),
        (
            struct.pack("<8sII", b"NTLMSSP\0", 1, 0x200) + bytes(16),
            "what came is a NEGOTIATE message that allows neither Unicode nor OEM text",
        ),
    ],
)
def test_what_is_no_negotiate_message(token: bytes, detail: str) -> None:
    """It is malformed, and the sentence says what it is not."""
    answer = failed(step(acceptor(), token))

    assert answer == Failed(FailureReason.MALFORMED, detail)
    assert answer.error == "IllegalMessage"


def test_spnego_is_told_apart() -> None:
    """A client that wraps NTLM in SPNEGO has taken the mechanism for another."""
    wrapped = spnego.client(
        "alice", PASSWORD, hostname=FQDN, protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate
    ).step()
    answer = failed(step(acceptor(), wrapped or b""))

    assert answer.detail.startswith(
        "what came is wrapped in SPNEGO; AUTH NTLM takes NTLM messages as they are"
    )


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        (NEGOTIATE_V1, "what came is not an AUTHENTICATE message of NTLM"),
        (NTLMV2[:40], "what came is not an AUTHENTICATE message of NTLM"),
        (NTLMV2[:-1], "what came is an AUTHENTICATE message of NTLM that is cut short"),
        (
            by_hand(nt=b"\1" * 30),
            "what came is an AUTHENTICATE message whose NT response is neither NTLMv1 nor NTLMv2",
        ),
        (
            by_hand(nt=v2_response(pairs=b"\x06\x00\xff")),
            "what came is an AUTHENTICATE message whose pairs cannot be read",
        ),
    ],
)
def test_what_is_no_authenticate_message(token: bytes, detail: str) -> None:
    """It is malformed, and the sentence says what it is not."""
    answer = step(after_challenge(acceptor()), token)

    assert answer == Failed(FailureReason.MALFORMED, detail)


@given(st.binary(max_size=300))
def test_anything_may_come_first(token: bytes) -> None:
    """Whatever it is, there is an answer."""
    step(acceptor(), token)
    step(acceptor(), b"NTLMSSP\0" + token)


@given(st.binary(max_size=300), st.integers(0, 4))
def test_anything_may_come_second(token: bytes, kind: int) -> None:
    """Whatever it is, nobody is authenticated by it."""
    for message in (token, b"NTLMSSP\0" + struct.pack("<I", kind) + token):
        assert isinstance(step(after_challenge(acceptor(ntlmv1=True)), message), Failed)


@given(st.binary(max_size=120))
def test_any_pairs_may_stand_in_a_right_response(pairs: bytes) -> None:
    """They are read only once the password was right, and then they may still be anything."""
    message = by_hand(nt=v2_response(pairs=pairs))

    assert isinstance(
        step(after_challenge(acceptor(policy=ALLOW, binding=BINDING)), message), Authenticated | Failed
    )


@given(st.data())
def test_no_octet_of_a_protected_message_can_be_changed(data: st.DataObject) -> None:
    """With an integrity code every octet counts."""
    exchange, client = acceptor(ntlmv1=True), Client()
    message = bytearray(client.answer(challenge_of(exchange, client.negotiate())))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] ^= data.draw(st.integers(1, 255))

    assert isinstance(step(exchange, bytes(message)), Failed)


@given(st.data())
def test_a_message_cut_anywhere_is_refused(data: st.DataObject) -> None:
    """It never raises, and never passes."""
    message = NTLMV2[: data.draw(st.integers(0, len(NTLMV2) - 1))]

    assert isinstance(step(after_challenge(acceptor(EXAMPLE_USERS)), message), Failed)


# -- secrets


def test_nothing_shows_a_password_or_a_hash(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Neither values nor log lines hold what could be used or guessed at."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "users.txt").write_text(f"CONTOSO\\alice:nt:{PASSWORD_HASH}\n")
    users = UserFile(tmp_path / "users.txt")
    exchange = acceptor(users)
    client = Client()
    challenge = step(exchange, client.negotiate())
    known = asyncio.run(users.find(AccountName.parse("alice"))), vars(users)
    shown = [repr(challenge), repr(vars(exchange)), repr(known)]
    caplog.clear()  # What pyspnego's initiator logs is its own.
    shown.extend(
        repr(answer)
        for answer in (
            step(exchange, by_hand(nt=v2_response())),
            Client(password="Hunter2").authenticate(acceptor(users)),  # noqa: S106 - a wrong one
        )
    )
    text = " ".join(shown).casefold()

    assert "smtpd_anontls" not in {record.name.partition(".")[0] for record in caplog.records}
    for secret in (PASSWORD_HASH, "hunter2", repr(NT_HASH)[2:-1], NT_HASH.hex(), repr(NONCE)[2:-1]):
        assert secret.casefold() not in text
    assert "***" in repr(NtHash(NT_HASH))
