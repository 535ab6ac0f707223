"""The door of the page: hosts, origins, users, limits, and what every answer says of itself."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from argon2 import PasswordHasher

from smtpd_anontls.settings.values import WebSettings
from smtpd_anontls.web.access import AccessError
from smtpd_anontls.web.page import Page, PageError
from smtpd_anontls.web.patience import Patience
from smtpd_anontls.web.security import LARGEST_BODY, Guard
from tests.lab import CONNECTOR, SERVER, eventually
from tests.web.visiting import PROBLEM, all_heard, visiting

if TYPE_CHECKING:
    from tests.lab import Lab

pytestmark = pytest.mark.slow

CONNECTOR_PATH = f"connectors/{SERVER}/{CONNECTOR}"
# Cheap on purpose: a test asks about right and wrong, not about strength.
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8025", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8025", 200),
        ("mail.lab.test", 200),
        ("evil.test", 421),
        ("127.0.0.1.evil.test", 421),
        ("192.0.2.1", 421),
        ("localhost@evil.test", 421),
        ("", 421),
    ],
)
async def test_hosts(lab: Lab, host: str, status: int) -> None:
    """Only this page's own names are answered, so that no other name can be pointed here."""
    async with visiting(lab, web={"allowed_hosts": ["mail.lab.test"]}) as visit:
        answer = await visit.client.get("/healthz", headers={"Host": host})

    assert answer.status_code == status
    assert status == 200 or answer.headers["content-type"] == PROBLEM


async def test_a_body_does_not_wait_for_an_acknowledgement(lab: Lab) -> None:
    """A connection has TCP_NODELAY: no body waits for the client's delayed ACK of its header."""
    async with visiting(lab) as visit:
        await visit.client.get("/healthz")
        assert visit.page._server is not None
        (connection,) = visit.page._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")

        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="no browser"),
        pytest.param({"Origin": "http://localhost"}, 200, id="the page itself"),
        pytest.param({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200, id="a browser"),
        pytest.param({"Origin": "http://evil.test"}, 403, id="another site"),
        pytest.param({"Origin": "http://localhost:8080"}, 403, id="another port"),
        pytest.param({"Origin": "null"}, 403, id="a sandbox"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="another site, without Origin"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="a neighbour"),
    ],
)
async def test_origins(lab: Lab, headers: dict[str, str], status: int) -> None:
    """What changes something must come from this page or from no browser; what only reads may come."""
    headers = {"Host": "localhost", **headers}
    async with visiting(lab) as visit:
        changed = await visit.client.patch(CONNECTOR_PATH, json={"comment": "changed"}, headers=headers)
        removed = await visit.client.delete("messages?all=true", headers=headers)
        read = await visit.client.get("messages", headers=headers)
        comment = (await visit.get("connectors"))["items"][0]["comment"]

    assert (changed.status_code, removed.status_code, read.status_code) == (status, status, 200)
    assert comment == ("changed" if status == 200 else "")


async def test_a_form_of_another_site_is_no_json(lab: Lab) -> None:
    """A body of a type that any site may send is not read."""
    async with visiting(lab) as visit:
        await visit.problem(
            422, "PATCH", CONNECTOR_PATH, content=b'{"comment": "x"}', headers={"Content-Type": "text/plain"}
        )
        await visit.problem(
            422, "PATCH", CONNECTOR_PATH, content=b"{", headers={"Content-Type": "application/json"}
        )


async def test_what_every_answer_says_of_itself(lab: Lab) -> None:
    """Nothing may be run, framed, sniffed, referred or kept, whatever the answer is."""
    async with visiting(lab) as visit:
        answers = [
            await visit.client.get(path, headers={"Host": host})
            for path, host in (("sessions", "localhost"), ("nothing", "localhost"), ("/metrics", "evil.test"))
        ]

    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def auth(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return web.auth with a user and a token."""
    lab.config.parent.mkdir(exist_ok=True)
    (lab.config.parent / "page-users").write_text(f"# users\n\nann:{HASHER.hash('pässword:1')}\n")
    monkeypatch.setenv("PAGE_TOKEN", "s3cret")
    return {"users_file": "page-users", "token_env": "PAGE_TOKEN"}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param(_basic("ann", "pässword:1"), 200, id="user"),
        pytest.param("bearer s3cret", 200, id="token"),
        pytest.param(None, 401, id="nobody"),
        pytest.param(_basic("ann", "wrong"), 401, id="wrong password"),
        pytest.param(_basic("bob", "pässword:1"), 401, id="unknown user"),
        pytest.param("Basic !!!", 401, id="no base64"),
        pytest.param("Basic " + base64.b64encode(b"ann").decode(), 401, id="no colon"),
        pytest.param("Basic " + base64.b64encode(b"\xff:x").decode(), 401, id="no UTF-8"),
        pytest.param("Bearer s3cre", 401, id="wrong token"),
        pytest.param("Bearer", 401, id="empty token"),
        pytest.param("Digest x", 401, id="another scheme"),
    ],
)
async def test_users(lab: Lab, auth: dict[str, Any], authorization: str | None, status: int) -> None:
    """With web.auth nothing but /healthz is open, and each way in is offered."""
    headers = {} if authorization is None else {"Authorization": authorization}
    async with visiting(lab, web={"auth": auth}) as visit:
        for _ in range(2):  # The second time a password that was right is known.
            answers = [
                await visit.client.get(path, headers=headers)
                for path in ("sessions", "/metrics", "/readyz", "/api/openapi.json", "nothing")
            ]
        health = await visit.client.get("/healthz", headers=headers)

    assert [each.status_code for each in answers] == (
        [200, 200, 200, 200, 404] if status == 200 else [401] * 5
    )
    assert health.status_code == 200
    if status == 401:
        assert answers[0].headers.get_list("www-authenticate") == [
            'Basic realm="smtpd-anontls", charset="UTF-8"',
            'Bearer realm="smtpd-anontls"',
        ]
        assert "s3cret" not in answers[0].text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "is not there", id="no file"),
        pytest.param("", "has no user", id="empty"),
        pytest.param("ann:secret\n", "line 1 is not user:argon2-hash", id="a password in clear"),
        pytest.param("ann\n", "line 1 is not user:argon2-hash", id="no colon"),
        pytest.param("ann:$argon2id$x\nann:$argon2id$y\n", "line 2: ann is there twice", id="twice"),
        pytest.param(b"\xff", "is not UTF-8 text", id="no text"),
    ],
)
async def test_a_file_of_users_that_is_no_use(lab: Lab, content: str | bytes | None, sentence: str) -> None:
    """What cannot let anybody in stops the page with one sentence, without the line's content."""
    lab.config.parent.mkdir(exist_ok=True)
    users = lab.config.parent / "page-users"
    if content is not None:
        users.write_bytes(content if isinstance(content, bytes) else content.encode())
    web = {"bind": "127.0.0.1:0", "auth": {"users_file": "page-users"}}
    async with lab.receiver(settings={"web": web}) as receiver:
        with pytest.raises(AccessError) as refused:
            await Page(receiver).__aenter__()

    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_a_token_that_is_not_set(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty token would let everybody in, so it stops the page."""
    monkeypatch.setenv("PAGE_TOKEN", " ")
    web = {"bind": "127.0.0.1:0", "auth": {"token_env": "PAGE_TOKEN"}}
    async with lab.receiver(settings={"web": web}) as receiver:
        with pytest.raises(AccessError, match="PAGE_TOKEN is not set"):
            await Page(receiver).__aenter__()


async def test_a_port_that_is_taken(lab: Lab) -> None:
    """A port in use is said in one sentence; without a binding nothing is opened."""
    async with visiting(lab) as visit:
        web = {"bind": str(visit.page.binding)}
        with pytest.raises(PageError, match=r"web\.bind: 127\.0\.0\.1:\d+: the port is in use"):
            await _opened(lab, web)


async def _opened(lab: Lab, web: dict[str, Any]) -> None:
    async with lab.receiver(settings={"web": web}) as receiver, Page(receiver):
        pass


async def test_without_a_binding(lab: Lab) -> None:
    """web.bind null opens nothing."""
    async with lab.receiver(settings={"web": {"bind": None}}) as receiver, Page(receiver) as page:
        assert (page.url, page.binding, page.connections) == (None, None, 0)


async def test_bodies_are_bounded(lab: Lab) -> None:
    """A body that is too long is refused by its length, and without one by what comes."""
    async with visiting(lab) as visit:

        async def chunks() -> Any:
            for _ in range(100):
                yield b" " * 1024

        declared = await visit.client.patch(CONNECTOR_PATH, content=b" " * (LARGEST_BODY + 1))
        counted = await visit.client.patch(CONNECTOR_PATH, content=chunks())
        await visit.get("sessions")

    assert (declared.status_code, counted.status_code) == (413, 413)


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", id="half a head"),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\n",
            id="half a second head",
        ),
    ],
)
async def test_heads_that_do_not_come(lab: Lab, octets: bytes) -> None:
    """Who begins a request and does not go on is left."""
    async with visiting(lab, patience=Patience(head=0.05, keep_alive=1)) as visit:
        heard = await all_heard(visit, octets)
        await eventually(lambda: visit.page.connections == 0)

    assert heard.count(b"HTTP/1.1 200 OK") == octets.count(b"\r\n\r\n")


async def test_a_body_that_does_not_come(lab: Lab) -> None:
    """Who announces a body and does not send it is told so."""
    head = b"DELETE /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    async with visiting(lab, patience=Patience(body=0.05)) as visit:
        heard = await all_heard(visit, head)

    assert heard.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not come" in heard


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000, id="a long header"),
        pytest.param(b"GET /" + b"x" * 100_000, id="a long target"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"EHLO client.test\r\n\r\n", id="SMTP"),
    ],
)
async def test_what_is_no_request(lab: Lab, octets: bytes) -> None:
    """What is too long or no HTTP is refused, and the page goes on."""
    async with visiting(lab) as visit:
        heard = await all_heard(visit, octets)
        await visit.get("sessions")

    assert heard.startswith(b"HTTP/1.1 400 ")


async def test_a_fault_of_our_own(caplog: pytest.LogCaptureFixture) -> None:
    """What breaks ends with a problem that says nothing of it; the operator gets the whole story."""

    async def broken(_scope: object, _receive: object, _send: object) -> None:
        raise RuntimeError("/a/path and a secret")

    settings = WebSettings(bind=None, auth=None, tls=None, allowed_hosts=())
    guard = Guard(broken, settings=settings, access=None, body_timeout=1.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost") as client:
        answer = await client.get("/anything")

    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert answer.json()["detail"] == "an error of the receiver's own"
    assert "secret" not in answer.text
    assert "/a/path and a secret" in caplog.text


async def test_nobody_in_front_is_believed(lab: Lab) -> None:
    """A header of a proxy does not say who asks or which host is meant."""
    async with visiting(lab) as visit:
        answer = await visit.client.get(
            "/healthz", headers={"Host": "evil.test", "X-Forwarded-Host": "localhost"}
        )

    assert answer.status_code == 421
