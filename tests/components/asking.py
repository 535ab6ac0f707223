"""Directories of the project before OpenLDAP servers of their own, and how a test asks them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.directory.active_directory import HIDDEN, ActiveDirectory
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from tests import slapd as openldap
from tests.components.handshake import exchange_ec, fresh
from tests.slapd import ADMINISTRATOR, ADMINISTRATOR_PASSWORD, Slapd, bind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smtpd_anontls.domain.ldap_access import LdapAccess

DirectoryOf = Callable[..., ActiveDirectory]

A, B = exchange_ec().certificate, fresh("MBX2").certificate
A_NAMED, B_NAMED = Named(A.thumbprint, ValueForm.DER), Named(B.thumbprint, ValueForm.DER)
PEM = exchange_ec().certificate_pem
NOT_SET = Unset(HIDDEN)
SHORT: dict[str, Any] = {"connect_timeout": 0.5, "search_timeout": 0.5}
GENEROUS = 4.0  # Seconds beyond a time-out that a busy machine may take.
WRITER = bind(ADMINISTRATOR, ADMINISTRATOR_PASSWORD)


@pytest.fixture(scope="module")
def steady_slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """Return a server that runs all the time; each test sets the value that it wants."""
    with openldap.running(tmp_path_factory.mktemp("slapd") / "steady") as server:
        yield server


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    """Return a server of the test's own, to stop and to hang; it names A."""
    with openldap.running(tmp_path / "slapd") as server:
        server.set(A.der)
        yield server


@pytest.fixture
def other_slapd(tmp_path: Path, slapd: Slapd) -> Iterator[Slapd]:
    """Return a second server, whose certificate the same authority issued, with another value."""
    with openldap.running(tmp_path / "other", authority=slapd.authority) as server:
        server.set(B.der)
        yield server


@pytest.fixture
def directory_of() -> Iterator[DirectoryOf]:
    """Return a maker of directories, which are closed at the end."""
    made: list[ActiveDirectory] = []

    def make(access: LdapAccess, **ports: Any) -> ActiveDirectory:
        made.append(ActiveDirectory(access, **ports))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def reason(directory: ActiveDirectory, server: str = "MBX1") -> str:
    """Return why the answer could not be read."""
    answer = await directory.internal_tls_certificate(server)
    assert isinstance(answer, Unreadable), answer
    return answer.reason


async def until(directory: ActiveDirectory, wanted: Answer, *, within: float = 30.0) -> None:
    """Ask like session after session, until the answer is *wanted*."""
    ends = time.monotonic() + within
    while (answer := await directory.internal_tls_certificate("MBX1")) != wanted:
        assert time.monotonic() < ends, answer
        await asyncio.sleep(0.02)
