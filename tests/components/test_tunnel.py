"""The tunnel between pipes and scripted peers: every way to end, much data both ways, and swaks itself."""

from __future__ import annotations

import os
import shlex
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import smtpd_anontls
from smtpd_anontls.client.errors import ClientError, ExitCode
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tls import TlsOffer
from smtpd_anontls.client.tunnel import tunnel
from smtpd_anontls.domain.tls_policy import TlsVersion
from tests.components.reply_server import (
    Echo,
    Flood,
    Forward,
    Garble,
    Hear,
    HearMessage,
    Identity,
    ReplyServer,
    Reset,
    Say,
    Silence,
    Step,
    Upgrade,
    make_identity,
    openssl_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

BANNER = b"220-mbx1.contoso.test Microsoft ESMTP MAIL Service\r\n220 ready\r\n"
HELLO = b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250-X-ANONYMOUSTLS\r\n250 CHUNKING\r\n"
MUCH = 8 * 1024 * 1024
OFFERS = [TlsOffer(maximum=TlsVersion.TLSv1_2), TlsOffer(minimum=TlsVersion.TLSv1_3)]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents."""
    return make_identity(tmp_path_factory.mktemp("identity"))


@dataclass
class Local:
    """The local side: what an SMTP client would hold, and what the tunnel was given."""

    write: int
    read: int
    stdin: int
    stdout: int
    threads: ThreadPoolExecutor

    def start(self, target: Target, offer: TlsOffer | None = None, *, quiet: float = 20) -> Future[ExitCode]:
        """Run the tunnel in a thread; like a process, it closes its descriptors when it ends."""

        def run() -> ExitCode:
            try:
                return tunnel(
                    target,
                    ehlo="edge.contoso.test",
                    stdin=self.stdin,
                    stdout=self.stdout,
                    offer=offer,
                    timeout=20,
                    quiet=quiet,
                )
            finally:
                os.close(self.stdin)
                os.close(self.stdout)

        return self.threads.submit(run)

    def hear_all(self) -> bytes:
        """Read until the tunnel ends."""
        heard = bytearray()
        while octets := os.read(self.read, 65536):
            heard += octets
        return bytes(heard)

    def hear_until(self, end: bytes) -> bytes:
        """Read until what was read ends so."""
        heard = b""
        while not heard.endswith(end):
            octets = os.read(self.read, 65536)
            assert octets, f"the tunnel ended after {heard!r}"
            heard += octets
        return heard

    def say(self, octets: bytes) -> None:
        """Write all *octets*."""
        while octets:
            octets = octets[os.write(self.write, octets[:65536]) :]


@pytest.fixture
def local() -> Iterator[Local]:
    """Return a pair of pipes with a thread for the tunnel between them."""
    stdin, write = os.pipe()
    read, stdout = os.pipe()
    with ThreadPoolExecutor(4) as threads:
        side = Local(write, read, stdin, stdout, threads)
        yield side
        for descriptor in (side.write, side.read):
            if descriptor >= 0:
                os.close(descriptor)


def upgraded(identity: Identity, *script: Step) -> tuple[Step, ...]:
    """Return *script* inside TLS, behind the usual way to it."""
    return (
        Say(BANNER),
        Hear("EHLO edge.contoso.test"),
        Say(HELLO),
        Hear("X-ANONYMOUSTLS"),
        Say(b"220 2.0.0 SMTP server ready\r\n"),
        Upgrade(identity.context(maximum=ssl.TLSVersion.TLSv1_3)),
        *script,
    )


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_the_banner_is_replayed_and_the_session_joined(
    identity: Identity, local: Local, offer: TlsOffer
) -> None:
    """The local client sees the banner as it came, then the server's answers, and nothing else."""
    script = upgraded(identity, Hear("EHLO local"), Say(b"250 mbx1\r\n"), Hear("QUIT"), Say(b"221 Bye\r\n"))
    with ReplyServer(script) as server:
        ended = local.start(server.target, offer)
        local.say(b"EHLO local\r\nQUIT\r\n")
        heard = local.hear_all()

    assert heard == BANNER + b"250 mbx1\r\n221 Bye\r\n"
    assert ended.result() is ExitCode.FINE


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_the_end_of_stdin_is_no_end_of_the_answers(identity: Identity, local: Local, offer: TlsOffer) -> None:
    """After stdin has ended the server is heard until it is quiet; only then is TLS closed."""
    script = upgraded(identity, Hear("EHLO local"), Say(b"250 mbx1\r\n"), Silence())
    with ReplyServer(script) as server:
        ended = local.start(server.target, offer, quiet=0.3)
        local.say(b"EHLO local\r\n")
        os.close(local.write)
        local.write = -1
        heard = local.hear_all()

    assert heard == BANNER + b"250 mbx1\r\n"
    assert ended.result() is ExitCode.FINE


def test_what_is_said_after_our_end_is_heard(identity: Identity, local: Local) -> None:
    """A TLS 1.3 server may answer after our close_notify, and the answer arrives."""
    script = upgraded(identity, Hear("QUIT"), Silence(), Say(b"221 Bye\r\n"))
    with ReplyServer(script) as server:
        ended = local.start(server.target, OFFERS[1], quiet=0.3)
        local.say(b"QUIT\r\n")
        os.close(local.write)
        local.write = -1
        heard = local.hear_all()

    assert heard == BANNER + b"221 Bye\r\n"
    assert ended.result() is ExitCode.FINE


@pytest.mark.parametrize("offer", OFFERS, ids=str)
def test_much_data_both_ways_at_once(identity: Identity, local: Local, offer: TlsOffer) -> None:
    """Megabytes in both directions at once arrive whole and in order."""
    data = os.urandom(MUCH)
    with ReplyServer(upgraded(identity, Flood(MUCH))) as server:
        ended = local.start(server.target, offer)
        written = local.threads.submit(local.say, data)
        heard = local.hear_all()
        written.result()

    assert ended.result() is ExitCode.FINE
    assert heard == BANNER + bytes(range(256)) * (MUCH // 256)
    assert server.received == data


def test_a_reader_that_waits_does_not_hold_up_the_writer(identity: Identity, local: Local) -> None:
    """All that is written arrives although nothing is read meanwhile; afterwards all can be read."""
    data = os.urandom(MUCH)
    with ReplyServer(upgraded(identity, Flood(MUCH))) as server:
        ended = local.start(server.target)
        local.say(data)
        heard = local.hear_all()

    assert ended.result() is ExitCode.FINE
    assert heard == BANNER + bytes(range(256)) * (MUCH // 256)
    assert server.received == data


def test_a_file_can_be_stdin(identity: Identity, local: Local, tmp_path: Path) -> None:
    """A script of commands from a regular file is sent whole, and its echo is read whole."""
    said = b"NOOP\r\n" * 50_000
    (tmp_path / "commands").write_bytes(said)
    os.close(local.stdin)
    local.stdin = os.open(tmp_path / "commands", os.O_RDONLY)
    with ReplyServer(upgraded(identity, Echo())) as server:
        ended = local.start(server.target, quiet=0.5)
        heard = local.hear_all()

    assert heard == BANNER + said
    assert ended.result() is ExitCode.FINE


def test_one_socket_can_be_both(identity: Identity) -> None:
    """Stdin and stdout may be the same socket, as inetd hands it over."""
    script = upgraded(identity, Hear("QUIT"), Say(b"221 Bye\r\n"))
    ours, theirs = socket.socketpair()
    with ours, theirs, ReplyServer(script) as server, ThreadPoolExecutor(1) as threads:
        ended = threads.submit(
            tunnel, server.target, ehlo="edge.contoso.test", stdin=theirs.fileno(), stdout=theirs.fileno()
        )
        ours.sendall(b"QUIT\r\n")
        code = ended.result()
        heard = ours.recv(65536)

    assert code is ExitCode.FINE
    assert heard == BANNER + b"221 Bye\r\n"


def test_a_reader_that_leaves_ends_it(identity: Identity, local: Local) -> None:
    """When nobody reads stdout any more, what was said is still sent, and then it ends."""
    script = upgraded(identity, Hear("NOOP"), Say(b"250 ok\r\n"), Silence())
    with ReplyServer(script) as server:
        local.say(b"NOOP\r\n")
        os.close(local.read)
        local.read = -1
        ended = local.start(server.target, quiet=0.5)
        code = ended.result()

    assert code is ExitCode.FINE
    assert server.heard[-1] == "NOOP"


def test_a_reset_is_an_error(identity: Identity, local: Local) -> None:
    """A connection that breaks is 3, with a sentence that names the server; what came before is written."""
    with ReplyServer(upgraded(identity, Say(b"421 4.3.2 Going\r\n"), Hear("NOOP"), Reset())) as server:
        ended = local.start(server.target)
        heard = local.hear_until(b"Going\r\n")
        local.say(b"NOOP\r\n")
        heard += local.hear_all()
        target = str(server.target)

    assert heard == BANNER + b"421 4.3.2 Going\r\n"
    with pytest.raises(ClientError, match="the connection broke") as caught:
        ended.result()
    assert str(caught.value).startswith(f"{target}: ")
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_a_reset_while_much_is_sent_is_an_error(identity: Identity, local: Local) -> None:
    """A connection that breaks under a message on its way is 3, and the writer is not left waiting."""
    with ReplyServer(upgraded(identity, Hear("NOOP"), Reset())) as server:
        ended = local.start(server.target)
        with pytest.raises(BrokenPipeError):
            local.say(b"NOOP\r\n" + bytes(MUCH))

    with pytest.raises(ClientError, match="the connection broke") as caught:
        ended.result()
    assert caught.value.exit_code is ExitCode.UNREACHABLE


def test_octets_that_are_not_tls_are_an_error(identity: Identity, local: Local) -> None:
    """Plain text in the middle of TLS is 3; what came before it is written, it is not."""
    script = upgraded(identity, Say(b"250 sealed\r\n"), Garble(b"250 in the clear\r\n"), Silence())
    with ReplyServer(script) as server:
        ended = local.start(server.target)
        heard = local.hear_all()

    assert heard == BANNER + b"250 sealed\r\n"
    with pytest.raises(ClientError, match="the TLS session broke: wrong version number"):
        ended.result()


@pytest.mark.parametrize(
    ("script", "exit_code", "said"),
    [
        (
            (Say(BANNER), Hear("EHLO"), Say(b"250-mbx1\r\n250 STARTTLS\r\n"), Hear("QUIT")),
            ExitCode.NOT_AS_EXPECTED,
            "X-ANONYMOUSTLS is not advertised",
        ),
        (
            (
                Say(BANNER),
                Hear("EHLO"),
                Say(HELLO),
                Hear("X-ANONYMOUSTLS"),
                Say(b"454 4.7.0 No\r\n"),
                Hear("QUIT"),
            ),
            ExitCode.NOT_AS_EXPECTED,
            "refused with 454 4.7.0 No",
        ),
        (
            (Say(BANNER), Hear("EHLO"), Say(HELLO), Hear("X-ANONYMOUSTLS"), Say(b"220 Go\r\n")),
            ExitCode.UNREACHABLE,
            "the TLS handshake failed",
        ),
    ],
)
def test_before_the_join_nothing_is_written(
    local: Local, script: tuple[Step, ...], exit_code: ExitCode, said: str
) -> None:
    """What fails before TLS raises one sentence with its exit code, and stdout stays empty."""
    with ReplyServer(script) as server:
        ended = local.start(server.target)
        heard = local.hear_all()

    assert heard == b""
    with pytest.raises(ClientError, match=said) as caught:
        ended.result()
    assert caught.value.exit_code is exit_code


@pytest.mark.parametrize(("ehlo", "timeout"), [("two words", 30), ("a\r\nQUIT", 30), ("edge", 0)])
def test_arguments_that_cannot_be_are_told(ehlo: str, timeout: float) -> None:
    """A name that EHLO cannot carry and a time-out of nothing are ValueErrors, before any connection."""
    with pytest.raises(ValueError, match="write"):
        tunnel(Target("127.0.0.1", 9), ehlo=ehlo, stdin=0, stdout=1, timeout=timeout)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "command"),
    [(["-tls1_2", "-nbio"], b"R\n"), (["-tls1_3", "-nbio"], b"K\n")],
    ids=["renegotiation", "key update"],
)
def test_openssl_may_change_keys(identity: Identity, local: Local, flags: list[str], command: bytes) -> None:
    """A server may renegotiate or update its keys in mid-session, and nothing is lost."""
    with openssl_server(identity, *flags) as openssl:
        script = (*upgraded(identity)[:-1], Forward(openssl.port))
        with ReplyServer(script) as server:
            ended = local.start(server.target, quiet=0.5)
            openssl.say(b"250 before\r\n")
            before = local.hear_until(b"before\r\n")
            openssl.say(command)
            local.say(b"NOOP\r\n" * 1000 + b"LAST\r\n")
            openssl.printed(b"LAST")
            openssl.say(b"250 after\r\n")
            after = local.hear_until(b"after\r\n")
            os.close(local.read)
            local.read = -1

    assert before + after == BANNER + b"250 before\r\n250 after\r\n"
    assert ended.result() is ExitCode.FINE


TUNNEL = """\
import sys
from smtpd_anontls.client.errors import ClientError
from smtpd_anontls.client.target import Target
from smtpd_anontls.client.tunnel import tunnel
try:
    sys.exit(tunnel(Target.parse(sys.argv[1]), ehlo="edge.contoso.test", stdin=0, stdout=1))
except ClientError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
def test_swaks_delivers_through_it(identity: Identity, tmp_path: Path) -> None:
    """swaks, which knows no X-ANONYMOUSTLS, delivers a message through ``--pipe``."""
    (tmp_path / "tunnel.py").write_text(TUNNEL)
    script = upgraded(
        identity,
        Hear("EHLO swaks.contoso.test"),
        Say(b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250 8BITMIME\r\n"),
        Hear("MAIL FROM:<a@contoso.test>"),
        Say(b"250 2.1.0 Sender OK\r\n"),
        Hear("RCPT TO:<b@contoso.test>"),
        Say(b"250 2.1.5 Recipient OK\r\n"),
        Hear("DATA"),
        Say(b"354 Start mail input; end with <CRLF>.<CRLF>\r\n"),
        HearMessage(),
        Say(b"250 2.6.0 <1@contoso.test> Queued mail for delivery\r\n"),
        Hear("QUIT"),
        Say(b"221 2.0.0 Service closing transmission channel\r\n"),
    )
    with ReplyServer(script) as server:
        command = shlex.join([sys.executable, str(tmp_path / "tunnel.py"), str(server.target)])
        swaks = subprocess.run(
            [
                *("swaks", "--pipe", command, "--ehlo", "swaks.contoso.test"),
                *("--from", "a@contoso.test", "--to", "b@contoso.test"),
                *("--data", r"Subject: one\n\nbody 1\nbody 2\n"),
            ],
            env={**os.environ, "PYTHONPATH": str(Path(smtpd_anontls.__file__).parents[1])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert swaks.returncode == 0, swaks.stdout + swaks.stderr
    assert "Queued mail for delivery" in swaks.stdout
    assert "Subject: one" in server.heard
