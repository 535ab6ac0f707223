"""Which of Exchange's groups hold an account, asked of a real Active Directory domain controller and of OpenLDAP."""

from __future__ import annotations

import asyncio
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.authentication.identities import identify
from smtpd_anontls.directory import searching
from smtpd_anontls.directory.searching import Searching
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind
from smtpd_anontls.domain.membership import Groups, Membership
from tests.components.account_server import EXCHANGE_GROUPS, PEOPLE, running
from tests.components.asking import GENEROUS, SHORT, DirectoryOf
from tests.samba import READER, DomainController
from tests.slapd import (
    BLIND,
    BLIND_PASSWORD,
    CONFIGURATION,
    SUFFIX,
    Slapd,
    bind,
    free_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow  # They need Samba and slapd.

USERS, SERVERS = ("ExchangeUsers",), ("ExchangeUsers", "ExchangeServers")
LEGACY, BOTH = ("ExchangeUsers", "ExchangeLegacyServers"), (*SERVERS, "ExchangeLegacyServers")
# What nobody is called, however it is read: as a pattern, as a filter, as escapes, more loosely than by case.
HOSTILE = {
    "a star": "*",
    "a pattern": "svc-read*",
    "a filter": "x)(|(sAMAccountName=*",
    "an end": "svc-reader))",
    "escapes": "svc\\2dreader",
    "a backslash": "svc-reader\\",
    "NUL": "svc-reader\0",
    "a space before": " svc-reader",
    "a space behind": "svc-reader ",
    "a wide letter": "svc-reade\uff52",
    "control characters": "svc-reader\r\n",
    "octets that are no text": "svc-reader\udc80",
    "nothing": "",
    "too long": "x" * 257,
    "as long as can be": "x" * 256,
}


def names(found: Membership) -> tuple[str, ...]:
    """Return the permission groups of an answer that could be read."""
    assert isinstance(found, Groups), found
    return found.names


def reason(found: Membership) -> str:
    """Return why an answer could not be read."""
    assert isinstance(found, Unreadable), found
    return found.reason


# -- Active Directory


def access(controller: DomainController, **more: Any) -> LdapAccess:
    """Return how the reader reaches the domain controller, with *more*."""
    usual: dict[str, Any] = {
        "urls": (controller.url,),
        "bind": LdapBind(BindMethod.SIMPLE, READER, lambda: controller.password(READER)),
        "ca_file": str(controller.ca_file),
    }
    return LdapAccess(**{**usual, **more})


def change(controller: DomainController, kind: str, group: str, member: str) -> None:
    """Add *member* to a group, or delete it there."""
    dn = f"CN={group},{EXCHANGE_GROUPS}"
    controller.modify(f"dn: {dn}\nchangetype: modify\n{kind}: member\nmember: {member}\n-\n")


@contextmanager
def hidden_members(controller: DomainController, group: str) -> Iterator[None]:
    """Deny every user to read the attribute ``member`` of a group, for a while."""
    dn = f"CN={group},{EXCHANGE_GROUPS}"
    words = ("-LLL", "-o", "ldif-wrap=no", "-s", "base", "-b", dn, "nTSecurityDescriptor")
    shown = controller._tool("ldapsearch", *words)
    before = shown.partition("nTSecurityDescriptor:: ")[2].split()[0]
    command = ["/usr/bin/python3", "/usr/bin/samba-tool", "dsacl", "set", "--objectdn", dn]
    # The schemaIDGUID of member; AU is Authenticated Users.
    command += ["--sddl", "(OD;;RP;bf9679c0-0de6-11d0-a285-00aa003049e2;;AU)"]
    command += ["-H", str(controller.folder / "private" / "sam.ldb")]
    command += ["-s", str(controller.folder / "etc" / "smb.conf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        restore = f"replace: nTSecurityDescriptor\nnTSecurityDescriptor:: {before}\n-\n"
        controller.modify(f"dn: {dn}\nchangetype: modify\n{restore}")


@pytest.mark.parametrize(
    ("identity", "wanted"),
    [
        ("CONTOSO\\MBX1$", SERVERS),
        ("CONTOSO\\MBX2$", SERVERS),
        ("contoso.test\\mbx2$", SERVERS),
        ("MBX2$", SERVERS),
        ("svc-reader", USERS),
        ("CONTOSO\\SVC-PUBLISHER", USERS),
        ("CONTOSO\\DC1$", USERS),
    ],
    ids=["direct", "nested", "another form", "no domain", "a user", "another user", "another computer"],
)
async def test_an_account_of_active_directory(
    identity: str, wanted: tuple[str, ...], domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """Every account is an Exchange user; those in Exchange Servers, themselves or by another group, are servers."""
    assert names(await directory_of(access(domain_controller)).groups_of(identity)) == wanted


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ("CONTOSO\\MBX9$", f"there is no such account below {SUFFIX}, or the reader may not list it"),
        ("CONTOSO\\MBX2", f"there is no such account below {SUFFIX}, or the reader may not list it"),
        (
            "CONTOSO\\Exchange Servers",
            f"there is no such account below {SUFFIX}, or the reader may not list it",
        ),
        (
            "FABRIKAM\\MBX1$",
            "FABRIKAM is not the domain whose accounts the directory holds (CONTOSO)",
        ),
        (
            "FABRI\x07KAM\\MBX1$",
            "FABRI\\x07KAM is not the domain whose accounts the directory holds (CONTOSO)",
        ),
    ],
    ids=["unknown", "a computer without its $", "a group", "another domain", "a strange domain"],
)
async def test_no_account_of_active_directory(
    identity: str, why: str, domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """Who is nobody here has no group at all, and the answer says why."""
    assert await directory_of(access(domain_controller)).groups_of(identity) == Groups((), why)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_names_find_nobody_in_active_directory(
    kind: str, domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """A name is only ever a name, and none keeps the next one from being asked for."""
    directory = directory_of(access(domain_controller))

    assert names(await directory.groups_of(f"CONTOSO\\{HOSTILE[kind]}")) == ()
    assert names(await directory.groups_of("svc-reader")) == USERS


async def test_a_change_counts_from_the_next_question_on(
    domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """Who is put into a group is in it at once, and out again."""
    directory, publisher = directory_of(access(domain_controller)), f"CN=svc-publisher,CN=Users,{SUFFIX}"
    answers = []
    for kind in ("add", "delete"):
        change(domain_controller, kind, "ExchangeLegacyInterop", publisher)
        answers.append(names(await directory.groups_of("CONTOSO\\svc-publisher")))

    assert answers == [LEGACY, USERS]


async def test_hidden_members_grant_nothing(
    domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """A reader without the right to member sees a group without members, and the answer says that it may be so."""
    directory = directory_of(access(domain_controller))
    with hidden_members(domain_controller, "Exchange Servers"):
        hidden = await directory.groups_of("CONTOSO\\MBX1$")
    shown = await directory.groups_of("CONTOSO\\MBX1$")

    assert names(hidden) == USERS
    assert isinstance(hidden, Groups)
    assert "an access rule that hides the members looks the same" in hidden.detail
    assert names(shown) == SERVERS


async def test_anonymous_reads_no_groups(
    domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """Without a bind Active Directory answers nothing, and that is why there are no groups."""
    directory = directory_of(access(domain_controller, bind=LdapBind(BindMethod.ANONYMOUS)))

    assert "it answers only after a bind" in reason(await directory.groups_of("CONTOSO\\MBX1$"))


@pytest.mark.parametrize("outage", ["hangs", "is down"])
async def test_an_outage_grants_nothing(
    outage: str, domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """A domain controller that does not answer costs the budget at most, and gives no group; its return gives them back."""
    directory = directory_of(access(domain_controller, connect_timeout=1.0, search_timeout=1.0))
    before = names(await directory.groups_of("CONTOSO\\MBX2$"))
    (domain_controller.hang if outage == "hangs" else domain_controller.stop)()
    try:
        began = time.monotonic()
        during = await directory.groups_of("CONTOSO\\MBX2$")
        took = time.monotonic() - began
    finally:
        await asyncio.to_thread(domain_controller.resume if outage == "hangs" else domain_controller.start)
    after = await directory.groups_of("CONTOSO\\MBX2$")
    ends = time.monotonic() + 30.0
    while isinstance(after, Unreadable) and time.monotonic() < ends:
        after = await directory.groups_of("CONTOSO\\MBX2$")

    assert before == SERVERS
    assert ("time-out" if outage == "hangs" else "server down") in reason(during)
    assert took < 2.0 + GENEROUS
    assert names(after) == SERVERS


async def test_a_sender_that_authenticated_with_kerberos(
    domain_controller: DomainController, directory_of: DirectoryOf
) -> None:
    """The identity carries the groups, and the sentence that the record shows."""
    directory = directory_of(access(domain_controller))
    found = await identify("MBX2$@CONTOSO.TEST", "GSSAPI", identities=None, directory=directory)

    assert (found.name, found.groups) == ("CONTOSO\\MBX2$", SERVERS)
    assert found.detail == (
        "the directory says ExchangeUsers, ExchangeServers of CONTOSO\\MBX2$: it is an account of the domain, "
        "in Exchange Servers, not in ExchangeLegacyInterop (an access rule that hides the members looks the same)"
    )


# -- a server that does not follow chains itself


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """Return a server with the accounts of a domain; no test leaves a change behind."""
    with running(tmp_path_factory.mktemp("accounts")) as server:
        yield server


@pytest.mark.parametrize(
    ("identity", "wanted"),
    [
        ("CONTOSO\\MBX1$", SERVERS),
        ("CONTOSO\\mbx2$", SERVERS),
        ("CONTOSO\\near", SERVERS),
        ("CONTOSO\\legacy", BOTH),
        ("CONTOSO\\loop", USERS),
        ("CONTOSO\\news", USERS),
        ("CORP\\alice", USERS),
        ("alice", USERS),
    ],
    ids=["direct", "nested", "far away", "both", "loop", "distribution", "NetBIOS name", "no domain"],
)
async def test_groups_are_followed_level_by_level(
    identity: str, wanted: tuple[str, ...], accounts: Slapd, directory_of: DirectoryOf
) -> None:
    """Where the server knows no rule for it, nesting counts all the same, and names are compared as names."""
    assert names(await directory_of(accounts.access()).groups_of(identity)) == wanted


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        (
            "CONTOSO\\nobody",
            "there is no such account below DC=contoso,DC=test, or the reader may not list it",
        ),
        (
            "FABRIKAM\\alice",
            "FABRIKAM is not the domain whose accounts the directory holds (CONTOSO or CORP)",
        ),
        ("CONTOSO\\twin", "2 accounts are called so: "),
    ],
    ids=["unknown", "another domain", "ambiguous"],
)
async def test_no_account(identity: str, why: str, accounts: Slapd, directory_of: DirectoryOf) -> None:
    """Who is nobody, or several, has no group at all."""
    found = await directory_of(accounts.access()).groups_of(identity)

    assert names(found) == ()
    assert isinstance(found, Groups)
    assert found.detail.startswith(why)


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_names_find_nobody(kind: str, accounts: Slapd, directory_of: DirectoryOf) -> None:
    """A name is only ever a name, for a server that reads filters and names in its own way too."""
    directory = directory_of(accounts.access())

    assert names(await directory.groups_of(f"CONTOSO\\{HOSTILE[kind]}")) == ()
    assert names(await directory.groups_of("svc-reader")) == USERS


@pytest.mark.parametrize(
    ("identity", "why"),
    [("far", "its groups are nested more than 32 deep"), ("busy", "more than 1000 groups hold it")],
)
async def test_a_walk_has_an_end(identity: str, why: str, accounts: Slapd, directory_of: DirectoryOf) -> None:
    """Too deep or too many is an answer that grants nothing, not a session that waits."""
    assert why in reason(await directory_of(accounts.access()).groups_of(identity))


async def test_hidden_members_end_a_walk(accounts: Slapd, directory_of: DirectoryOf) -> None:
    """A reader that may not read member finds the account and no group that holds it."""
    directory = directory_of(accounts.access(bind=bind(BLIND, BLIND_PASSWORD)))

    assert names(await directory.groups_of("CONTOSO\\MBX1$")) == USERS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"edge": True}, "AD LDS of an Edge Transport server holds no accounts"),
        ({"configuration_dn": None}, "its rootDSE names no default naming context"),
        ({"configuration_dn": "CN=Configuration,DC=else"}, "no such object: no DC=else"),
        ({"bind": bind(password="wrong")}, "bad credentials"),  # noqa: S106
    ],
    ids=["Edge", "no domain", "another domain", "no bind"],
)
async def test_a_directory_without_these_accounts(
    changes: dict[str, Any], why: str, accounts: Slapd, directory_of: DirectoryOf
) -> None:
    """What cannot be read is said, and grants nothing."""
    assert why in reason(await directory_of(accounts.access(**changes)).groups_of("MBX1$"))


@pytest.mark.parametrize(
    ("referral", "why"),
    [
        (
            "referral ldap://root.test",
            "it does not hold DC=root,DC=test; name a domain controller of that domain",
        ),
        ("", "no such object: no DC=root,DC=test"),
    ],
    ids=["refers", "knows nothing of it"],
)
async def test_exchange_groups_are_in_the_root_domain(
    referral: str, why: str, tmp_path: Path, directory_of: DirectoryOf
) -> None:
    """A server of another domain of the forest does not hold them, and a group there of the same name is not it."""
    root_dse = tmp_path / "root.ldif"
    root_dse.write_text(
        f"dn:\ndefaultNamingContext: {SUFFIX}\nrootDomainNamingContext: DC=root,DC=test\n"
        f"configurationNamingContext: {CONFIGURATION}\n"
    )
    with running(tmp_path, f"rootDSE {root_dse}", referral) as child:
        directory = directory_of(child.access(configuration_dn=None))
        found = await directory.groups_of("CORP\\MBX1$")
        unknown = await directory.groups_of("FABRIKAM\\MBX1$")

    assert why in reason(found)
    assert names(unknown) == ()


async def test_a_forest_that_shows_no_exchange_groups(tmp_path: Path, directory_of: DirectoryOf) -> None:
    """Without the groups nobody is a server, and the answer says that they are not there."""
    root_dse = tmp_path / "root.ldif"
    root_dse.write_text(
        f"dn:\ndefaultNamingContext: {SUFFIX}\nrootDomainNamingContext: {PEOPLE}\n"
        f"configurationNamingContext: {CONFIGURATION}\n"
    )
    with running(tmp_path, f"rootDSE {root_dse}") as server:
        found = await directory_of(server.access(configuration_dn=None)).groups_of("MBX1$")

    assert names(found) == USERS
    assert isinstance(found, Groups)
    assert "and no group Exchange Servers is shown" in found.detail


async def test_the_next_server_is_asked(accounts: Slapd, directory_of: DirectoryOf) -> None:
    """Groups are asked for where the other questions are: a server that is down leaves it to the next."""
    dead = f"ldaps://127.0.0.1:{free_port()}"

    assert names(await directory_of(accounts.access(dead, accounts.url)).groups_of("MBX2$")) == SERVERS


async def test_a_server_that_hangs(accounts: Slapd, directory_of: DirectoryOf) -> None:
    """The budget ends the question, and the answer of one sender does not wait for another's."""
    directory = directory_of(accounts.access(**SHORT))
    with accounts.hanging():
        began = time.monotonic()
        found = await asyncio.gather(*(directory.groups_of(name) for name in ("MBX1$", "MBX2$", "alice")))
        took = time.monotonic() - began

    assert all("time-out" in reason(each) for each in found)
    assert took < 1.0 + GENEROUS


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [USERS, LEGACY, USERS]),
        ({"cache_seconds": 3600.0}, [USERS, USERS, USERS]),
        ({"cache_seconds": 3600.0, "change_notification": True}, [USERS, LEGACY, USERS]),
    ],
    ids=["always asked", "kept", "kept while it is heard of changes"],
)
async def test_how_long_an_answer_counts(
    settings: dict[str, Any], wanted: list[tuple[str, ...]], accounts: Slapd, directory_of: DirectoryOf
) -> None:
    """An answer is as old as the configuration allows; of a change of members nobody would hear."""
    directory, answers = directory_of(accounts.access(**settings)), []
    answers.append(names(await directory.groups_of("alice")))
    for kind in ("add", "delete"):
        dn = f"CN=ExchangeLegacyInterop,{EXCHANGE_GROUPS}"
        member = f"CN=alice,{PEOPLE}"
        accounts._ldap("ldapmodify", text=f"dn: {dn}\nchangetype: modify\n{kind}: member\nmember: {member}\n")
        answers.append(names(await directory.groups_of("alice")))

    assert answers == wanted


async def test_only_so_many_answers_are_kept() -> None:
    """However many senders there are, the oldest answer makes room; the newest is still there."""
    asked: list[str] = []

    async def ask(name: str) -> str:
        asked.append(name)
        return name

    kept = Searching(ask, keep_seconds=3600.0)
    for index in range(searching.MAX_KEPT + 1):
        await kept.answer(f"{index}")
    asked.clear()
    for index in (searching.MAX_KEPT, 0):
        await kept.answer(f"{index}")

    assert asked == ["0"]


async def test_no_domain_is_asked_for_who_cannot_be_there(directory_of: DirectoryOf) -> None:
    """A name that nobody can have costs no search: the directory is not even reachable."""
    directory = directory_of(LdapAccess((f"ldap://127.0.0.1:{free_port()}",), LdapBind(BindMethod.ANONYMOUS)))

    assert await directory.groups_of("CONTOSO\\" + "x" * 257) == Groups((), "no account can be called so")
    assert "server down" in reason(await directory.groups_of("CONTOSO\\x"))
