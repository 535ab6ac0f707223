"""Clients that nobody here wrote authenticate: curl and swaks by NTLM and LOGIN, GNU SASL by GSSAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.components.programs import Finished, run
from tests.initiator import HOST
from tests.lab import CONNECTOR

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Json, Lab
    from tests.mit_kdc import MitKdc

pytestmark = pytest.mark.slow  # Programs from Debian.

USER, PASSWORD = "CONTOSO\\alice", "open sesame"
# Whoever does not log on may not send.
KNOWN_ALONE: Json = {"permission_groups": ["ExchangeUsers"]}
GIVEN: Json = {"users": {USER: PASSWORD}, "connector": KNOWN_ALONE}
IN_CLEAR: Json = {**KNOWN_ALONE, "auth_mechanism": ["Tls", "Integrated", "BasicAuth", "ExchangeServer"]}
NTLMV1: Json = {"settings": {"authentication": {"ntlmv1": True}}}
ASSUMED = f"assumed ExchangeUsers of {USER}: it came by"


async def curl(
    receiver: Receiver, folder: Path, *words: str, user: str = USER, password: str = PASSWORD
) -> Finished:
    """Send a message with curl, by NTLM."""
    host, port = receiver.address(CONNECTOR)
    message = folder / "message"
    message.write_bytes(b"Subject: by curl\r\n\r\nbody\r\n")
    return await run(
        *("curl", "--silent", "--show-error", "--disable", f"smtp://{host}:{port}/edge.lab.test", *words),
        *("--login-options", "AUTH=NTLM", "--user", f"{user}:{password}"),
        *("--mail-from", "a@lab.test", "--mail-rcpt", "b@lab.test", "--upload-file", message),
    )


async def swaks(
    receiver: Receiver, mechanism: str, *words: str, user: str = USER, password: str = PASSWORD
) -> Finished:
    """Send a message with swaks."""
    host, port = receiver.address(CONNECTOR)
    return await run(
        *("swaks", "--server", host, "--port", str(port), "--ehlo", "edge.lab.test", *words),
        *("--auth", mechanism, "--auth-user", user, "--auth-password", password),
        *("--from", "a@lab.test", "--to", "b@lab.test", "--header", "Subject: by swaks"),
    )


def attempt(lab: Lab) -> Json:
    """Return the only attempt of the newest session."""
    (found,) = lab.session()["authentications"]
    return dict(found)


# -- curl


@pytest.mark.parametrize("words", [(), ("--ssl-reqd", "--insecure")], ids=["in clear", "STARTTLS"])
@pytest.mark.parametrize("user", [USER, "alice", "alice@contoso.test"])
async def test_curl_by_ntlmv2(lab: Lab, tmp_path: Path, words: tuple[str, ...], user: str) -> None:
    """NTLMv2 is what curl answers with, whichever way its user is written, and its mail is taken."""
    async with lab.receiver(**GIVEN) as receiver:
        finished = await curl(receiver, tmp_path, *words, user=user)

    assert finished.code == 0, finished.output
    assert attempt(lab) == {
        "verb": "AUTH",
        "mechanism": "NTLM",
        "identity": USER,
        "failure": None,
        "detail": f"NTLMv2, by the password of {USER}; {ASSUMED} NTLM, and authentication.identities is null",
    }
    assert (lab.session()["authenticated_as"], lab.session()["outcome"]) == (USER, "completed")
    assert list(lab.raw.values()) == [b"Subject: by curl\r\n\r\nbody\r\n"]
    assert lab.events == []


async def test_curl_with_a_wrong_password(lab: Lab, tmp_path: Path) -> None:
    """A wrong password is refused, and event 1035 says so."""
    async with lab.receiver(**GIVEN) as receiver:
        finished = await curl(receiver, tmp_path, password="open barley")  # noqa: S106 - a wrong one

    assert finished.code == 67, finished.output  # CURLE_LOGIN_DENIED
    assert attempt(lab)["failure"] == "wrong_password"
    assert lab.messages == []
    assert [event["inserts"] for event in lab.events] == [["LogonDenied", CONNECTOR, "Ntlm", "127.0.0.1"]]


async def test_curl_binds_nothing(lab: Lab, tmp_path: Path) -> None:
    """A client without channel bindings is refused by ExtendedProtectionPolicy Require, and taken by Allow."""
    for policy, code in (("Require", 67), ("Allow", 0)):
        given = {**GIVEN, "connector": {**KNOWN_ALONE, "extended_protection_policy": policy}}
        async with lab.receiver(**given) as receiver:
            finished = await curl(receiver, tmp_path, "--ssl-reqd", "--insecure")
        assert finished.code == code, finished.output

    assert {found["failure"] for each in lab.sessions for found in each["authentications"]} == {
        "missing_binding",
        None,
    }


# -- swaks


@pytest.mark.parametrize("words", [(), ("--tls",)], ids=["in clear", "STARTTLS"])
async def test_swaks_by_ntlmv1_is_refused(lab: Lab, words: tuple[str, ...]) -> None:
    """NTLMv1, with which swaks answers, is not taken by default; the record says what would."""
    async with lab.receiver(**GIVEN) as receiver:
        finished = await swaks(receiver, "NTLM", *words)

    assert finished.code == 28, finished.output
    assert "<** 535 5.7.3 Authentication unsuccessful" in finished.output.replace("<~*", "<**")
    assert attempt(lab)["failure"] == "ntlmv1_refused"
    assert attempt(lab)["detail"] == "the client answered with NTLMv1, and authentication.ntlmv1 is false"
    assert [event["event_id"] for event in lab.events] == [1035]


async def test_swaks_by_ntlmv1_where_that_is_taken(lab: Lab) -> None:
    """With ``ntlmv1: true`` its mail is taken, and a wrong password is not."""
    async with lab.receiver(**GIVEN, **NTLMV1) as receiver:
        right = await swaks(receiver, "NTLM")
        wrong = await swaks(receiver, "NTLM", password="open barley")  # noqa: S106 - a wrong one

    assert right.code == 0, right.output
    assert "Queued mail for delivery" in right.output
    assert wrong.code == 28, wrong.output
    assert [found["failure"] for each in lab.sessions for found in each["authentications"]] == [
        "wrong_password",
        None,
    ]
    assert lab.sessions[1]["authentications"][0]["detail"].startswith(f"NTLMv1, by the password of {USER}; ")


@pytest.mark.parametrize("way", ["under TLS", "in clear"])
async def test_swaks_by_login(lab: Lab, way: str) -> None:
    """User name and password are said at the prompts, under TLS where BasicAuthRequireTLS asks for it."""
    given: dict[str, Any] = GIVEN if way == "under TLS" else {**GIVEN, "connector": IN_CLEAR}
    async with lab.receiver(**given) as receiver:
        finished = await swaks(receiver, "LOGIN", *(["--tls"] if way == "under TLS" else []))

    assert finished.code == 0, finished.output
    assert attempt(lab)["identity"] == lab.session()["authenticated_as"] == USER
    assert lab.session()["groups"] == ["ExchangeUsers"]
    assert lab.session()["permissions"] == [
        "SMTPSubmit",
        "SMTPAcceptAnyRecipient",
        "BypassAntiSpam",
        "AcceptRoutingHeaders",
    ]
    assert len(lab.messages) == 1


async def test_swaks_finds_no_login_before_tls(lab: Lab) -> None:
    """BasicAuthRequireTLS keeps swaks from saying its password in clear."""
    async with lab.receiver(**GIVEN) as receiver:
        finished = await swaks(receiver, "LOGIN")

    assert finished.code == 28, finished.output
    assert "Auth not attempted, requested type not available" in finished.output
    assert lab.session()["authentications"] == []


# -- GNU SASL


async def gsasl(receiver: Receiver, cache: Path, *words: str) -> Finished:
    """Authenticate with GNU SASL, by GSSAPI, with the tickets of *cache*."""
    host, port = receiver.address(CONNECTOR)
    return await run(
        *("gsasl", "--smtp", "--no-starttls", "--mechanism", "GSSAPI", f"--connect={host}:{port}"),
        *("--service", "SMTPSVC", "--hostname", HOST, *words),
        KRB5CCNAME=f"FILE:{cache}",
    )


def with_keytab(realm: MitKdc) -> Json:
    """Return the arguments of a receiver that is MBX1 and offers AUTH GSSAPI."""
    return {
        "server": {"fqdn": HOST, "keytab": str(realm.keytab)},
        "store": {HOST: "valid"},
        "connector": {"enable_auth_gssapi": True},
    }


async def test_gsasl_by_gssapi(lab: Lab, realm: MitKdc, tmp_path: Path) -> None:
    """GNU SASL goes through AUTH GSSAPI with the round of RFC 4752."""
    cache = realm.ticket(tmp_path / "tickets")
    async with lab.receiver(**with_keytab(realm)) as receiver:
        finished = await gsasl(receiver, cache, "--authorization-id", "MBX2$")

    assert "235 2.7.0 Authentication successful" in finished.output
    assert finished.code == 0, finished.output
    assert attempt(lab)["identity"] == lab.session()["authenticated_as"] == "CONTOSO\\MBX2$"
    assert "with mutual authentication; assumed ExchangeServers of " in attempt(lab)["detail"]
    assert lab.session()["groups"] == ["ExchangeServers"]
    assert lab.events == []


async def test_gsasl_asks_to_act_as_somebody_else(lab: Lab, realm: MitKdc, tmp_path: Path) -> None:
    """The identity of RFC 4752's last token has to be the ticket's."""
    cache = realm.ticket(tmp_path / "tickets")
    async with lab.receiver(**with_keytab(realm)) as receiver:
        finished = await gsasl(receiver, cache, "--authorization-id", "alice")

    assert "535 5.7.3 Authentication unsuccessful" in finished.output
    assert attempt(lab)["failure"] == "other_identity"
    assert lab.session()["authenticated_as"] is None
    assert [event["inserts"][0] for event in lab.events] == ["LogonDenied"]
