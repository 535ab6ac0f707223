"""Where the configuration partition keeps the object of an Exchange server.

``CN=<server>,CN=Servers,CN=<administrative group>,CN=Administrative Groups,CN=<organization>,
CN=Microsoft Exchange,CN=Services,<configuration naming context>``; AD LDS of an Edge Transport
server keeps the same tree in a configuration partition of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.directory.ldap_library import escape_filter_chars, results
from smtpd_anontls.directory.reasons import RefusedError
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from smtpd_anontls.directory.link import Deadline, Link, Scope
    from smtpd_anontls.domain.ldap_access import LdapAccess

_EXCHANGE = "CN=Microsoft Exchange,CN=Services"


def find_server(link: Link, access: LdapAccess, server: str, deadline: Deadline) -> str:
    """Return the DN of *server*; RefusedError says which part of the way to it is missing."""
    organization = find_organization(link, access, deadline)
    found = _names(
        link,
        groups_of(organization),
        "SUBTREE",
        f"(&(objectClass=msExchExchangeServer)(cn={escape_filter_chars(server)}))",
        deadline,
    )
    if not found:
        raise no_such_object(f"no CN={server} under {organization}")
    if len(found) > 1:
        raise RefusedError(f"{len(found)} objects are called {server}: {printable('; '.join(found))}")
    return found[0]


def find_organization(link: Link, access: LdapAccess, deadline: Deadline) -> str:
    """Return the DN of the Exchange organization; RefusedError says which part of the way to it is missing."""
    configuration = access.configuration_dn or _configuration(link, access, deadline)
    return _organization(link, access, configuration, deadline)


def groups_of(organization: str) -> str:
    """Return the DN of the container below which the server objects of *organization* are."""
    return f"CN=Administrative Groups,{organization}"


def no_such_object(what: str) -> RefusedError:
    """Return the refusal for an object that is not there, or not shown."""
    return RefusedError(
        printable(f"no such object: {what}; or the account may not list it there"),
        results.RESULT_NO_SUCH_OBJECT,
    )


def _configuration(link: Link, access: LdapAccess, deadline: Deadline) -> str:
    wanted = ("configurationNamingContext", "namingContexts")
    for entry in link.search("", "BASE", "(objectClass=*)", wanted, deadline):
        attributes = {key.lower(): value for key, value in entry["raw_attributes"].items()}
        named = attributes.get("configurationnamingcontext") or []
        if not named and access.edge:
            contexts = attributes.get("namingcontexts") or []
            named = [each for each in contexts if each.upper().startswith(b"CN=CONFIGURATION,")]
        if named:
            return str(named[0], "utf-8", "replace")
    raise RefusedError("its rootDSE names no configuration naming context; set directory.configuration_dn")


def _organization(link: Link, access: LdapAccess, configuration: str, deadline: Deadline) -> str:
    base = f"{_EXCHANGE},{configuration}"
    name = "*" if access.organization is None else escape_filter_chars(access.organization)
    wanted = f"(&(objectClass=msExchOrganizationContainer)(cn={name}))"
    found = _names(link, base, "LEVEL", wanted, deadline)
    if not found:
        what = "no organization" if access.organization is None else f"no organization {access.organization}"
        raise no_such_object(f"{what} under {base}")
    if len(found) > 1:
        raise RefusedError(
            printable(f"several organizations: {'; '.join(found)}; name one in directory.organization")
        )
    return found[0]


def _names(link: Link, base: str, scope: Scope, wanted: str, deadline: Deadline) -> list[str]:
    """Return the DNs of the entries found; where the base itself is missing, say so."""
    try:
        entries = link.search(base, scope, wanted, ("1.1",), deadline)
    except RefusedError as error:
        if error.code == results.RESULT_NO_SUCH_OBJECT:
            raise no_such_object(f"no {base}") from error
        raise
    return [str(entry["dn"]) for entry in entries]
