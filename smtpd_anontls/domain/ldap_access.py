"""How Active Directory (or AD LDS) is reached: servers, bind, TLS and patience.

Active Directory refuses a simple bind without TLS or LDAP signing where it is hardened, and the
password would cross the network as it is; so such a bind has to be allowed in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

# Reads a password where it stands; ValueError says in a sentence why it cannot.
PasswordSource = Callable[[], str]

_SCHEMES = ("ldap", "ldaps")


class BindMethod(Enum):
    """How a client makes itself known (RFC 4513 section 5)."""

    SIMPLE = "simple"
    GSSAPI = "gssapi"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class LdapBind:
    """Who reads the directory; where the password stands is kept, the password is not."""

    method: BindMethod = BindMethod.SIMPLE
    user: str | None = None  # A UPN or a DN; of GSSAPI a principal.
    password: PasswordSource | None = field(default=None, repr=False)
    allow_clear: bool = False  # Whether a simple bind may go without TLS.


@dataclass(frozen=True, slots=True)
class LdapAccess:
    """Everything that is needed to ask; equal where the same would be asked in the same way."""

    urls: tuple[str, ...]  # In the order of preference, as ldap_url returns them.
    bind: LdapBind
    ca_file: str | None = None  # None: the authorities that the machine trusts.
    start_tls: bool = False
    configuration_dn: str | None = None  # None: what rootDSE names.
    organization: str | None = None  # None: the only one there is.
    edge: bool = False  # AD LDS beside the forest, on an Edge Transport server.
    connect_timeout: float = 5.0
    search_timeout: float = 5.0
    cache_seconds: float = 0.0  # 0: every session asks.
    change_notification: bool = False

    def mistakes(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield each key that does not go with the others, and what would do."""
        bind = self.bind
        secured = [url for url in self.urls if url.startswith("ldaps:")]
        if not self.urls:
            yield ("urls",), "is missing; write one such as ldaps://dc1.contoso.test"
        if self.start_tls and secured:
            yield (
                ("start_tls",),
                f"does not go with {secured[0]}, which begins with TLS; write ldap:// or false",
            )
        if bind.method is BindMethod.SIMPLE:
            if bind.user is None:
                yield ("bind", "user"), "is missing; write a UPN such as reader@contoso.test, or a DN"
            if bind.password is None:
                yield ("bind",), "lacks the password; write password_file or password_env"
            clear = [url for url in self.urls if url not in secured and not self.start_tls]
            if clear and not bind.allow_clear:
                wrong = f"a simple bind over {clear[0]} would send the password in clear"
                yield ("urls",), f"{wrong}; write ldaps://, start_tls: true, or bind.allow_clear: true"
        elif bind.password is not None:
            yield ("bind",), f"the method {bind.method.value} takes no password; remove it"
        if bind.method is BindMethod.ANONYMOUS and bind.user is not None:
            yield ("bind", "user"), "the method anonymous takes no user; remove it"


def ldap_url(text: str) -> str:
    """Return ``ldap://host[:port]`` or ``ldaps://host[:port]`` in lower case; ValueError says what would do."""
    wanted = "write ldaps://dc1.contoso.test or ldap://dc1.contoso.test:389"
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{text!r} is not an LDAP URL; {wanted}") from None
    if "@" in parts.netloc:
        # What stands before it may be a password, so it is not repeated.
        raise ValueError(f"an LDAP URL carries no user here, bind does; {wanted}")
    if parts.scheme not in _SCHEMES or not host or any(character.isspace() for character in host):
        raise ValueError(f"{text!r} is not an LDAP URL; {wanted}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} says more than the server; {wanted}")
    shown = f"[{host}]" if ":" in host else host
    if port == 0:
        raise ValueError(f"{text!r} has port 0, on which nothing answers; {wanted}")
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")
