r"""Which of Exchange's groups hold an account: nested, as far as the directory shows it.

The account ``CONTOSO\MBX2$`` is the one with that sAMAccountName in the default naming context, provided
that CONTOSO is this domain; accounts of other domains of the forest are not looked for.  The groups are
looked for by name below the forest's root domain, where Exchange's set-up makes them.  Active Directory
follows ``member`` from group to group itself ([MS-ADTS] 3.1.1.3.4.4.3, LDAP_MATCHING_RULE_TRANSITIVE_EVAL);
of another server, which would find nobody by a rule that it does not know, the groups are asked for level
by level.

``member`` is what ``memberOf`` shows from the account's side, but every user may read it by default,
memberOf of a user only where "Pre-Windows 2000 Compatible Access" has its default members.  Unlike in a
token, a distribution group between the two counts, and a primary group does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smtpd_anontls.directory.finding import no_such_object
from smtpd_anontls.directory.ldap_library import escape_filter_chars, results
from smtpd_anontls.directory.reasons import RefusedError
from smtpd_anontls.domain.membership import PRINCIPALS, Groups, groups_of_account
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from smtpd_anontls.directory.link import Deadline, Link
    from smtpd_anontls.domain.account_names import AccountName
    from smtpd_anontls.domain.ldap_access import LdapAccess

# [MS-ADTS] 3.1.1.3.4.3.1: the server is Active Directory.
_ACTIVE_DIRECTORY = "1.2.840.113556.1.4.800"
_IN_CHAIN = "1.2.840.113556.1.4.1941"

# rangeUpper of sAMAccountName.
MAX_NAME = 256
# A walk ends at the first of them, with an answer that grants nothing.
MAX_GROUPS = 1000
MAX_LEVELS = 32
_MEMBERS_ASKED = 50  # In one search.
_PAGE = 250

_CALLED_SO = "".join(f"(sAMAccountName={escape_filter_chars(name)})" for name in PRINCIPALS)
_OF_EXCHANGE = f"(objectClass=group)(|{_CALLED_SO})"
_SHOWN = ("sAMAccountName", "groupType")
_PRINCIPALS = {name.casefold(): name for name in PRINCIPALS}


@dataclass(frozen=True, slots=True)
class _Domain:
    """What a directory server says of the domain that it serves."""

    accounts: str  # The DN below which they are.
    groups: str  # The DN below which Exchange's groups are.
    names: frozenset[str]  # NetBIOS names that mean this domain, in upper case.
    follows_chains: bool


class Accounts:
    """The accounts of the domain that the directory servers serve."""

    def __init__(self, access: LdapAccess) -> None:
        self._access = access
        self._domains: dict[str, _Domain] = {}  # By URL, until one is not as it was any more.

    def membership(self, link: Link, account: AccountName, deadline: Deadline) -> Groups:
        """Return the permission groups of *account*; none, and why, where there is no such account."""
        domain = self._domains.get(link.url)
        if domain is None:
            domain = self._domains[link.url] = _domain(link, self._access, deadline)
        try:
            return _membership(link, domain, account, deadline)
        except RefusedError as error:
            if error.code == results.RESULT_NO_SUCH_OBJECT:
                self._domains.pop(link.url, None)
            raise


def can_be_asked_for(account: AccountName) -> bool:
    """Whether an account can be called so; what a peer sends may be longer, or no text at all."""
    # What cannot be encoded holds half a surrogate pair: octets of a peer that were no UTF-8.
    return 0 < len(account.user) <= MAX_NAME and not any(
        "\ud800" <= each <= "\udfff" for each in account.user
    )


def _domain(link: Link, access: LdapAccess, deadline: Deadline) -> _Domain:
    wanted = (
        "defaultNamingContext",
        "rootDomainNamingContext",
        "configurationNamingContext",
        "supportedCapabilities",
    )
    root: Mapping[str, list[str]] = {}
    for entry in link.search("", "BASE", "(objectClass=*)", wanted, deadline):
        root = _texts(entry)
    configuration = access.configuration_dn or _first(root, "configurationNamingContext") or ""
    # Beside Active Directory no rootDSE says so; there the configuration stands below the domain.
    accounts = _first(root, "defaultNamingContext") or configuration.partition(",")[2]
    if not accounts:
        raise RefusedError("its rootDSE names no default naming context, so it has no accounts")
    label = accounts.partition(",")[0].partition("=")[2]
    return _Domain(
        accounts,
        _first(root, "rootDomainNamingContext") or accounts,
        # The first label is what a Kerberos realm is shortened to (domain/account_names.py).
        frozenset(name.upper() for name in (label, *_netbios_names(link, configuration, accounts, deadline))),
        _ACTIVE_DIRECTORY in root.get("supportedcapabilities", ()),
    )


def _netbios_names(link: Link, configuration: str, accounts: str, deadline: Deadline) -> list[str]:
    """Return what the forest calls the domain; nothing where it keeps no record of its domains."""
    wanted = f"(&(objectClass=crossRef)(nCName={escape_filter_chars(accounts)}))"
    try:
        entries = link.search(f"CN=Partitions,{configuration}", "LEVEL", wanted, ("nETBIOSName",), deadline)
    except RefusedError as error:
        if error.code == results.RESULT_NO_SUCH_OBJECT:
            return []
        raise
    return [name for entry in entries for name in _texts(entry).get("netbiosname", ())]


def _membership(link: Link, domain: _Domain, account: AccountName, deadline: Deadline) -> Groups:
    if account.domain is not None and account.domain not in domain.names:
        served = " or ".join(sorted(domain.names))
        return Groups(
            (), f"{printable(account.domain)} is not the domain whose accounts the directory holds ({served})"
        )
    wanted = f"(&(objectClass=user)(sAMAccountName={escape_filter_chars(account.user)}))"
    entries = _search(link, domain.accounts, wanted, ("sAMAccountName",), deadline)
    # Servers compare more loosely than by case: spaces, accents and widths of letters make no difference to them.
    called = [entry for entry in entries if account.user.casefold() in _casefolded(entry, "samaccountname")]
    if not called:
        return Groups((), f"there is no such account below {domain.accounts}, or the reader may not list it")
    if len(called) > 1:
        names = "; ".join(str(entry["dn"]) for entry in called[:3])
        return Groups((), printable(f"{len(called)} accounts are called so: {names}"))
    name = str(called[0]["dn"])
    existing = set(_principals(_search(link, domain.groups, f"(&{_OF_EXCHANGE})", _SHOWN, deadline)))
    held: set[str] = set()
    if existing:
        held = (_by_chain if domain.follows_chains else _by_walk)(link, domain, name, deadline)
    return groups_of_account(held, existing)


def _by_chain(link: Link, domain: _Domain, account: str, deadline: Deadline) -> set[str]:
    wanted = f"(&{_OF_EXCHANGE}(member:{_IN_CHAIN}:={escape_filter_chars(account)}))"
    return set(_principals(_search(link, domain.groups, wanted, _SHOWN, deadline)))


def _by_walk(link: Link, domain: _Domain, account: str, deadline: Deadline) -> set[str]:
    held: set[str] = set()
    seen, level = {account.casefold()}, [account]
    for _ in range(MAX_LEVELS):
        above: list[str] = []
        for entry in _holding(link, domain, level, deadline):
            name = str(entry["dn"])
            if name.casefold() in seen:  # Groups may hold each other.
                continue
            seen.add(name.casefold())
            if len(seen) > MAX_GROUPS:
                raise RefusedError(f"more than {MAX_GROUPS} groups hold it, which is too many to follow")
            above.append(name)
            held.update(_principals([entry]))
        if not above or len(held) == len(PRINCIPALS):
            return held
        level = above
    raise RefusedError(f"its groups are nested more than {MAX_LEVELS} deep, which is too far to follow")


def _search(
    link: Link, base: str, wanted: str, attributes: Sequence[str], deadline: Deadline
) -> list[Mapping[str, Any]]:
    """Return the entries found below *base*; where the server does not hold it, say so."""
    try:
        return link.search(base, "SUBTREE", wanted, attributes, deadline)
    except RefusedError as error:
        if error.code == results.RESULT_NO_SUCH_OBJECT:
            raise no_such_object(f"no {base}") from error
        if error.code == results.RESULT_REFERRAL:
            raise RefusedError(
                f"it does not hold {base}; name a domain controller of that domain, "
                "or the accounts in authentication.identities",
                error.code,
            ) from error
        raise


def _holding(
    link: Link, domain: _Domain, members: Sequence[str], deadline: Deadline
) -> Iterator[Mapping[str, Any]]:
    """Yield the groups that hold one of *members* themselves."""
    for start in range(0, len(members), _MEMBERS_ASKED):
        part = members[start : start + _MEMBERS_ASKED]
        wanted = (
            f"(&(objectClass=group)(|{''.join(f'(member={escape_filter_chars(each)})' for each in part)}))"
        )
        for page in link.pages(domain.groups, wanted, _SHOWN, _PAGE, deadline):
            yield from page


def _principals(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the names of those that are security groups of Exchange."""
    for entry in entries:
        kind = _first(_texts(entry), "groupType")
        # [MS-ADTS] 2.2.12: the highest bit makes a security group, and so the number negative;
        # a distribution group is in nobody's token.
        if kind is None or kind.startswith("-"):
            yield from (
                _PRINCIPALS[name] for name in _casefolded(entry, "samaccountname") if name in _PRINCIPALS
            )


def _texts(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        key.lower(): [str(value, "utf-8", "replace") for value in values]
        for key, values in entry["raw_attributes"].items()
    }


def _first(texts: Mapping[str, list[str]], attribute: str) -> str | None:
    return next(iter(texts.get(attribute.lower(), ())), None)


def _casefolded(entry: Mapping[str, Any], attribute: str) -> list[str]:
    return [text.casefold() for text in _texts(entry).get(attribute, ())]
