"""Which server objects name a certificate, asked of a directory file, of OpenLDAP and of Active Directory."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest
import yaml

from smtpd_anontls.directory import listing
from smtpd_anontls.directory.active_directory import ActiveDirectory
from smtpd_anontls.directory.file import FileDirectory
from smtpd_anontls.domain.direct_trust import NamedBy
from smtpd_anontls.domain.directory_value import Unreadable
from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind
from tests import slapd as openldap
from tests.components.asking import PEM, SHORT, WRITER, A, B, DirectoryOf
from tests.making import record
from tests.samba import READER, DomainController
from tests.slapd import (
    BLIND,
    BLIND_PASSWORD,
    EDGE_CONFIGURATION,
    EXCHANGE,
    GROUPS,
    ORGANIZATION,
    Slapd,
    bind,
)

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.direct_trust import Naming

ATTRIBUTE = "msExchServerInternalTLSCert"


# -- the directory file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a directory file of every kind of entry."""
    (tmp_path / "mbx2.cer").write_bytes(A.der)
    (tmp_path / "mbx3.pem").write_bytes(PEM)
    (tmp_path / "mbx5.bin").write_bytes(b"no certificate")
    entries = {
        "MBX2": {ATTRIBUTE: {"file": "mbx2.cer"}},
        "EDGE1": {ATTRIBUTE: A.thumbprint.lower()},
        "mbx3": {ATTRIBUTE: {"file": "mbx3.pem"}},
        "MBX1": {ATTRIBUTE: B.thumbprint},
        "MBX4": {"readable": False},
        "MBX5": {ATTRIBUTE: {"file": "mbx5.bin"}},
        "MBX6": {ATTRIBUTE: None},
    }
    (tmp_path / "directory.yaml").write_text(yaml.safe_dump(entries))
    return tmp_path


@pytest.mark.parametrize(
    ("thumbprint", "servers"),
    [
        (A.thumbprint, ("EDGE1", "MBX2", "mbx3")),
        (B.thumbprint.lower(), ("MBX1",)),
        ("00" * 20, ()),
    ],
    ids=["three", "one", "nobody"],
)
async def test_file(folder: Path, thumbprint: str, servers: tuple[str, ...]) -> None:
    """Whatever form an entry has its certificate in, it is found by its thumbprint."""
    found = await FileDirectory(folder / "directory.yaml").servers_naming(thumbprint)

    assert found == NamedBy(servers, not_understood=("MBX4", "MBX5"))


async def test_file_as_it_is_now(folder: Path) -> None:
    """A changed entry, and a changed file that an entry names, count from the next question on."""
    directory = FileDirectory(folder / "directory.yaml")
    answers = [await directory.servers_naming(B.thumbprint)]
    (folder / "mbx2.cer").write_bytes(B.der)
    answers.append(await directory.servers_naming(B.thumbprint))
    (folder / "directory.yaml").write_text(yaml.safe_dump({"MBX9": {ATTRIBUTE: B.thumbprint}}))
    answers.append(await directory.servers_naming(B.thumbprint))

    assert [isinstance(each, NamedBy) and each.servers for each in answers] == [
        ("MBX1",),
        ("MBX1", "MBX2"),
        ("MBX9",),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), ("[1, 2]", "it is not a mapping")],
    ids=["gone", "broken"],
)
async def test_file_that_cannot_be_read(tmp_path: Path, content: str | None, reason: str) -> None:
    """A file that is missing or broken is why nobody can be found, not that there is nobody."""
    if content is not None:
        (tmp_path / "directory.yaml").write_text(content)
    warnings: list[str] = []
    found = await FileDirectory(tmp_path / "directory.yaml", on_warning=warnings.append).servers_naming(
        "00" * 20
    )

    assert isinstance(found, Unreadable)
    assert found.reason.startswith(f"directory.yaml: {reason}")
    assert len(warnings) == 1


# -- LDAP


def add_servers(slapd: Slapd, group: str, names: list[str], value: bytes) -> None:
    """Add a server object for each of *names* in a new administrative group."""
    slapd.add(group, "msExchAdminGroup")
    entry = "dn: CN={0},{1}\nobjectClass: msExchExchangeServer\ncn: {0}\n{2}:: {3}\n"
    text = base64.b64encode(value).decode()
    slapd._ldap("ldapadd", text="\n".join(entry.format(name, group, ATTRIBUTE, text) for name in names))


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        A.der,
        PEM,
        record(0x0B, b"x\0\0\0") + record(0x20, A.der),
        bytes.fromhex(A.thumbprint),
        A.thumbprint.encode(),
    ],
    ids=["DER", "PEM", "serialized", "octets", "text"],
)
async def test_ldap(slapd: Slapd, directory_of: DirectoryOf, value: bytes) -> None:
    """Every form in which a server object holds the certificate is found; other objects are not."""
    slapd.set(value, "MBX2")
    slapd.set(B.der, "MBX1")
    directory = directory_of(slapd.access())

    assert await directory.servers_naming(A.thumbprint.lower()) == NamedBy(("MBX2",))
    assert await directory.servers_naming(B.thumbprint) == NamedBy(("MBX1",))
    assert await directory.servers_naming("00" * 20) == NamedBy()


@pytest.mark.slow
async def test_ldap_as_it_is_now(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """What changed counts from the next question on; what was written through us, kept or not, at once."""
    plain, keeping = (
        directory_of(slapd.access(bind=WRITER, cache_seconds=seconds)) for seconds in (0.0, 3600.0)
    )
    answers: list[Naming] = []
    for directory in (plain, keeping):
        slapd.set(None, "MBX2")
        answers.append(await directory.servers_naming(B.thumbprint))
        slapd.set(B.der, "MBX2")
        answers.append(await directory.servers_naming(B.thumbprint))
        await directory.replace("MBX1", B.der, expected=A.der)
        answers.append(await directory.servers_naming(B.thumbprint))
        slapd.set(A.der, "MBX1")

    assert answers == [
        *(NamedBy(), NamedBy(("MBX2",)), NamedBy(("MBX1", "MBX2"))),
        *(NamedBy(), NamedBy(), NamedBy(("MBX1", "MBX2"))),
    ]


@pytest.mark.slow
async def test_ldap_keeps_nothing_that_may_change_unheard(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """With change notification, which tells of the own object alone, every question is asked anew."""
    directory = directory_of(slapd.access(cache_seconds=3600.0, change_notification=True))
    answers = [await directory.servers_naming(B.thumbprint)]
    slapd.set(B.der, "MBX2")
    answers.append(await directory.servers_naming(B.thumbprint))

    assert answers == [NamedBy(), NamedBy(("MBX2",))]


@pytest.mark.slow
async def test_ldap_values_that_name_nothing(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """A value that is not understood is said, and hides no other."""
    slapd.set(b"no certificate", "MBX2")

    assert await directory_of(slapd.access()).servers_naming(A.thumbprint) == NamedBy(("MBX1",), ("MBX2",))


@pytest.mark.slow
async def test_ldap_hidden(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """An account that may not read the attribute finds nobody."""
    directory = directory_of(slapd.access(bind=bind(BLIND, BLIND_PASSWORD)))

    assert await directory.servers_naming(A.thumbprint) == NamedBy()


@pytest.mark.slow
async def test_ldap_more_servers_than_a_page(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """The objects come page after page, and the last page counts like the first."""
    names = [f"SRV{number:03}" for number in range(listing._PAGE + 5)]
    add_servers(slapd, f"CN=Elsewhere,{GROUPS}", names, B.der)

    assert await directory_of(slapd.access()).servers_naming(B.thumbprint) == NamedBy(tuple(names))


@pytest.mark.slow
async def test_ldap_too_many_servers(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """A directory without end is not read to its end."""
    names = [f"SRV{number}" for number in range(listing.MAX_OBJECTS)]
    add_servers(slapd, f"CN=Elsewhere,{GROUPS}", names, bytes.fromhex(B.thumbprint))
    found = await directory_of(slapd.access(search_timeout=60.0)).servers_naming(B.thumbprint)

    assert found == Unreadable(
        f"{slapd.url}: more than 5000 server objects have a value, which is too many to compare"
    )


@pytest.mark.slow
async def test_ldap_questions_at_once_share_a_search(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """Sessions that ask at once are answered by one search, each about its own certificate."""
    slapd.set(B.der, "MBX2")
    directory = directory_of(slapd.access())
    thumbprints = [A.thumbprint, B.thumbprint] * 20
    answers = await asyncio.gather(*(directory.servers_naming(each) for each in thumbprints))

    assert answers == [NamedBy(("MBX1",)), NamedBy(("MBX2",))] * 20


@pytest.mark.slow
async def test_ldap_an_organization_that_was_renamed(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """The way to the objects is looked for again where it is not there any more."""
    directory = directory_of(slapd.access())
    first = await directory.servers_naming(A.thumbprint)
    slapd.rename(ORGANIZATION, "cn=Fabrikam")
    renamed = await directory.servers_naming(A.thumbprint)
    slapd._ldap("ldapdelete", "-r", f"CN=Fabrikam,{EXCHANGE}")
    gone = await directory.servers_naming(A.thumbprint)

    assert first == renamed == NamedBy(("MBX1",))
    assert isinstance(gone, Unreadable)
    assert "no such object: no organization under " in gone.reason


@pytest.mark.slow
async def test_ldap_away(slapd: Slapd, directory_of: DirectoryOf) -> None:
    """A server that hangs or is down is why nobody could be found, within the time-outs."""
    directory = directory_of(slapd.access(**SHORT))
    await directory.servers_naming(A.thumbprint)
    with slapd.hanging():
        hanging = await directory.servers_naming(A.thumbprint)
    slapd.stop()
    down = await directory.servers_naming(A.thumbprint)

    assert isinstance(hanging, Unreadable)
    assert "time-out" in hanging.reason
    assert isinstance(down, Unreadable)
    assert "connection refused" in down.reason


@pytest.mark.slow
async def test_ldap_edge(tmp_path: Path, directory_of: DirectoryOf) -> None:
    """AD LDS of an Edge Transport server holds what EdgeSync wrote of the Mailbox servers."""
    with openldap.running(tmp_path / "edge", configuration=EDGE_CONFIGURATION) as server:
        server.set(A.der, "MBX2")
        directory = directory_of(server.access(edge=True, configuration_dn=None))
        found = await directory.servers_naming(A.thumbprint)

    assert found == NamedBy(("MBX2",))


@pytest.mark.slow
async def test_active_directory(domain_controller: DomainController) -> None:
    """A domain controller answers alike."""
    domain_controller.publish(A.der, "MBX2")
    domain_controller.publish(B.der, "EDGE1")
    directory = ActiveDirectory(
        LdapAccess(
            urls=(domain_controller.url,),
            bind=LdapBind(BindMethod.SIMPLE, READER, lambda: domain_controller.password(READER)),
            ca_file=str(domain_controller.ca_file),
        )
    )
    try:
        answers = [await directory.servers_naming(each) for each in (A.thumbprint, B.thumbprint, "00" * 20)]
    finally:
        await asyncio.to_thread(directory.close)

    assert answers == [NamedBy(("MBX2",)), NamedBy(("EDGE1",)), NamedBy()]
