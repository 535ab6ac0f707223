"""Directory servers that stop, hang, lie or are somebody else, and sessions that ask them all at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind
from tests import slapd as openldap
from tests.components.asking import (
    A_NAMED,
    B_NAMED,
    GENEROUS,
    NOT_SET,
    SHORT,
    WRITER,
    A,
    B,
    DirectoryOf,
    reason,
    until,
)
from tests.components.delaying import delaying, listening
from tests.slapd import (
    BLIND_PASSWORD,
    READER_PASSWORD,
    Slapd,
    bind,
    free_port,
)

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.directory_value import Answer

pytestmark = pytest.mark.slow  # They need slapd.


class TestReachingIt:
    """TLS, bind, and servers that do not serve."""

    async def test_start_tls(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """StartTLS carries the bind."""
        steady_slapd.set(A.der)
        directory = directory_of(steady_slapd.access(steady_slapd.plain_url, start_tls=True))

        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    @pytest.mark.parametrize("start_tls", [False, True], ids=["ldaps", "StartTLS"])
    async def test_wrong_authority(
        self,
        *,
        start_tls: bool,
        steady_slapd: Slapd,
        directory_of: DirectoryOf,
        tmp_path: Path,
    ) -> None:
        """A certificate of another authority is refused, and the file of authorities counts as it is now."""
        steady_slapd.set(A.der)
        ca_file = tmp_path / "authority.pem"
        trustme.CA().cert_pem.write_to_path(ca_file)
        url = steady_slapd.plain_url if start_tls else steady_slapd.url
        directory = directory_of(steady_slapd.access(url, start_tls=start_tls, ca_file=str(ca_file)))
        refused = await reason(directory)
        steady_slapd.authority.cert_pem.write_to_path(ca_file)

        assert f"{url}: TLS refused: its certificate is not trusted" in refused
        assert "directory.ca_file" in refused
        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    @pytest.mark.parametrize("start_tls", [False, True], ids=["ldaps", "StartTLS"])
    async def test_wrong_name(
        self,
        *,
        start_tls: bool,
        tmp_path: Path,
        directory_of: DirectoryOf,
    ) -> None:
        """A certificate for another name is refused."""
        with openldap.running(tmp_path / "named", names=("dc1.contoso.test",)) as server:
            url = server.plain_url if start_tls else server.url
            refused = await reason(directory_of(server.access(url, start_tls=start_tls)))

        assert "TLS refused: its certificate is for another name" in refused

    async def test_no_authority_file(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A file of authorities that is missing is said to be."""
        refused = await reason(directory_of(steady_slapd.access(ca_file="/nonexistent/authority.pem")))

        assert "directory.ca_file cannot be read (No such file or directory)" in refused

    async def test_wrong_port(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """LDAPS spoken to the port of LDAP says that no TLS is spoken there, and the other way round."""
        tls_to_plain = await reason(
            directory_of(steady_slapd.access(f"ldaps://127.0.0.1:{steady_slapd.port}"))
        )
        clear = steady_slapd.access(f"ldap://127.0.0.1:{steady_slapd.tls_port}", bind=bind(allow_clear=True))
        plain_to_tls = await reason(directory_of(clear))

        assert "TLS refused: no TLS is spoken there" in tls_to_plain
        assert "server down: it closed the connection during bind" in plain_to_tls

    async def test_clear_text_where_it_is_allowed(
        self, steady_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """A simple bind in clear works where the settings let it."""
        steady_slapd.set(A.der)
        access = steady_slapd.access(steady_slapd.plain_url, bind=bind(allow_clear=True))

        assert await directory_of(access).internal_tls_certificate("MBX1") == A_NAMED

    async def test_wrong_password_then_the_right_one(
        self, steady_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """Bad credentials are said to be so, never shown, and a password that was put right counts at once."""
        steady_slapd.set(A.der)
        passwords = ["wrong-password"]
        as_it_is_now = LdapBind(BindMethod.SIMPLE, openldap.READER, lambda: passwords[-1])
        directory = directory_of(steady_slapd.access(bind=as_it_is_now))
        first, again = await reason(directory), await reason(directory)
        passwords.append(READER_PASSWORD)

        assert f"bad credentials for {openldap.READER}" in first
        assert first == again
        assert "wrong-password" not in first
        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    async def test_no_password(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A password that cannot be read is the reason."""

        def nowhere() -> str:
            raise ValueError("password.txt does not exist")

        directory = directory_of(
            steady_slapd.access(bind=LdapBind(BindMethod.SIMPLE, openldap.READER, nowhere))
        )

        assert "the password for the bind cannot be read: password.txt does not exist" in await reason(
            directory
        )

    async def test_empty_password(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """An empty password is not sent: a server would take the bind for an anonymous one."""
        empty = LdapBind(BindMethod.SIMPLE, openldap.READER, str)

        assert "the password for the bind is empty" in await reason(
            directory_of(steady_slapd.access(bind=empty))
        )

    async def test_name_not_found(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A host that has no address is said to have none."""
        found = await reason(directory_of(steady_slapd.access("ldaps://dc1.invalid")))

        assert (
            found == "ldaps://dc1.invalid: server down: its name is not found; check the URL and the resolver"
        )

    async def test_stopped_and_started(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A server that is down is down; its return is seen by the next session."""
        directory = directory_of(slapd.access())
        await directory.internal_tls_certificate("MBX1")
        slapd.stop()
        stopped = await reason(directory)
        slapd.start()

        assert stopped == f"{slapd.url}: server down: connection refused"
        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    async def test_a_restart_between_two_sessions(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A connection that ended while nobody used it costs nobody an answer."""
        directory = directory_of(slapd.access())
        await directory.internal_tls_certificate("MBX1")
        slapd.stop()
        slapd.start()

        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    @pytest.mark.parametrize("warm", [True, False], ids=["under a connection", "before one"])
    async def test_hanging(self, *, warm: bool, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A server that hangs costs a session the two time-outs, the event loop nothing; its return is seen."""
        directory = directory_of(slapd.access(**SHORT))
        if warm:
            await directory.internal_tls_certificate("MBX1")
        with slapd.hanging():
            began = time.monotonic()
            asking = asyncio.create_task(reason(directory))
            turns = 0
            while not asking.done():
                turns += 1
                await asyncio.sleep(0.01)
            took = time.monotonic() - began

        assert "time-out: no answer" in asking.result()
        assert took < 1.0 + GENEROUS
        assert turns > 10
        await until(directory, A_NAMED)

    @pytest.mark.parametrize(
        "says",
        [
            b"220 mail.contoso.test ESMTP\r\n",
            b"\x30\x84\x00\x10\x00\x00",
            b"\x30\x0c\x02\x01\x01\x61\x07",
            b"\xff" * 64,
        ],
        ids=["SMTP", "drops", "half a bind", "octets"],
    )
    async def test_no_ldap_server(self, says: bytes, directory_of: DirectoryOf) -> None:
        """Something else on the port, even one that never stops talking, costs no more than the time-outs."""

        async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(says)
            while True:
                writer.write(b"\0")
                await writer.drain()
                await asyncio.sleep(0.05)

        async with listening(talk) as port:
            url = f"ldap://127.0.0.1:{port}"
            began = time.monotonic()
            found = await reason(directory_of(LdapAccess((url,), bind(allow_clear=True), **SHORT)))
            took = time.monotonic() - began

        assert found.startswith(f"{url}: ")
        assert took < 1.0 + GENEROUS


class TestSeveralServers:
    """Failover, and the way back."""

    async def test_the_first_is_dead(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A server that is not there is passed over."""
        directory = directory_of(slapd.access(f"ldaps://127.0.0.1:{free_port()}", slapd.url))

        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    async def test_it_dies_and_comes_back(
        self, slapd: Slapd, other_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """The second server answers when the first dies under a connection; the first does when it is back."""
        directory = directory_of(slapd.access(slapd.url, other_slapd.url))
        before = await directory.internal_tls_certificate("MBX1")
        slapd.stop()
        during = await directory.internal_tls_certificate("MBX1")
        slapd.start()

        assert (before, during) == (A_NAMED, B_NAMED)
        await until(directory, A_NAMED)

    async def test_the_first_hangs(self, slapd: Slapd, other_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """One budget for both: the second answers within it, and later sessions do not wait for the first."""
        directory = directory_of(
            slapd.access(slapd.url, other_slapd.url, connect_timeout=3, search_timeout=3)
        )
        await directory.internal_tls_certificate("MBX1")
        with slapd.hanging():
            began = time.monotonic()
            first = await directory.internal_tls_certificate("MBX1")
            took = time.monotonic() - began
            began = time.monotonic()
            second = await directory.internal_tls_certificate("MBX1")
            then_took = time.monotonic() - began

        assert first == second == B_NAMED
        assert took < 6.0 + GENEROUS
        assert then_took < 3.0
        await until(directory, A_NAMED)

    async def test_none_is_left(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """Where none serves, the reason names each of them."""
        dead = f"ldaps://127.0.0.1:{free_port()}"
        directory = directory_of(slapd.access(dead, slapd.url, **SHORT))
        with slapd.hanging():
            found = await reason(directory)

        assert (
            found == f"{dead}: server down: connection refused; {slapd.url}: time-out: no answer to connect"
        )

    async def test_bad_credentials_are_tried_at_one_server(
        self, slapd: Slapd, other_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """A wrong password goes to no second server: that would lock the account sooner."""
        found = await reason(
            directory_of(slapd.access(slapd.url, other_slapd.url, bind=bind(password=BLIND_PASSWORD)))
        )

        assert found.startswith(f"{slapd.url}: bad credentials")
        assert other_slapd.url not in found


class TestManySessions:
    """Searches that are shared, and answers that are kept."""

    async def test_a_thousand_at_once(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A thousand sessions cost few searches, wait for two at most, and see a write one search later."""
        steady_slapd.set(A.der)
        async with delaying(steady_slapd.port, 0.02) as proxy:
            directory = directory_of(steady_slapd.access(proxy.url, bind=bind(allow_clear=True)))
            await directory.internal_tls_certificate("MBX1")
            proxy.searches, proxy.longest = 0, 0.0

            async def session(number: int) -> tuple[Answer, float]:
                await asyncio.sleep(number % 10 * 0.005)  # They do not arrive in one instant.
                began = time.monotonic()
                return await directory.internal_tls_certificate("MBX1"), time.monotonic() - began

            first = await asyncio.gather(*map(session, range(1000)))
            # A search that is running while the value is written may still find the old one.
            running = asyncio.create_task(directory.internal_tls_certificate("MBX1"))
            await asyncio.sleep(0)
            await asyncio.to_thread(steady_slapd.set, B.der)
            await running
            second = await asyncio.gather(*map(session, range(1000)))

        assert {answer for answer, _ in first} == {A_NAMED}
        assert {answer for answer, _ in second} == {B_NAMED}
        assert proxy.searches < 100
        # A search that hung would take this long; how long two take is a measurement's business.
        assert max(waited for _, waited in first + second) < GENEROUS

    async def test_a_session_that_goes_away(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A session that ends while it waits takes nobody's search with it."""
        steady_slapd.set(A.der)
        async with delaying(steady_slapd.port, 0.02) as proxy:
            directory = directory_of(steady_slapd.access(proxy.url, bind=bind(allow_clear=True)))
            leaving = asyncio.create_task(directory.internal_tls_certificate("MBX1"))
            staying = asyncio.create_task(directory.internal_tls_certificate("MBX1"))
            await asyncio.sleep(0.01)
            leaving.cancel()

            assert await staying == A_NAMED

    async def test_kept_answers(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """With a cache the answer stays for as long as it says, and a write of our own counts at once."""
        directory = directory_of(slapd.access(cache_seconds=600.0, bind=WRITER))
        await directory.internal_tls_certificate("MBX1")
        slapd.set(B.der)
        kept = await directory.internal_tls_certificate("MBX1")
        await directory.replace("MBX1", None, expected=B.der)

        assert kept == A_NAMED
        assert await directory.internal_tls_certificate("MBX1") == NOT_SET

    async def test_a_kept_answer_grows_old(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A kept answer is given no longer than the cache says."""
        directory = directory_of(slapd.access(cache_seconds=0.3))
        await directory.internal_tls_certificate("MBX1")
        slapd.set(B.der)
        await asyncio.sleep(0.3)

        assert await directory.internal_tls_certificate("MBX1") == B_NAMED

    async def test_errors_are_kept_for_a_second(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """However long answers are kept, an error is not kept longer than a second."""
        directory = directory_of(slapd.access(cache_seconds=600.0))
        slapd.stop()
        await reason(directory)
        slapd.start()
        await asyncio.sleep(1.0)

        assert await directory.internal_tls_certificate("MBX1") == A_NAMED

    async def test_no_change_notification(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """A server without the control is warned of once, and asked for every session."""
        warnings: list[str] = []
        access = slapd.access(cache_seconds=600.0, change_notification=True)
        directory = directory_of(access, on_warning=warnings.append)
        ends = time.monotonic() + 20
        while not warnings:
            assert time.monotonic() < ends
            await directory.internal_tls_certificate("MBX1")
            await asyncio.sleep(0.02)
        slapd.set(B.der)

        assert await directory.internal_tls_certificate("MBX1") == B_NAMED
        assert warnings == [
            f"no change notification for MBX1, so every session asks: {slapd.url} does not know the control"
        ]


async def test_closed(steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
    """A directory that was closed answers that it is."""
    directory = directory_of(steady_slapd.access())
    await directory.internal_tls_certificate("MBX1")
    directory.close()

    assert "the directory is closed" in await reason(directory)
