"""The probe's GSSAPI against the library's own acceptor, with tickets of a real KDC."""

from __future__ import annotations

import socket
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.client.conversation import Conversation, Transcript
from smtpd_anontls.client.errors import ConversationError
from smtpd_anontls.client.logon import Attempt, AuthVerb, Logon, LogonOptions
from smtpd_anontls.client.probe import ProbeOptions, ProbeResult, probe
from smtpd_anontls.client.wire import Deadline
from smtpd_anontls.domain.authentication import Mechanism
from tests.components.reply_server import (
    NOW,
    Converse,
    Hear,
    Identity,
    ReplyServer,
    Say,
    Silence,
    Step,
    make_identity,
)
from tests.components.test_probe_auth import (
    AUTH_ALONE,
    BOTH,
    NTLM,
    QUIT,
    SORRY,
    WELCOME,
    end_point,
    in_clear,
    inside,
)
from tests.mit_kdc import CLIENT, OTHER_SERVICE, REALM, SERVICE, MitKdc

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # A KDC from Debian.

_BOUND = 0x800  # draft-ietf-kitten-channel-bound-flag
NO_LAYER, CONFIDENTIALITY = b"\x01\x00\x00\x00", b"\x04\x00\xff\xff"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents."""
    return make_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def ticket(realm: MitKdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MitKdc:
    """Return the realm; this process has a ticket of CLIENT's to get others with."""
    cache = realm.ticket(tmp_path / "tickets", service=f"krbtgt/{REALM}")
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{cache}")
    return realm


@dataclass
class Acceptor:
    """The server's side of GSSAPI."""

    kdc: MitKdc
    binding: bytes | None = None
    offer: bytes | None = None  # RFC 4752: the layers that are offered; None ends with the context.
    proof_in_success: bool = False  # The server's token stands behind 235.
    client: str = ""
    is_bound: bool = False
    chosen: bytes = b""
    _context: Any = None

    def answer(self, line: str) -> bytes:
        """Answer a line of the client."""
        from gssapi import raw  # noqa: PLC0415 - an extra

        verb, _, rest = line.partition(" GSSAPI ")
        if verb in {"AUTH", "X-EXPS"}:
            return self._accept(b64decode(rest, validate=True))
        if line == "" and self.offer is not None:
            return self._challenge(raw.wrap(self._context, self.offer, confidential=False).message)
        if line == "":
            return WELCOME
        self.chosen = raw.unwrap(self._context, b64decode(line, validate=True)).message
        return WELCOME

    def _accept(self, token: bytes) -> bytes:
        from gssapi import raw  # noqa: PLC0415 - an extra

        store: Any = {b"keytab": str(self.kdc.keytab).encode()}
        try:
            done = raw.accept_sec_context(
                token,
                acceptor_creds=raw.acquire_cred_from(store, usage="accept").creds,
                channel_bindings=raw.ChannelBindings(application_data=self.binding) if self.binding else None,
            )
        except raw.GSSError:
            return SORRY
        self._context = done.context
        self.client = raw.display_name(done.initiator_name).name.decode()
        self.is_bound = bool(int(done.flags) & _BOUND)
        proof = done.token or b""
        return b"235 " + b64encode(proof) + b"\r\n" if self.proof_in_success else self._challenge(proof)

    @staticmethod
    def _challenge(token: bytes) -> bytes:
        return b"334 " + b64encode(token) + b"\r\n"


def options(**more: Any) -> ProbeOptions:
    """Return the options of a probe inside TLS for SERVICE; more are of the logon."""
    logon = LogonOptions(**{"mechanism": Mechanism.GSSAPI, "spn": SERVICE, **more})
    return ProbeOptions(ehlo="edge.contoso.test", timeout=20, logon=logon)


def ask(*script: Step, options: ProbeOptions) -> tuple[ProbeResult, list[str]]:
    """Probe a peer that plays *script*; return the result and what the peer heard."""
    with ReplyServer(script) as server:
        result = probe(server.target, options, NOW)
    return result, server.heard


def test_x_exps_ends_with_the_context(ticket: MitKdc, identity: Identity) -> None:
    """The ticket goes with the command, the server's proof is answered by an empty line, the channel is bound."""
    acceptor = Acceptor(ticket, binding=end_point(identity))
    result, heard = ask(*inside(identity, Converse(acceptor.answer), *QUIT), options=options())

    assert result.exit_code == 0, result.verdict
    assert "X-EXPS GSSAPI succeeded, bound to the TLS channel: 235 2.7.0" in result.verdict
    assert (acceptor.client, acceptor.is_bound) == (f"{CLIENT}@{REALM}", True)
    assert heard[3].startswith("X-EXPS GSSAPI YI")
    assert heard[4:] == ["", "QUIT"]
    assert heard[3].split()[2] not in f"{result!r}{result.as_json()}"


@pytest.mark.parametrize(("verb", "lines"), [("AUTH", AUTH_ALONE), ("X-EXPS", BOTH)])
def test_security_layers_are_declined(ticket: MitKdc, identity: Identity, verb: str, lines: bytes) -> None:
    """RFC 4752: no layer is chosen, in AUTH as in an X-EXPS that asks for it."""
    acceptor = Acceptor(ticket, offer=NO_LAYER)
    result, heard = ask(*inside(identity, Converse(acceptor.answer), *QUIT, lines=lines), options=options())

    assert result.exit_code == 0, result.verdict
    assert result.as_json()["authentication"]["verb"] == verb
    assert acceptor.chosen == NO_LAYER
    assert len(heard) == 7


def test_the_proof_may_stand_behind_the_success(ticket: MitKdc, identity: Identity) -> None:
    """A server that ends with its token in the 235 has proved itself too, and the token is not shown."""
    acceptor = Acceptor(ticket, proof_in_success=True)
    result, _ = ask(*inside(identity, Converse(acceptor.answer), *QUIT), options=options())

    assert result.exit_code == 0, result.verdict
    assert result.as_json()["authentication"]["reply"] == "235 <authentication data>"


def test_without_channel_binding(ticket: MitKdc, identity: Identity) -> None:
    """A server that only allows a binding takes a client without one."""
    acceptor = Acceptor(ticket, binding=end_point(identity))
    result, _ = ask(
        *inside(identity, Converse(acceptor.answer), *QUIT), options=options(channel_binding=False)
    )

    assert result.exit_code == 0
    assert acceptor.is_bound is False
    assert "X-EXPS GSSAPI succeeded: 235" in result.verdict


def test_in_the_clear(ticket: MitKdc) -> None:
    """Without TLS the ticket goes as well, and is bound to nothing."""
    acceptor = Acceptor(ticket)
    result, _ = ask(*in_clear(Converse(acceptor.answer), *QUIT), options=replace(options(), verb=None))

    assert result.exit_code == 0
    assert result.verdict.endswith("; X-EXPS GSSAPI succeeded: 235 2.7.0 Authentication successful")


def test_another_channel_is_refused(ticket: MitKdc, identity: Identity, tmp_path: Path) -> None:
    """A server that is bound to another certificate says no, and the verdict says what that may be."""
    acceptor = Acceptor(ticket, binding=end_point(make_identity(tmp_path)))
    result, _ = ask(*inside(identity, Converse(acceptor.answer), *QUIT), options=options())

    assert result.exit_code == 1
    assert f"the server could not read the ticket for {SERVICE}" in result.verdict


# -- servers that do not prove themselves


@pytest.mark.parametrize("end", [WELCOME, b"235\r\n", b"235 2.7.0 OKAY\r\n"])
def test_a_success_without_proof_is_none(ticket: MitKdc, identity: Identity, end: bytes) -> None:  # noqa: ARG001
    """Mutual authentication asks the server to show that it has the key."""
    result, _ = ask(*inside(identity, Hear("X-EXPS GSSAPI YI"), Say(end), *QUIT), options=options())

    assert result.exit_code == 1
    assert SERVICE in result.verdict
    assert result.as_json()["authentication"]["succeeded"] is False


@pytest.mark.parametrize(
    ("challenge", "code", "said"),
    [
        (b"334 TlRMTVNTUAACAAAA\r\n", 1, f"what the server sent does not prove that it is {SERVICE}"),
        (b"334 \r\n", 3, "the server answers the Kerberos ticket with no token of its own"),
        (b"334 GSS supported\r\n", 3, "a challenge that is no base64"),
    ],
)
def test_a_proof_that_is_none_is_cancelled(
    ticket: MitKdc,  # noqa: ARG001 - for its realm
    identity: Identity,
    challenge: bytes,
    code: int,
    said: str,
) -> None:
    """The exchange is broken off; exit code 1 where the server proves nothing, 3 where it speaks otherwise."""
    script = (Hear("X-EXPS GSSAPI YI"), Say(challenge), Hear("*"), Say(b"501 5.7.0 Cancelled\r\n"))
    result, _ = ask(*inside(identity, *script, *(QUIT if code == 1 else (Silence(),))), options=options())

    assert result.exit_code == code
    assert said in result.verdict


@pytest.mark.parametrize(
    ("offer", "code", "said"),
    [
        (CONFIDENTIALITY, 1, "the server insists on a security layer of GSSAPI"),
        (b"\x01", 3, "the server's offer of security layers is not that of RFC 4752"),
    ],
)
def test_an_offer_that_cannot_be_taken(
    ticket: MitKdc, identity: Identity, offer: bytes, code: int, said: str
) -> None:
    """The exchange is broken off, and the verdict says why."""
    acceptor = Acceptor(ticket, offer=offer)

    def until_cancelled(line: str) -> bytes:
        return b"501 5.7.0 Cancelled\r\n" if line == "*" else acceptor.answer(line)

    end = QUIT if code == 1 else (Silence(),)
    result, _ = ask(*inside(identity, Converse(until_cancelled), *end), options=options())

    assert result.exit_code == code
    assert said in result.verdict


def test_a_server_that_asks_on_is_left(ticket: MitKdc, identity: Identity) -> None:
    """Behind the choice of a layer there is nothing more to say."""
    acceptor = Acceptor(ticket, offer=NO_LAYER)

    def again(line: str) -> bytes:
        answer = b"501 5.7.0 Cancelled\r\n" if line == "*" else acceptor.answer(line)
        return b"334 \r\n" if answer == WELCOME else answer

    result, _ = ask(*inside(identity, Converse(again), Silence()), options=options())

    assert result.exit_code == 3
    assert "the server asks for more than GSSAPI has to say" in result.verdict


# -- tickets


def no_ticket(identity: Identity, *, probing: ProbeOptions) -> ProbeResult:
    """Probe a server to which nobody authenticates, since no ticket is there."""
    result, heard = ask(*inside(identity, *QUIT), options=probing)

    assert heard[3:] == ["QUIT"]
    assert result.as_json()["authentication"] is None
    return result


def test_a_service_that_the_kdc_does_not_know(ticket: MitKdc, identity: Identity) -> None:  # noqa: ARG001
    """It is exit code 1: the name is made of the host as it was given, and nobody has registered it."""
    result = no_ticket(identity, probing=options(spn=None))

    assert result.exit_code == 1
    assert "Kerberos gives no ticket for SMTPSVC/127.0.0.1: Server SMTPSVC/127.0.0.1@" in result.verdict
    assert "setspn -S" in result.verdict


def test_no_ticket_and_no_password(realm: MitKdc, identity: Identity) -> None:  # noqa: ARG001
    """It is exit code 3 and says kinit."""
    result = no_ticket(identity, probing=options())

    assert result.exit_code == 3
    assert "No Kerberos credentials available" in result.verdict
    assert result.verdict.endswith("; run kinit first, or name --user with a password")


def test_a_ticket_of_somebody_else(ticket: MitKdc, identity: Identity) -> None:  # noqa: ARG001
    """A user whose ticket is not in the cache has none."""
    result = no_ticket(identity, probing=options(user=f"nobody@{REALM}"))

    assert result.exit_code == 3
    assert "run kinit first" in result.verdict


def test_a_ticket_of_the_user_that_is_named(ticket: MitKdc, identity: Identity) -> None:
    """The one that is in the cache may be named."""
    acceptor = Acceptor(ticket)
    result, _ = ask(
        *inside(identity, Converse(acceptor.answer), *QUIT), options=options(user=f"{CLIENT}@{REALM}")
    )

    assert result.exit_code == 0, result.verdict


def test_a_password_gets_a_ticket(realm: MitKdc, identity: Identity) -> None:
    """With user and password no cache is needed; a wrong one, and a wrong user, are exit code 1."""
    realm._administer("addprinc -pw right alice")
    acceptor = Acceptor(realm)
    probing = options(user=f"alice@{REALM}", password="right")  # noqa: S106 - of this test's realm
    result, _ = ask(*inside(identity, Converse(acceptor.answer), *QUIT), options=probing)
    wrong = no_ticket(identity, probing=options(user=f"alice@{REALM}", password="wrong"))  # noqa: S106
    nobody = no_ticket(identity, probing=options(user=f"bob@{REALM}", password="right"))  # noqa: S106

    assert (result.exit_code, acceptor.client) == (0, f"alice@{REALM}"), result.verdict
    assert (wrong.exit_code, nobody.exit_code) == (1, 1)
    assert wrong.verdict.endswith("; the password is wrong")
    assert nobody.verdict.endswith("; the KDC knows no such user; write alice@CONTOSO.TEST")


def test_a_kdc_that_is_not_there(ticket: MitKdc, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is exit code 3 and names krb5.conf."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    somewhere = ticket.folder / "nobody.conf"
    somewhere.write_text(ticket.krb5_conf.read_text().replace(str(ticket.port), str(port)))
    monkeypatch.setenv("KRB5_CONFIG", str(somewhere))
    result = no_ticket(identity, probing=options(spn=OTHER_SERVICE))

    assert result.exit_code == 3
    assert "Cannot contact any KDC for realm 'CONTOSO.TEST'; check the network" in result.verdict


def test_a_kdc_that_does_not_answer(
    ticket: MitKdc, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out is for the KDC too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = ticket.folder / "silent.conf"
        port = listener.getsockname()[1]
        silent.write_text(ticket.krb5_conf.read_text().replace(str(ticket.port), str(port)))
        monkeypatch.setenv("KRB5_CONFIG", str(silent))
        result, _ = ask(*inside(identity, Silence()), options=replace(options(), timeout=1.0))

    assert result.exit_code == 3
    assert f"no KDC gave a ticket for {SERVICE} within 1 s" in result.verdict


# -- long tickets


class LongTokens:
    """A mechanism whose first token does not fit a command line."""

    def __init__(self, size: int) -> None:
        self._size = size

    def initial(self) -> bytes | None:
        """Return a token like that of a user in very many groups."""
        return b"t" * self._size

    def answer(self, challenge: bytes) -> bytes:
        """Say nothing."""
        raise ConversationError(f"asked {challenge!r}")

    def finish(self, text: bytes) -> None:
        """Take anything."""


class Endless(LongTokens):
    """A mechanism that always has something to say."""

    def __init__(self) -> None:
        super().__init__(1)

    def answer(self, challenge: bytes) -> bytes:  # noqa: ARG002 - see the class
        """Say it."""
        return b"more"


@pytest.mark.parametrize(("size", "fits"), [(9204, True), (9205, False), (40_000, False)])
def test_a_long_token_waits_for_its_prompt(size: int, *, fits: bool) -> None:
    """RFC 4954 section 4: a command line has 12,288 octets at most, its end included."""
    encoded = b64encode(b"t" * size).decode()
    whole = (Hear(f"AUTH GSSAPI {encoded}"),)
    apart = (Hear("AUTH GSSAPI"), Say(b"334 \r\n"), Hear(encoded))
    script = (*(whole if fits else apart), Say(SORRY), *QUIT)
    with ReplyServer(script) as server, Conversation.open(server.target, Deadline(20), Transcript()) as talk:
        attempt = Attempt(talk, server.target, NTLM)
        reply = attempt._talk(Logon(AuthVerb.AUTH, Mechanism.GSSAPI), LongTokens(size), b"t" * size)

    assert reply.code == 535
    assert max(map(len, server.heard[:1])) + 2 <= 12288


def test_a_mechanism_that_never_ends_is_left() -> None:
    """However long a server asks, there is an end."""
    script = tuple(each for _ in range(11) for each in (Hear(""), Say(b"334 \r\n")))
    with (
        ReplyServer(script) as server,
        pytest.raises(ConversationError, match="does not come to an end of AUTH NTLM"),
        Conversation.open(server.target, Deadline(20), Transcript()) as talk,
    ):
        Attempt(talk, server.target, NTLM)._talk(Logon(AuthVerb.AUTH, Mechanism.NTLM), Endless(), None)
