"""Listening sockets: which bindings share one, what cannot be listened on, and what closing does."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.domain.endpoints import Binding
from smtpd_anontls.smtp.listener import Listener, ListenError, _explain, sockets_for
from tests.lab import CONNECTOR, FQDN, Belongings, eventually, greeted
from tests.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab


@contextlib.asynccontextmanager
async def listener_of(receiver: Receiver) -> AsyncIterator[Listener]:
    """Yield a listener whose sessions the receiver welcomes, though it has no connector for their ports."""
    listener = Listener(receiver, on_warning=pytest.fail)
    try:
        yield listener
    finally:
        await listener.close(0.1)


def bindings(*texts: str) -> set[Binding]:
    """Return the bindings that are written so."""
    return {Binding.parse(text) for text in texts}


async def free_port(listener: Listener, text: str) -> int:
    """Return the port that the system gave to a binding with port 0."""
    opened = await listener.open(Binding.parse(text))
    assert opened is not None
    return opened.port


async def answers(host: str, port: int) -> bool:
    """Whether somebody speaks SMTP there."""
    try:
        async with await Peer.connect((host, port)) as peer:
            return (await peer.reply())[0][:4] in {"220 ", "421 "}
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize(
    ("wanted", "sockets"),
    [
        (["127.0.0.1:25"], ["127.0.0.1:25"]),
        (["127.0.0.1:25", "127.0.0.2:25"], ["127.0.0.1:25", "127.0.0.2:25"]),
        (["0.0.0.0:25", "127.0.0.1:25"], ["0.0.0.0:25"]),
        (["0.0.0.0:25", "127.0.0.1:26"], ["0.0.0.0:25", "127.0.0.1:26"]),
        (["0.0.0.0:25", "[::]:25", "[::1]:25"], ["0.0.0.0:25", "[::]:25"]),
        (["0.0.0.0:25", "[::1]:25"], ["0.0.0.0:25", "[::1]:25"]),
        ([], []),
    ],
)
def test_a_wildcard_is_a_socket_for_its_family(wanted: list[str], sockets: list[str]) -> None:
    """A binding under a wildcard of its port and family needs no socket of its own."""
    assert sockets_for(bindings(*wanted)) == bindings(*sockets)


async def test_a_wildcard_and_one_address_share_a_socket(lab: Lab) -> None:
    """Both connectors get their sessions, though the port can be bound but once."""
    with reserved() as port:
        pass
    special = {"name": "special", "bindings": [f"127.0.0.1:{port}"], "banner": "one address"}
    general = {"name": "general", "bindings": [f"0.0.0.0:{port}"], "banner": "wildcard"}
    async with lab.receiver(server={"connectors": [general, special]}):
        banners = []
        for host in ("127.0.0.1", "127.0.0.2"):
            async with await Peer.connect((host, port)) as peer:
                banners.append(await peer.reply())

    assert banners == [["220 one address"], ["220 wildcard"]]


async def test_both_wildcards_stand_side_by_side(lab: Lab) -> None:
    """[::] takes IPv6 alone, so that 0.0.0.0 can have the same port."""
    async with lab.receiver() as receiver, listener_of(receiver) as listener:
        port = await free_port(listener, "0.0.0.0:0")
        wanted = bindings(f"0.0.0.0:{port}", f"[::]:{port}")

        assert await listener.listen(wanted) == wanted
        assert await answers("127.0.0.1", port)
        assert await answers("::1", port)


async def test_a_session_over_ipv6(lab: Lab) -> None:
    """A peer over IPv6 is greeted with its address, and recorded with brackets."""
    six = {"bindings": ["[::1]:0"]}
    async with (
        lab.receiver(connector=six) as receiver,
        await Peer.connect(receiver.address(CONNECTOR)) as peer,
    ):
        await peer.reply()
        hello = await peer.ask("HELO edge.lab.test")
        remote = peer.remote

    assert hello == [f"250 {FQDN} Hello [::1]"]
    assert lab.session()["remote"] == remote
    assert remote.startswith("[::1]:")


async def test_a_port_in_use(lab: Lab) -> None:
    """A port that another program has is one clear line, and what was open stays so."""
    async with lab.receiver() as receiver, listener_of(receiver) as listener:
        port = await free_port(listener, "127.0.0.1:0")
        with reserved() as taken:
            with pytest.raises(ListenError) as raised:
                await listener.listen(bindings(f"127.0.0.1:{port}", f"127.0.0.1:{taken}"))

            failures: list[ListenError] = []
            opened = await listener.listen(
                bindings(f"127.0.0.1:{taken}", f"127.0.0.2:{port}"), on_failure=failures.append
            )

        assert str(raised.value) == (
            f"127.0.0.1:{taken}: the port is in use; "
            "stop the program that has it, or choose another port in bindings"
        )
        assert [str(failure) for failure in failures] == [str(raised.value)]
        assert opened == bindings(f"127.0.0.2:{port}")
        assert await answers("127.0.0.2", port)


async def test_an_address_of_another_machine(lab: Lab) -> None:
    """A binding to an address that this machine does not have is one clear line."""
    async with lab.receiver() as receiver, listener_of(receiver) as listener:
        with pytest.raises(
            ListenError, match=r"^192\.0\.2\.1:0: this machine has no such address; choose one"
        ):
            await listener.open(Binding.parse("192.0.2.1:0"))


async def test_an_ipv6_address_that_is_not_there(lab: Lab) -> None:
    """An IPv6 binding that this machine cannot have is left out with a warning: many have no IPv6."""
    warnings: list[str] = []
    async with lab.receiver() as receiver:
        listener = Listener(receiver, on_warning=warnings.append)
        opened = await listener.listen(bindings("[2001:db8::1]:0"))

    assert opened == set()
    assert warnings == ["[2001:db8::1]:0: this machine has no such IPv6 address; the binding is left out"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOBUFS])
def test_every_reason_is_a_line(number: int) -> None:
    """What the system says otherwise is told in one line too; root, who runs these tests, cannot meet all."""
    line = _explain(OSError(number, os.strerror(number)), Binding.parse("127.0.0.1:25"))

    assert "no right to listen on port 25" in line if number != errno.ENOBUFS else os.strerror(number) in line
    assert "\n" not in line


async def test_bindings_come_and_go(lab: Lab) -> None:
    """Listening on other bindings closes the sockets that are no longer wanted, and keeps sessions."""
    async with lab.receiver() as receiver, listener_of(receiver) as listener:
        first = await free_port(listener, "127.0.0.1:0")
        second = await free_port(listener, "127.0.0.1:0")
        async with await Peer.connect(("127.0.0.1", first)) as peer:
            await listener.listen(bindings(f"127.0.0.1:{second}"))
            refused = not await answers("127.0.0.1", first)
            # No connector of the receiver's is bound to this port.
            assert await peer.reply() == ["421 4.3.2 Service not available"]

        assert refused
        assert await answers("127.0.0.1", second)


async def test_the_sessions_that_run_are_known(lab: Lab) -> None:
    """``sessions`` has each session from its first octet to its record, and no longer."""
    async with lab.receiver() as receiver:
        listener = receiver.listener
        async with await greeted(receiver) as one, await greeted(receiver) as other:
            ids = {session.id for session in listener.sessions}
            await one.ask("QUIT")
            await eventually(lambda: len(listener.sessions) == 1)
            await other.ask("QUIT")
        await eventually(lambda: not listener.sessions)

    assert ids == {session["id"] for session in lab.sessions}
    assert len(ids) == 2


async def test_a_reply_does_not_wait_for_an_acknowledgement(lab: Lab) -> None:
    """A connection has TCP_NODELAY: no reply waits for the peer's delayed ACK of the one before."""
    async with lab.receiver() as receiver, await greeted(receiver):
        (session,) = receiver.listener.sessions
        assert session.transport is not None
        accepted = session.transport.get_extra_info("socket")

        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("patience", [5.0, 0.0])
async def test_a_connection_that_comes_with_the_shutdown(lab: Lab, patience: float) -> None:
    """A peer that is accepted while the receiver begins to close is told so or cut off; nothing of it stays."""
    before = Belongings.now()
    async with lab.receiver() as receiver:
        peers = [await Peer.connect(receiver.address(CONNECTOR)) for _ in range(5)]
        # None of them has been looked at yet.
        await receiver.listener.close(patience)
        heard = [await peer.rest() for peer in peers]
        for peer in peers:
            peer.socket.close()
    await eventually(lambda: Belongings.now() == before)

    assert not receiver.listener.sessions
    for lines in heard:
        # Whoever was not accepted any more was reset.
        assert lines == [] or lines[-1] == "421 4.3.2 Service not active"


@contextlib.contextmanager
def reserved() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]
