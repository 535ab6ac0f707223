"""The page over HTTPS: with a certificate of the local computer store, as it is when a browser connects."""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.testing import running_receiver
from smtpd_anontls.web.certificate import PageCertificateError
from smtpd_anontls.web.page import Page
from smtpd_anontls.web.patience import Patience
from smtpd_anontls.web.securing import MOST_HANDSHAKES
from tests.command import call
from tests.lab import FQDN, Pki, eventually
from tests.peer import believing_context
from tests.web.visiting import address, all_heard, visiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from smtpd_anontls.testing import BlockingReceiver
    from tests.lab import Lab
    from tests.web.visiting import Visit

pytestmark = pytest.mark.slow

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def secured(lab: Lab, certificate: str = "by_name", **overlay: Any) -> Any:
    """Run a receiver whose page speaks TLS."""
    return visiting(lab, web={"tls": {"certificate": certificate}}, **overlay)


@asynccontextmanager
async def connected(visit: Visit) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, str]]:
    """Connect, believing anybody; give the streams, and the thumbprint that was presented."""
    reader, writer = await asyncio.open_connection(
        *address(visit), ssl=believing_context(), server_hostname=""
    )
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        yield reader, writer, thumbprint_of(shown)
    finally:
        writer.close()


async def presented(visit: Visit) -> str:
    """Return the thumbprint that the page presents now."""
    async with connected(visit) as (_, _, thumbprint):
        return thumbprint


async def test_a_browser_is_answered(lab: Lab, pki: Pki) -> None:
    """Who trusts the authority is answered over TLS 1.3; the page's own URL says https."""
    trusting = ssl.create_default_context(cadata=pki.authority.cert_pem.bytes().decode())
    async with secured(lab) as visit:
        reader, writer = await asyncio.open_connection(*address(visit), ssl=trusting, server_hostname=FQDN)
        writer.write(REQUEST)
        answer = await reader.read()
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        url = visit.page.url

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert version == "TLSv1.3"
    assert url == f"https://127.0.0.1:{address(visit)[1]}/"


@pytest.mark.parametrize(
    ("certificate", "name"), [("by_name", FQDN), ("Internal_Transport", "internal"), (None, "other.lab.test")]
)
async def test_which_certificate(lab: Lab, certificate: str | None, name: str) -> None:
    """That of STARTTLS, that of X-ANONYMOUSTLS, or the one whose thumbprint is written."""
    store = {"other.lab.test": "valid"}
    lab.write(store=store)
    wanted = certificate or lab.certificate(name).thumbprint.lower()
    async with secured(lab, wanted, store=store) as visit:
        thumbprint = await presented(visit)
        shown = visit.page.certificate

    assert thumbprint == lab.certificate(name).thumbprint
    assert shown == lab.certificate(name)


async def test_a_renewed_certificate_is_presented(lab: Lab) -> None:
    """The next connection has it; one that is there goes on."""
    async with secured(lab) as visit, connected(visit) as (reader, writer, old):
        renewed = Pki().credentials(FQDN)
        (lab.store / f"{FQDN}.pem").write_bytes(renewed.chain + renewed.key)
        (lab.store / "services.yaml").unlink()
        new = await presented(visit)
        writer.write(REQUEST)
        answer = await reader.read()

    assert old == lab.certificate(FQDN).thumbprint
    assert new == renewed.certificate.thumbprint
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_certificate_that_is_gone(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """The page goes on with what it has, and says so once, until there is one again."""
    held = lab.store / f"{FQDN}.pem"
    async with secured(lab, store={"internal": None}, directory=None) as visit:
        content = held.read_bytes()
        held.unlink()
        with caplog.at_level(logging.WARNING, "smtpd_anontls"):
            seen = [await presented(visit) for _ in range(2)]
            held.write_bytes(content)
            seen.append(await presented(visit))
            held.unlink()
            seen.append(await presented(visit))

    assert set(seen) == {lab.certificate(FQDN).thumbprint}
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"web.tls: MX1: no certificate in the local computer store has the name {FQDN} (0 looked at); "
            "the page goes on with the certificate that it has"
        )
    ] * 2


@pytest.mark.parametrize(
    ("certificate", "overlay", "sentence"),
    [
        pytest.param(
            "by_name",
            {"store": {FQDN: None, "internal": None}, "directory": None},
            f"web.tls: MX1: no certificate in the local computer store has the name {FQDN} (0 looked at)",
            id="no such name",
        ),
        pytest.param(
            "AB" * 20,
            {},
            f"web.tls: MX1: the local computer store holds no certificate with thumbprint {'AB' * 20}",
            id="no such thumbprint",
        ),
        pytest.param(
            "internal_transport",
            {"directory": "unreadable"},
            "web.tls: MX1: msExchServerInternalTLSCert of MX1 could not be read: ",
            id="unreadable",
        ),
    ],
)
async def test_no_certificate(lab: Lab, certificate: str, overlay: dict[str, Any], sentence: str) -> None:
    """Without one the page does not open in clear instead; check and serve say why."""
    settings = {"web": {"bind": "127.0.0.1:0", "tls": {"certificate": certificate}}}
    async with lab.receiver(settings=settings, **overlay) as receiver:
        with pytest.raises(PageCertificateError) as refused:
            await Page(receiver).__aenter__()
    checked = await asyncio.to_thread(call, "check", "--json", "--config", lab.config)

    assert str(refused.value).startswith(sentence)
    assert checked.code == 1
    assert str(refused.value) in checked.document["problems"]


async def test_a_request_that_comes_with_the_end_of_the_handshake(lab: Lab) -> None:
    """Octets in the same flight as the client's Finished are a request like any other."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = believing_context().wrap_bio(incoming, outgoing)
    async with secured(lab) as visit:
        reader, writer = await asyncio.open_connection(*address(visit))
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
        client.write(REQUEST)
        writer.write(outgoing.read())
        answer = b""
        while not answer.endswith(b"}"):
            incoming.write(await reader.read(65536))
            while incoming.pending:
                try:
                    answer += client.read()
                except ssl.SSLWantReadError:
                    break
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(REQUEST, id="HTTP in clear"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", id="half a ClientHello"),
    ],
)
async def test_handshakes_that_come_to_nothing(
    lab: Lab, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Who does not shake hands is left, is answered nothing in clear, and disturbs nobody."""
    settings = {"tls": {"certificate": "by_name"}}
    async with visiting(lab, web=settings, patience=Patience(head=0.2)) as visit:
        heard = await all_heard(visit, octets)
        await presented(visit)

    assert b"HTTP" not in heard
    assert caplog.records == []


async def test_many_that_do_not_shake_hands(lab: Lab) -> None:
    """There are so many at once and no more; when they go, others come in."""
    async with secured(lab) as visit:
        idle = [await asyncio.open_connection(*address(visit)) for _ in range(MOST_HANDSHAKES)]
        await eventually(lambda: visit.page.handshakes == MOST_HANDSHAKES)
        assert await all_heard(visit, b"") == b""
        for _, writer in idle:
            writer.close()
        await eventually(lambda: visit.page.handshakes == 0)
        await presented(visit)


async def test_closing_ends_handshakes(lab: Lab) -> None:
    """A page that closes leaves no handshake behind."""
    async with secured(lab) as visit:
        reader, writer = await asyncio.open_connection(*address(visit))
        await eventually(lambda: visit.page.handshakes == 1)
        await visit.page.close()
        assert visit.page.handshakes == 0
        assert await reader.read() == b""
        writer.close()


# -- the commands


@pytest.fixture
def running(tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingReceiver]:
    """Run a receiver whose page has a certificate of the authority, for localhost."""
    store = tmp_path / "page-certificates"
    store.mkdir()
    held = pki.credentials("localhost")
    (store / "localhost.pem").write_bytes(held.chain + held.key)
    (tmp_path / "authority.pem").write_bytes(pki.authority.cert_pem.bytes())
    (tmp_path / "itself.pem").write_bytes(held.chain)
    (tmp_path / "nothing.pem").write_text("nothing\n")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = {"certificate_store": str(store)}
    web = {"bind": "127.0.0.1:0", "tls": {"certificate": held.certificate.thumbprint}}
    with running_receiver(tmp_path, server=server, settings={"web": web}) as receiver:
        yield receiver


def test_whom_the_commands_believe(
    running: BlockingReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's authority, or the certificate itself; by the option, or as the system says."""
    assert running.url is not None
    url = running.url.replace("127.0.0.1", "localhost")
    for name in ("authority.pem", "itself.pem"):
        answer = call("session", "list", "--json", "--url", url, "--ca-file", tmp_path / name)
        assert (answer.code, answer.stderr) == (0, "")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    answer = call("session", "list", "--json", "--url", url)

    assert (answer.code, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("written", "file", "code", "sentence"),
    [
        pytest.param(
            "https://localhost",
            None,
            3,
            "cannot be reached (its certificate is not trusted (unable to get local issuer certificate); if it is the "
            "right one, name a file with it, or with its authority, by --ca-file or SSL_CERT_FILE)",
            id="not trusted",
        ),
        pytest.param(
            "https://127.0.0.1",
            "authority.pem",
            3,
            "cannot be reached (IP address mismatch, certificate is not valid for '127.0.0.1'; write a name of the "
            "certificate into the URL)",
            id="another name",
        ),
        pytest.param("http://localhost", None, 3, "cannot be reached (", id="in clear"),
        pytest.param(
            "https://localhost",
            "nothing.pem",
            2,
            "has no certificate in PEM form; write one into it",
            id="no PEM",
        ),
        pytest.param(
            "https://localhost", "missing.pem", 2, "cannot be read: No such file or directory", id="no file"
        ),
        pytest.param(
            "http://localhost", "itself.pem", 2, "goes with a --url that begins with https://", id="no TLS"
        ),
    ],
)
def test_whom_they_do_not_believe(
    running: BlockingReceiver, written: str, file: str | None, code: int, sentence: str
) -> None:
    """One line says what is wrong and what would do."""
    assert running.url is not None
    url = f"{written}:{running.url.rstrip('/').rpartition(':')[2]}"
    option = () if file is None else ("--ca-file", running.config.parent / file)
    answer = call("session", "list", "--url", url, *option)

    assert answer.code == code
    (line,) = answer.mistakes
    assert sentence in line
    assert line.startswith(f"{url}: " if code == 3 else "--ca-file: ")


def test_a_page_without_tls(tmp_path: Path) -> None:
    """Where HTTP is spoken, https is said to be wrong."""
    with running_receiver(tmp_path, settings={"web": {"bind": "127.0.0.1:0"}}) as receiver:
        assert receiver.url is not None
        answer = call("session", "list", "--url", receiver.url.replace("http:", "https:"))

    assert answer.code == 3
    assert "(it does not speak TLS; write http://)" in answer.stderr
