"""Logging on through a whole receiver: who gets in, who is held up and cut off, and what else goes on meanwhile.

What a session says is in ``tests/sessions``; here is what a transcript cannot say.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.credentials import NtHash, with_user, write_text
from tests.components.logging_on import (
    AS_SERVER,
    AUTHENTICATED,
    DENIED,
    FAULT,
    OK,
    attempts,
    encoded,
    end_point,
    events,
    exchange,
    login,
    mail,
)
from tests.components.ntlm_talking import Client
from tests.lab import CONNECTOR, all_ended, eventually, greeted, secured
from tests.peer import PATIENCE

if TYPE_CHECKING:
    from smtpd_anontls.receiver import Receiver
    from tests.lab import Json, Lab
    from tests.peer import Peer

USER, PASSWORD, WRONG = "CONTOSO\\alice", "open sesame", "open barley"
USERS = {USER: PASSWORD}
IN_CLEAR: Json = {"auth_mechanism": ["Tls", "Integrated", "BasicAuth", "ExchangeServer"]}
PERMISSIONS = {
    "ExchangeUsers": ["SMTPSubmit", "SMTPAcceptAnyRecipient", "BypassAntiSpam", "AcceptRoutingHeaders"],
    "ExchangeServers": AS_SERVER,
}


async def ntlm(peer: Peer, verb: str, *, password: str = PASSWORD, binding: bytes | None = None) -> str:
    """Log on by NTLM, with pyspnego as the client."""
    client = Client(USER, password, binding=binding)
    return await exchange(peer, f"{verb} NTLM", client.negotiate(), client.answer)


# -- who gets in, and what that is worth


@pytest.mark.parametrize("verb", ["AUTH", "X-EXPS"])
@pytest.mark.parametrize("group", PERMISSIONS)
async def test_groups_of_a_user_that_the_configuration_names(lab: Lab, verb: str, group: str) -> None:
    """authentication.identities says what a user of NTLM belongs to, and so what it may do."""
    settings = {"authentication": {"identities": {USER: [group]}}}
    connector = {"permission_groups": ["ExchangeUsers", "ExchangeServers"]}
    async with (
        lab.receiver(users=USERS, settings=settings, connector=connector) as receiver,
        await secured(receiver) as peer,
    ):
        assert (await peer.ask("MAIL FROM:<a@lab.test>"))[0].startswith("530 5.7.57 ")
        assert await ntlm(peer, verb) == AUTHENTICATED
        assert "Queued mail for delivery" in await mail(peer)

    session = lab.session()
    assert attempts(session) == [(verb, "NTLM", USER, None)]
    assert session["authentications"][0]["detail"].endswith(
        f"by the password of {USER}; authentication.identities says {group} of {USER}"
    )
    assert (session["authenticated_as"], session["groups"]) == (USER, [group])
    assert session["permissions"] == PERMISSIONS[group]
    assert lab.events == []


async def test_a_user_that_the_configuration_does_not_name(lab: Lab) -> None:
    """Whoever is in no group may do nothing once it is known, though nobody in particular may send."""
    settings = {"authentication": {"identities": {"bob": ["ExchangeServers"]}}}
    async with lab.receiver(users=USERS, settings=settings) as receiver, await greeted(receiver) as peer:
        assert await peer.ask("MAIL FROM:<a@lab.test>") == ["250 2.1.0 Sender OK"]
        await peer.ask("RSET")
        assert await ntlm(peer, "AUTH") == AUTHENTICATED
        refused = await mail(peer)

    assert refused == "550 5.7.1 Client does not have permissions to submit to this server"
    assert (lab.session()["groups"], lab.session()["permissions"]) == ([], [])


@pytest.mark.parametrize(
    ("policy", "sent", "failure"),
    [
        ("None", "another", None),
        ("Allow", "none", None),
        ("Allow", "the right one", None),
        ("Allow", "another", "wrong_binding"),
        ("Require", "the right one", None),
        ("Require", "none", "missing_binding"),
        ("Require", "another", "wrong_binding"),
    ],
)
async def test_ntlm_under_extended_protection(lab: Lab, policy: str, sent: str, failure: str | None) -> None:
    """The binding that counts is that of the certificate of this very session; a refusal leaves it usable."""
    async with (
        lab.receiver(users=USERS, connector={"extended_protection_policy": policy}) as receiver,
        await secured(receiver) as peer,
    ):
        right = end_point(peer)
        binding = {"none": None, "another": right[:-1] + b"!", "the right one": right}[sent]
        first = await ntlm(peer, "X-EXPS", binding=binding)
        if failure is not None:
            assert await peer.ask("NOOP") == [OK]
            assert await ntlm(peer, "X-EXPS", binding=right) == AUTHENTICATED

    assert first == (AUTHENTICATED if failure is None else DENIED)
    assert attempts(lab.session())[0] == ("X-EXPS", "NTLM", USER, failure)
    assert lab.session()["authenticated_as"] == USER
    refused = [["LogonDenied", CONNECTOR, "Ntlm", "127.0.0.1"]]
    assert events(lab, 1035) == ([] if failure is None else refused)


async def test_binding_in_clear_is_a_relayed_logon(lab: Lab) -> None:
    """Who binds its logon to TLS in a session that has none spoke to somebody else."""
    allow = {"extended_protection_policy": "Allow"}
    async with lab.receiver(users=USERS, connector=allow) as receiver, await greeted(receiver) as peer:
        bound = await ntlm(peer, "AUTH", binding=b"tls-server-end-point:" + bytes(32))
        unbound = await ntlm(peer, "AUTH")

    assert (bound, unbound) == (DENIED, AUTHENTICATED)
    assert [failure for *_, failure in attempts(lab.session())] == ["wrong_binding", None]


# -- the file of users


async def test_users_come_and_go_while_a_session_lasts(lab: Lab) -> None:
    """What the file says now counts; without the file nobody can be known, which is a fault of ours."""
    async with lab.receiver(users={}, connector=IN_CLEAR) as receiver, await greeted(receiver) as peer:
        before = await login(peer, USER, PASSWORD)
        lab.users.unlink()
        without = await login(peer, USER, PASSWORD)
        write_text(lab.users, with_user("", USER, NtHash.of(PASSWORD)))
        after = await login(peer, USER, PASSWORD)

    assert (before, without, after) == (DENIED, FAULT, AUTHENTICATED)
    assert attempts(lab.session()) == [
        ("AUTH", "LOGIN", USER, "unknown_user"),
        ("AUTH", "LOGIN", USER, "not_available"),
        ("AUTH", "LOGIN", USER, None),
    ]
    assert [inserts[0] for inserts in events(lab, 1035)] == ["LogonDenied"] * 2


# -- whoever guesses


async def guess(receiver: Receiver, how_often: int) -> list[str]:
    """Try that many wrong passwords, over as many connections as it takes; return the replies."""
    heard: list[str] = []
    while len(heard) < how_often:
        async with await greeted(receiver) as peer:
            while len(heard) < how_often:
                heard.append(await login(peer, USER, f"guess {len(heard)}"))
                if heard[-1] != DENIED:
                    assert await peer.line() is None
                    break
    return heard


@pytest.mark.slow  # It takes seconds.
async def test_a_thousand_guesses_over_fifty_connections(lab: Lab) -> None:
    """Each is held up, each tenth ends its session, all are recorded; and whoever knows the password sends mail."""
    patience = {"auth_tarpit_interval": 0.05, "max_logon_failures": 9, "permission_groups": ["ExchangeUsers"]}
    async with lab.receiver(users=USERS, connector={**IN_CLEAR, **patience}) as receiver:
        flood = asyncio.gather(*(guess(receiver, 20) for _ in range(50)))
        async with await greeted(receiver) as peer:
            assert await login(peer, USER, PASSWORD) == AUTHENTICATED
            sent = 0
            while not flood.done():
                assert "Queued mail for delivery" in await mail(peer)
                sent += 1
            await peer.ask("QUIT")
        heard = await flood

    cut_off = "421 4.7.0 Too many failed logons, closing transmission channel"
    assert heard == [([DENIED] * 9 + [cut_off]) * 2] * 50
    attackers = [session for session in lab.sessions if session["outcome"] == "authentication_failed"]
    (honest,) = [session for session in lab.sessions if session not in attackers]
    assert len(attackers) == 100
    for session in attackers:
        assert attempts(session) == [("AUTH", "LOGIN", USER, "wrong_password")] * 10
        assert session["event_ids"] == [1035] * 10 + [1012]
        assert session["limits"] == ["MaxLogonFailures: more than 9 logons failed"]
        assert session["outcome_detail"] == session["limits"][0]
        held_up = [row["text"] for row in session["transcript"] if row["text"].startswith("held back")]
        assert held_up == [f"held back for 0.05 s: {DENIED}"] * 9 + [f"held back for 0.05 s: {cut_off}"]
    assert (honest["outcome"], len(honest["messages"])) == ("completed", sent)
    assert sent > 0
    # The journal is asked for the newest alone; the event log has all.
    written = [json.loads(line) for line in (lab.folder / "application.jsonl").read_text().splitlines()]
    assert [event["event_id"] for event in written].count(1035) == 1000
    assert [event["inserts"] for event in written if event["event_id"] == 1012] == [
        [CONNECTOR, "9", "127.0.0.1"]
    ] * 100


async def test_a_failed_logon_holds_up_its_own_session_alone(lab: Lab) -> None:
    """While the answer to a guess waits, others log on and send, and the peer that waits may leave."""
    async with lab.receiver(
        users=USERS, connector={**IN_CLEAR, "auth_tarpit_interval": 3600, "connection_timeout": 7200}
    ) as receiver:
        guessing = await greeted(receiver)
        await guessing.ask(f"AUTH LOGIN {encoded(USER)}")
        await guessing.send(encoded(WRONG).encode() + b"\r\nNOOP\r\n")
        async with await greeted(receiver) as peer:
            assert await login(peer, USER, PASSWORD) == AUTHENTICATED
            await eventually(lambda: "wrong_password" in failures(receiver))
            assert await peer.ask("MAIL FROM:<a@lab.test>") == [
                "550 5.7.1 Client does not have permissions to submit to this server"
            ]
            await peer.ask("QUIT")
        guessing.reset()
        await all_ended(receiver)

    (guessed,) = [session for session in lab.sessions if session["event_ids"]]
    rows = [row["text"] for row in guessed["transcript"]]
    assert guessed["outcome"] == "peer_disconnected"
    assert rows[-1] == f"held back for 3600 s: {DENIED}"


def failures(receiver: Receiver) -> set[str | None]:
    """Return why attempts of the sessions that run have failed."""
    return {attempt.failure for session in receiver.listener.sessions for attempt in session.attempts}


async def test_attempts_without_end_are_not_kept(lab: Lab) -> None:
    """With MaxLogonFailures 0 a session may try for ever; its record has the newest attempts."""
    endless = {**IN_CLEAR, "max_logon_failures": 0}
    async with lab.receiver(users=USERS, connector=endless) as receiver, await greeted(receiver) as peer:
        for number in range(150):
            assert await login(peer, f"user-{number}", WRONG) == DENIED
        assert await login(peer, USER, PASSWORD) == AUTHENTICATED

    kept = attempts(lab.session())
    assert len(kept) == 100
    assert kept[0][2] == "user-51"
    assert kept[-1] == ("AUTH", "LOGIN", USER, None)


# -- ends in the middle


async def test_the_receiver_stops_while_a_token_is_due(lab: Lab) -> None:
    """A session that waits for a token is told that the receiver stops, and is recorded."""
    async with lab.receiver(users=USERS, connector=IN_CLEAR) as receiver, await greeted(receiver) as peer:
        assert await peer.ask("AUTH LOGIN") == ["334 VXNlcm5hbWU6"]
        await receiver.listener.close(PATIENCE)
        heard = await peer.rest()

    assert heard == ["421 4.3.2 Service not active"]
    assert lab.session()["outcome"] == "shut_down"
    assert lab.session()["authentications"] == []


async def test_a_peer_leaves_while_a_token_is_due(lab: Lab) -> None:
    """Whoever goes in the middle has tried nothing: there is no event, and no attempt."""
    async with lab.receiver(users=USERS, connector=IN_CLEAR) as receiver:
        async with await greeted(receiver) as peer:
            await peer.ask("AUTH LOGIN")
            await peer.send(encoded(USER)[:3].encode())
        await all_ended(receiver)

    assert lab.session()["outcome"] == "peer_disconnected"
    assert (lab.session()["authentications"], lab.events) == ([], [])


async def test_tokens_in_one_flight(lab: Lab) -> None:
    """A client that does not wait for the prompts is understood; what comes behind them is a command."""
    async with lab.receiver(users=USERS, connector=IN_CLEAR) as receiver, await greeted(receiver) as peer:
        lines = ["AUTH LOGIN", encoded(USER), encoded(PASSWORD), "NOOP"]
        await peer.send("".join(f"{line}\r\n" for line in lines).encode())
        heard = [await peer.reply() for _ in lines]

    assert heard == [["334 VXNlcm5hbWU6"], ["334 UGFzc3dvcmQ6"], [AUTHENTICATED], [OK]]
