"""An OpenLDAP server with the accounts and groups of a domain, which follows no chain of groups itself.

Names of classes and attributes are Active Directory's, with their OIDs where those are public.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trustme

from smtpd_anontls.directory import membership
from tests import slapd as openldap
from tests.slapd import (
    ADMINISTRATOR,
    ADMINISTRATOR_PASSWORD,
    BLIND,
    BLIND_PASSWORD,
    CONFIGURATION,
    READER_PASSWORD,
    SUFFIX,
    Slapd,
    free_port,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXCHANGE_GROUPS = f"OU=Microsoft Exchange Security Groups,{SUFFIX}"

_SCHEMA = """\
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.750 NAME 'groupType' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.2.16 NAME 'nCName' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.87 NAME 'nETBIOSName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.32473.1.1.2 NAME 'defaultNamingContext' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.32473.1.1.3 NAME 'rootDomainNamingContext' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.32473.1.1.4 NAME 'configurationNamingContext' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP top STRUCTURAL MUST cn MAY sAMAccountName )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST cn MAY ( member $ sAMAccountName $ groupType ) )
objectclass ( 1.2.840.113556.1.3.11 NAME 'crossRef' SUP top STRUCTURAL MUST ( cn $ nCName ) MAY nETBIOSName )
objectclass ( 1.2.840.113556.1.3.23 NAME 'container' SUP top STRUCTURAL MUST cn )
"""
_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include {base}/accounts.schema
modulepath /usr/lib/ldap
moduleload back_mdb
{more}
pidfile {base}/slapd.pid
TLSCertificateFile {base}/certificate.pem
TLSCertificateKeyFile {base}/key.pem
sizelimit unlimited
access to dn.base="" by * read
database mdb
suffix "{suffix}"
directory {base}/data
maxsize 67108864
dbnosync
rootdn "{administrator}"
rootpw {password}
index sAMAccountName,member eq
access to attrs=userPassword by anonymous auth by * none
access to attrs=member by dn.exact="{reader}" read by * none
access to * by users read by * none
"""
PEOPLE, ELSEWHERE = f"OU=people,{SUFFIX}", f"OU=elsewhere,{SUFFIX}"
_SECURITY, _DISTRIBUTION = -2147483640, 8


def _entry(dn: str, object_class: str, *values: str) -> str:
    return "\n".join([f"dn: {dn}", f"objectClass: {object_class}", *values]) + "\n"


def _person(name: str, called: str) -> str:
    return _entry(f"CN={name},{PEOPLE}", "user", f"cn: {name}", f"sAMAccountName: {called}")


def _group(dn: str, called: str, *members: str, kind: int | None = _SECURITY) -> str:
    kinds = () if kind is None else (f"groupType: {kind}",)
    held = (f"member: {each}" for each in members)
    return _entry(dn, "group", f"cn: {dn[3:].partition(',')[0]}", f"sAMAccountName: {called}", *kinds, *held)


def _chain(start: str, name: str, length: int) -> list[str]:
    """Return groups of which each holds the one before, and the first holds *start*."""
    dns = [f"CN={name}{index},{ELSEWHERE}" for index in range(length)]
    return [_group(dn, f"{name}{index}", dns[index - 1] if index else start) for index, dn in enumerate(dns)]


def _entries() -> Iterator[str]:
    person = {
        name: f"CN={name},{PEOPLE}"
        for name in ("MBX1", "MBX2", "legacy", "loop", "news", "near", "far", "busy")
    }
    yield _entry(SUFFIX, "dcObject", "objectClass: organization", "dc: contoso", "o: Contoso")
    for user, password in ((openldap.READER, READER_PASSWORD), (BLIND, BLIND_PASSWORD)):
        yield _entry(
            user, "person", f"cn: {user[3:].partition(',')[0]}", "sn: x", f"userPassword: {password}"
        )
    yield _entry(CONFIGURATION, "container", "cn: Configuration")
    yield _entry(f"CN=Partitions,{CONFIGURATION}", "container", "cn: Partitions")
    yield _entry(
        f"CN=CORP,CN=Partitions,{CONFIGURATION}",
        "crossRef",
        "cn: CORP",
        f"nCName: {SUFFIX}",
        "nETBIOSName: CORP",
    )
    for unit in (PEOPLE, ELSEWHERE, EXCHANGE_GROUPS):
        yield _entry(unit, "organizationalUnit", f"ou: {unit[3:].partition(',')[0]}")
    for called in ("alice", "svc-reader", "legacy", "loop", "news", "near", "far", "busy"):
        yield _person(called, called)
    yield from (_person("MBX1", "MBX1$"), _person("MBX2", "MBX2$"))
    yield from (_person("twin (1)", "twin"), _person("twin (2)", "twin"))
    nested = f"CN=Exchange (nested)\\, *,{ELSEWHERE}"
    loops = [f"CN=loop{index},{ELSEWHERE}" for index in range(2)]
    yield f"dn: {nested}\nobjectClass: group\ncn: Exchange (nested), *\nsAMAccountName: x\nmember: {person['MBX2']}\n"
    yield _group(loops[0], "loop0", loops[1], person["loop"], kind=None)
    yield _group(loops[1], "loop1", loops[0], kind=None)
    yield from _chain(person["near"], "near", 20)
    yield from _chain(person["far"], "far", membership.MAX_LEVELS + 1)
    yield from (
        _group(f"CN=busy{index},{ELSEWHERE}", f"busy{index}", person["busy"])
        for index in range(membership.MAX_GROUPS)
    )
    yield _group(
        f"CN=Exchange Servers,{EXCHANGE_GROUPS}",
        "Exchange Servers",
        person["MBX1"],
        nested,
        person["legacy"],
        f"CN=near19,{ELSEWHERE}",
    )
    yield _group(f"CN=ExchangeLegacyInterop,{EXCHANGE_GROUPS}", "exchangelegacyinterop", person["legacy"])
    # Called like the group by its CN alone, and by its account name, but for distribution.
    yield _group(f"CN=Exchange Servers,{ELSEWHERE}", "not it", person["news"])
    yield _group(f"CN=news,{ELSEWHERE}", "Exchange Servers", person["news"], kind=_DISTRIBUTION)


@contextmanager
def running(base: Path, *more: str) -> Iterator[Slapd]:
    """Run a server with the accounts of a domain, its configuration beginning with *more*."""
    (base / "data").mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(base / "authority.pem")
    certificate.private_key_pem.write_to_path(base / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(base / "certificate.pem")
    (base / "accounts.schema").write_text(_SCHEMA)
    (base / "slapd.conf").write_text(
        _CONFIGURATION.format(
            more="\n".join(more),
            base=base,
            suffix=SUFFIX,
            administrator=ADMINISTRATOR,
            password=ADMINISTRATOR_PASSWORD,
            reader=openldap.READER,
        )
    )
    added = subprocess.run(
        ["/usr/sbin/slapadd", "-q", "-f", base / "slapd.conf"],
        input="\n".join(_entries()), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    server = Slapd(base, free_port(), free_port(), authority)
    server.start()
    try:
        yield server
    finally:
        server.stop()
