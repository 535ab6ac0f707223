"""The probe authenticates: NTLM against pyspnego's acceptor, LOGIN against a script, and what may never be shown."""

from __future__ import annotations

import hashlib
import ssl
import sys
from base64 import b64decode, b64encode
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import spnego
from spnego.channel_bindings import GssChannelBindings

from smtpd_anontls.client.logon import LogonOptions
from smtpd_anontls.client.probe import ProbeOptions, ProbeResult, probe
from smtpd_anontls.domain.authentication import Mechanism
from tests.command import call
from tests.components.reply_server import (
    NOW,
    Converse,
    Hear,
    Identity,
    ReplyServer,
    Reset,
    Say,
    Silence,
    Step,
    Upgrade,
    make_identity,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BANNER = Say(b"220 mbx1.contoso.test Microsoft ESMTP MAIL Service ready\r\n")
OUTSIDE = Say(b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250-X-ANONYMOUSTLS\r\n250 AUTH NTLM\r\n")
READY = Say(b"220 2.0.0 SMTP server ready\r\n")
QUIT = (Hear("QUIT"), Say(b"221 2.0.0 Service closing transmission channel\r\n"))
BOTH = b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250-AUTH NTLM LOGIN\r\n250 X-EXPS GSSAPI NTLM\r\n"
AUTH_ALONE = b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250 AUTH GSSAPI NTLM LOGIN\r\n"
WELCOME = b"235 2.7.0 Authentication successful\r\n"
SORRY = b"535 5.7.3 Authentication unsuccessful\r\n"

USER, PASSWORD = "CONTOSO\\alice", "Pässw0rd-of-alice"
ANOTHER = "another"
NTLM = LogonOptions(mechanism=Mechanism.NTLM, user=USER, password=PASSWORD)
LOGIN = LogonOptions(mechanism=Mechanism.LOGIN, user=USER, password=PASSWORD)
OPTIONS = ProbeOptions(ehlo="edge.contoso.test", timeout=20, logon=NTLM)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents."""
    return make_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def _alice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pyspnego's acceptor know alice."""
    users = tmp_path / "users"
    users.write_text(f"CONTOSO:alice:{PASSWORD}\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))


def inside(identity: Identity, *script: Step, lines: bytes = BOTH) -> tuple[Step, ...]:
    """Return *script* inside TLS, after an EHLO that is answered by *lines*."""
    return (
        BANNER,
        Hear("EHLO edge.contoso.test"),
        OUTSIDE,
        Hear("X-ANONYMOUSTLS"),
        READY,
        Upgrade(identity.context()),
        Hear("EHLO edge.contoso.test"),
        Say(lines),
        *script,
    )


def in_clear(*script: Step, lines: bytes = BOTH) -> tuple[Step, ...]:
    """Return *script* without TLS."""
    return (BANNER, Hear("EHLO edge.contoso.test"), Say(lines), *script)


def ask(*script: Step, options: ProbeOptions = OPTIONS) -> tuple[ProbeResult, list[str]]:
    """Probe a peer that plays *script*; return the result and what the peer heard."""
    with ReplyServer(script) as server:
        result = probe(server.target, options, NOW)
    return result, server.heard


def end_point(identity: Identity) -> bytes:
    """Return the channel binding of the server's certificate (RFC 5929 section 4.1; it is signed with SHA-256)."""
    pem = identity.pem.read_text()
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE") :])
    return b"tls-server-end-point:" + hashlib.sha256(der).digest()


def ntlm_acceptor(verb: str, binding: bytes | None) -> Callable[[str], bytes]:
    """Return the server's side of NTLM, by pyspnego."""
    context = spnego.server(
        protocol="ntlm",
        options=spnego.NegotiateOptions.use_ntlm,
        channel_bindings=None if binding is None else GssChannelBindings(application_data=binding),
    )

    def answer(line: str) -> bytes:
        if line == f"{verb} NTLM":
            return b"334 NTLM supported\r\n"
        try:
            token = context.step(b64decode(line, validate=True))
        except spnego.exceptions.SpnegoError:
            return SORRY
        return WELCOME if context.complete else b"334 " + b64encode(token or b"") + b"\r\n"

    return answer


def prompts(line: str) -> bytes:
    """Answer LOGIN as Exchange does."""
    if line == "AUTH LOGIN":
        return b"334 VXNlcm5hbWU6\r\n"
    said = b64decode(line, validate=True).decode()
    if said == USER:
        return b"334 UGFzc3dvcmQ6\r\n"
    return WELCOME if said == PASSWORD else SORRY


def everything_shown(result: ProbeResult) -> str:
    """Return all that a person or a program may see of a probe."""
    return f"{result!r} {result.as_json()} {result.rows()}"


# -- which verb


@pytest.mark.parametrize(("lines", "verb"), [(BOTH, "X-EXPS"), (AUTH_ALONE, "AUTH")])
@pytest.mark.usefixtures("_alice")
def test_ntlm_by_the_verb_that_offers_it(identity: Identity, lines: bytes, verb: str) -> None:
    """X-EXPS where it has the mechanism, else AUTH; bound to the channel, the verdict and the JSON say which."""
    acceptor = Converse(ntlm_acceptor(verb, end_point(identity)))
    result, heard = ask(*inside(identity, acceptor, *QUIT, lines=lines))

    assert result.exit_code == 0, result.verdict
    assert result.as_json()["authentication"] == {
        "verb": verb,
        "mechanism": "NTLM",
        "succeeded": True,
        "reply": "235 2.7.0 Authentication successful",
    }
    assert result.verdict.endswith(
        f"{verb} NTLM succeeded, bound to the TLS channel: 235 2.7.0 Authentication successful"
    )
    assert (f"{verb} NTLM", "235 2.7.0 Authentication successful") in result.rows()
    assert heard[3] == f"{verb} NTLM"
    assert b64decode(heard[4]).startswith(b"NTLMSSP\0\x01")
    assert heard[-1] == "QUIT"


@pytest.mark.usefixtures("_alice")
def test_without_authentication_its_fields_are_null(identity: Identity) -> None:
    """A probe that authenticates nobody and sends nothing says so."""
    result, _ = ask(*inside(identity, *QUIT), options=replace(OPTIONS, logon=None))

    assert (result.as_json()["authentication"], result.as_json()["sent"]) == (None, None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (b"250-mbx1\r\n250-AUTH LOGIN\r\n250 X-EXPS GSSAPI\r\n", "(X-EXPS GSSAPI; AUTH LOGIN)"),
        (b"250-mbx1\r\n250 AUTH\r\n", "(AUTH)"),
        (b"250-mbx1\r\n250 CHUNKING\r\n", "(neither X-EXPS nor AUTH is)"),
    ],
)
def test_a_mechanism_that_is_not_offered(identity: Identity, lines: bytes, said: str) -> None:
    """It is exit code 1 with what is offered instead; nothing is tried."""
    result, heard = ask(*inside(identity, *QUIT, lines=lines))

    assert result.exit_code == 1
    assert f"NTLM is not offered {said}: Exchange offers it behind X-EXPS" in result.verdict
    assert result.as_json()["authentication"] is None
    assert heard[3:] == ["QUIT"]


def test_login_in_the_clear_has_a_cause_of_its_own() -> None:
    """Exchange offers LOGIN only inside TLS by default."""
    options = replace(OPTIONS, verb=None, logon=replace(LOGIN, allow_clear=True))
    result, _ = ask(*in_clear(*QUIT, lines=b"250-mbx1\r\n250 AUTH NTLM\r\n"), options=options)

    assert result.exit_code == 1
    assert "only inside TLS where it has BasicAuthRequireTLS too" in result.verdict


# -- NTLM


@pytest.mark.usefixtures("_alice")
def test_ntlm_in_the_clear() -> None:
    """Without TLS there is no channel to bind to."""
    acceptor = Converse(ntlm_acceptor("X-EXPS", None))
    result, _ = ask(*in_clear(acceptor, *QUIT), options=replace(OPTIONS, verb=None))

    assert result.exit_code == 0
    assert result.verdict.endswith("; X-EXPS NTLM succeeded: 235 2.7.0 Authentication successful")


@pytest.mark.usefixtures("_alice")
def test_ntlm_with_a_wrong_password(identity: Identity) -> None:
    """It is exit code 1 with the server's reply."""
    acceptor = Converse(ntlm_acceptor("X-EXPS", None))
    options = replace(OPTIONS, logon=replace(NTLM, password=ANOTHER))
    result, _ = ask(*inside(identity, acceptor, *QUIT), options=options)

    assert result.exit_code == 1
    assert (
        "X-EXPS NTLM was refused with 535 5.7.3 Authentication unsuccessful: the user or the"
        in result.verdict
    )
    assert result.as_json()["authentication"]["succeeded"] is False
    assert result.as_json()["authentication"]["reply"] == "535 5.7.3 Authentication unsuccessful"


@pytest.mark.usefixtures("_alice")
def test_ntlm_to_another_channel(identity: Identity, tmp_path: Path) -> None:
    """A server that is bound to another certificate refuses, and one that wants a binding refuses none."""
    elsewhere = end_point(make_identity(tmp_path))
    relayed, _ = ask(*inside(identity, Converse(ntlm_acceptor("X-EXPS", elsewhere)), *QUIT))
    unbound, _ = ask(
        *inside(identity, Converse(ntlm_acceptor("X-EXPS", end_point(identity))), *QUIT),
        options=replace(OPTIONS, logon=replace(NTLM, channel_binding=False)),
    )

    assert (relayed.exit_code, unbound.exit_code) == (1, 1)
    assert "or ExtendedProtectionPolicy asks for a channel binding" in unbound.verdict


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        (b"334 TlRMTVNTUAACAAAA\r\n", "the server's NTLM challenge cannot be read"),
        (b"334 not base64\r\n", "the server sent a challenge that is no base64"),
    ],
)
def test_an_ntlm_challenge_that_is_none(identity: Identity, challenge: bytes, said: str) -> None:
    """It is exit code 3, and the exchange is cancelled."""
    script = (Hear("X-EXPS NTLM"), Say(b"334 NTLM supported\r\n"), Hear("TlRMTVNTUAAB"), Say(challenge))
    end = (Hear("*"), Say(b"501 5.7.0 Cancelled\r\n"), Silence())
    result, _ = ask(*inside(identity, *script, *end))

    assert result.exit_code == 3
    assert said in result.verdict
    assert result.as_json()["authentication"] == {
        "verb": "X-EXPS",
        "mechanism": "NTLM",
        "succeeded": False,
        "reply": None,
    }


@pytest.mark.usefixtures("_alice")
def test_an_ntlm_server_that_asks_on_is_left(identity: Identity) -> None:
    """Behind the answer to its challenge there is nothing more to say."""
    acceptor = ntlm_acceptor("X-EXPS", None)

    def again(line: str) -> bytes:
        answer = b"501 5.7.0 Cancelled\r\n" if line == "*" else acceptor(line)
        return b"334 \r\n" if answer == WELCOME else answer

    result, _ = ask(*inside(identity, Converse(again), Silence()))

    assert result.exit_code == 3
    assert "the server asks for more than NTLM has to say" in result.verdict


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"454 4.7.0 Temporary authentication failure\r\n", "the account may not log on"),
        (b"504 5.7.4 Unrecognized authentication type\r\n", "offers the mechanism and does not take it"),
        (b"530 5.7.0 Must issue a STARTTLS command first\r\n", "was refused with 530 5.7.0 Must issue"),
    ],
)
def test_a_refusal_at_once_is_explained(identity: Identity, reply: bytes, said: str) -> None:
    """The kind of reply says where to look."""
    result, _ = ask(*inside(identity, Hear("X-EXPS NTLM"), Say(reply), *QUIT))

    assert result.exit_code == 1
    assert said in result.verdict


# -- LOGIN


def test_login_answers_its_prompts(identity: Identity) -> None:
    """User name and password, in UTF-8, each at its prompt."""
    result, heard = ask(*inside(identity, Converse(prompts), *QUIT), options=replace(OPTIONS, logon=LOGIN))

    assert result.exit_code == 0, result.verdict
    assert result.as_json()["authentication"]["verb"] == "AUTH"
    assert "warning" not in result.verdict
    assert [b64decode(line).decode() for line in heard[4:6]] == [USER, PASSWORD]


def test_login_in_the_clear_warns() -> None:
    """Where that was allowed, the verdict says what it costs."""
    options = replace(OPTIONS, verb=None, logon=replace(LOGIN, allow_clear=True))
    result, _ = ask(*in_clear(Converse(prompts), *QUIT), options=options)

    assert result.exit_code == 0
    assert result.verdict.endswith("warning: the password went over the network in the clear")


def test_login_with_a_wrong_password(identity: Identity) -> None:
    """It is exit code 1."""
    options = replace(OPTIONS, logon=replace(LOGIN, password=ANOTHER))
    result, _ = ask(*inside(identity, Converse(prompts), *QUIT), options=options)

    assert result.exit_code == 1
    assert "AUTH LOGIN was refused with 535 5.7.3" in result.verdict


def test_the_password_is_said_at_a_prompt_alone(identity: Identity) -> None:
    """A server that answers the user name with anything but 334 does not hear it."""
    script = (Hear("AUTH LOGIN"), Say(b"334 VXNlcm5hbWU6\r\n"), Hear(""), Say(b"535 5.7.3 No\r\n"), *QUIT)
    result, heard = ask(*inside(identity, *script), options=replace(OPTIONS, logon=LOGIN))

    assert result.exit_code == 1
    assert b64encode(PASSWORD.encode()).decode() not in heard


def test_a_server_that_asks_on_is_left(identity: Identity) -> None:
    """A third prompt is cancelled, and is exit code 3."""
    script = (Hear("AUTH LOGIN"), *(each for _ in range(2) for each in (Say(b"334 Pw==\r\n"), Hear(""))))
    end = (Say(b"334 Pw==\r\n"), Hear("*"), Say(b"501 5.7.0 Cancelled\r\n"), Silence())
    result, _ = ask(*inside(identity, *script, *end), options=replace(OPTIONS, logon=LOGIN))

    assert result.exit_code == 3
    assert "the server asks for more than LOGIN has to say" in result.verdict


@pytest.mark.parametrize("break_off", [(), (Reset(),)], ids=["close", "reset"])
def test_a_drop_while_authenticating(identity: Identity, break_off: tuple[Step, ...]) -> None:
    """It is exit code 3, and the authentication has no reply."""
    script = (Hear("AUTH LOGIN"), Say(b"334 VXNlcm5hbWU6\r\n"), Hear(""), *break_off)
    result, _ = ask(*inside(identity, *script), options=replace(OPTIONS, logon=LOGIN))

    assert result.exit_code == 3
    assert "the answer to the authentication data" in result.verdict
    assert result.as_json()["authentication"]["reply"] is None


# -- who is told


def test_another_server_than_expected_is_told_nothing(identity: Identity) -> None:
    """Where the thumbprint is not the expected one, nobody authenticates."""
    options = replace(OPTIONS, logon=LOGIN, expect_thumbprint="AB" * 20)
    result, heard = ask(*inside(identity, *QUIT), options=options)

    assert result.exit_code == 1
    assert result.verdict.endswith("so nobody authenticated, and nothing was sent")
    assert heard[3:] == ["QUIT"]


def test_an_expired_certificate_stays_a_problem(tmp_path: Path) -> None:
    """An authentication that succeeds does not make an expired certificate good."""
    expired = make_identity(
        tmp_path, not_after=NOW.replace(year=NOW.year - 1), not_before=NOW.replace(year=2020)
    )
    result, _ = ask(*inside(expired, Converse(prompts), *QUIT), options=replace(OPTIONS, logon=LOGIN))

    assert result.exit_code == 1
    assert "event 12015" in result.verdict
    assert "AUTH LOGIN succeeded" in result.verdict


# -- secrets


ENCODED = b64encode(PASSWORD.encode())
ECHOES = {
    "whole": b"500 5.3.3 Unrecognized command '" + ENCODED + b"'\r\n",
    "in upper case": b"500 5.3.3 Unrecognized command '" + ENCODED.upper() + b"'\r\n",
    "cut short": b"500 5.3.3 Unrecognized command '" + ENCODED[:12] + b"...'\r\n",
    "decoded": b"535 5.7.3 " + PASSWORD.encode() + b" is wrong\r\n",
    "in many lines": b"535-5.7.3 No\r\n535 " + ENCODED + b"\r\n",
    "as no reply": b"what is " + ENCODED + b"?\r\n",
    "in a success": b"235 " + ENCODED + b"\r\n",
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
def test_a_password_is_never_shown(identity: Identity, echo: bytes) -> None:
    """Not in the transcript, the verdict, the JSON or a repr, also where the server repeats it."""
    script = (
        *(Hear("AUTH LOGIN"), Say(b"334 VXNlcm5hbWU6\r\n"), Hear(""), Say(b"334 UGFzc3dvcmQ6\r\n")),
        *(Hear(ENCODED.decode()), Say(echo)),
        *(() if echo.startswith(b"what") else QUIT),
    )
    options = replace(OPTIONS, logon=LOGIN)
    result, _ = ask(*inside(identity, *script), options=options)
    shown = (everything_shown(result) + repr(options)).casefold()

    for secret in (PASSWORD, repr(PASSWORD.encode())[2:-1], ENCODED.decode(), ENCODED[:12].decode()):
        assert secret.casefold() not in shown
    assert "<authentication data>" in shown


@pytest.mark.usefixtures("_alice")
def test_the_transcript_of_ntlm_has_its_shape_alone(identity: Identity) -> None:
    """Commands and words for a person stay; tokens of either side do not."""
    result, heard = ask(*inside(identity, Converse(ntlm_acceptor("X-EXPS", None)), *QUIT))
    rows = [(row.mark, row.text) for row in result.transcript]
    start = rows.index(("C", "X-EXPS NTLM"))

    assert rows[start + 1 : start + 6] == [
        ("S", "334 NTLM supported"),
        ("C", "<authentication data>"),
        ("S", "334 <authentication data>"),
        ("C", "<authentication data>"),
        ("S", "235 2.7.0 Authentication successful"),
    ]
    assert [line for line in heard if len(line) > 50 and line in everything_shown(result)] == []


# -- as a command


@contextmanager
def scripted(*script: Step) -> Iterator[ReplyServer]:
    """Run a server for a command."""
    with ReplyServer(script) as server:
        yield server


@pytest.mark.parametrize("way", ["env", "file"])
def test_the_command_reads_the_password(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """From an environment variable, or from a file without the end of its line."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("PROBE_PASSWORD", PASSWORD)
    where = (
        ("--password-env", "PROBE_PASSWORD") if way == "env" else ("--password-file", tmp_path / "password")
    )
    with scripted(*inside(identity, Converse(prompts), *QUIT)) as server:
        words = ("--ehlo", "edge.contoso.test", "--auth", "LOGIN", "--user", USER, *where, "--json")
        answer = call("probe", str(server.target), *words)

    assert answer.code in {0, 1}  # The certificate is of another day.
    assert answer.document["authentication"]["succeeded"] is True


BAD_USAGE = [
    (
        ("--auth", "ntlm"),
        "NTLM needs a user and a password; say --user, and --password-env or --password-file",
    ),
    (("--auth", "login", "--user", "alice"), "LOGIN needs a user and a password"),
    (("--auth", "plain"), "'plain' is not one of gssapi, ntlm, login"),
    (("--user", "alice"), "belong to --auth; say --auth gssapi, ntlm or login"),
    (("--allow-clear",), "belong to --auth"),
    (
        ("--auth", "ntlm", "--user", "a", "--password-env", "NO_SUCH"),
        "the environment variable NO_SUCH is not set",
    ),
    (
        ("--auth", "ntlm", "--user", "a", "--password-env", "EMPTY"),
        "the environment variable EMPTY is empty; write",
    ),
    (
        ("--auth", "ntlm", "--user", "a", "--password-file", "/nowhere"),
        "the password file /nowhere does not exist",
    ),
    (
        ("--auth", "ntlm", "--user", "a", "--password-env", "ONE", "--password-file", "/nowhere"),
        "--password-env and --password-file exclude each other",
    ),
    (("--auth", "ntlm", "--user", "", "--password-env", "ONE"), "the user name is empty"),
    (("--auth", "gssapi", "--password-env", "ONE"), "a password needs its user; say --user"),
    (
        ("--auth", "gssapi", "--spn", "mbx1"),
        "'mbx1' is not a service principal name; write SMTPSVC/mbx1.contoso.test",
    ),
    (
        ("--auth", "login", "--user", "a", "--password-env", "ONE", "--verb", "none"),
        "without a TLS verb LOGIN says the password in the clear; name a verb, or say --allow-clear",
    ),
    (
        ("--auth", "login", "--user", "a", "--password-env", "ONE", "--spn", "SMTPSVC/mbx1"),
        "LOGIN knows no service principal name",
    ),
    (
        ("--auth", "login", "--user", "a", "--password-env", "ONE", "--no-channel-binding"),
        "LOGIN binds nothing to the channel",
    ),
]


@pytest.mark.parametrize(("words", "said"), BAD_USAGE)
def test_options_that_cannot_be_are_bad_usage(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """Exit code 2 with what would do, before any connection."""
    monkeypatch.setenv("ONE", "one")
    monkeypatch.setenv("EMPTY", "")
    answer = call("probe", "127.0.0.1:9", *words)

    assert (answer.code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())


def test_without_the_extra_one_line_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """GSSAPI needs a package that is not always there; exit code 2."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    answer = call("probe", "127.0.0.1:9", "--auth", "gssapi")

    assert (answer.code, answer.stdout) == (2, "")
    assert answer.mistakes == [
        "GSSAPI needs the Python package gssapi: pip install 'smtpd-anontls[kerberos]'"
    ]
