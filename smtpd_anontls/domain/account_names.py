r"""Names of accounts: ``CONTOSO\alice``, ``alice@contoso.test``, ``alice``.

A domain has a NetBIOS name (CONTOSO) and a DNS name (contoso.test).  Which two belong together only a
directory knows, and nobody has to ask it here: the NetBIOS name is taken for the first label of the DNS
name, in upper case, which it is unless somebody chose otherwise.  So ``CONTOSO\alice``,
``contoso.test\alice`` and ``alice@contoso.test`` are one account.
"""

from __future__ import annotations

from dataclasses import dataclass

from smtpd_anontls.domain.printable import printable

_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class AccountName:
    """An account; its domain is a NetBIOS name in upper case, or None where none was named."""

    domain: str | None
    user: str  # As it was written; may be empty, where a peer named nobody.

    @classmethod
    def parse(cls, text: str, domain: str = "") -> AccountName:
        r"""Read any of the three forms; *domain* counts for a name that does not carry one itself.

        NTLM sends domain and user apart, and with a UPN as the user some clients send the domain of the
        server's challenge beside it, which says nothing about the user.
        """
        if "\\" in text:
            domain, _, user = text.partition("\\")
        elif "@" in text:
            user, _, domain = text.rpartition("@")
        else:
            user = text
        return cls(netbios_name(domain) or None, user)

    @classmethod
    def of_principal(cls, principal: str, *, netbios_domain: str | None = None) -> AccountName:
        r"""Read a Kerberos principal: ``MBX2$@CONTOSO.TEST`` is ``CONTOSO\MBX2$``.

        *netbios_domain* is the realm's NetBIOS name where that is not its first label.
        """
        user, _, realm = principal.rpartition("@") if "@" in principal else (principal, "", "")
        return cls((netbios_domain or netbios_name(realm)).upper() or None, user)

    def __str__(self) -> str:
        return self.user if self.domain is None else f"{self.domain}\\{self.user}"

    @property
    def shown(self) -> str:
        """The name as a sentence quotes it: a peer's control characters escaped, and not longer than is read."""
        text = str(self)
        return printable(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")

    def is_same(self, other: AccountName) -> bool:
        """Whether both name the same account; case does not matter, as in Windows."""
        return str(self).casefold() == str(other).casefold()

    def has_user_of(self, other: AccountName) -> bool:
        """Whether both have the same user name, whatever their domains."""
        return self.user.casefold() == other.user.casefold()

    def serves(self, asked: AccountName) -> bool:
        """Whether an entry of this name is for a client that calls itself *asked*.

        With a domain it is for clients that name that domain, or none; without one it is for all.
        """
        return self.has_user_of(asked) and (
            None in {self.domain, asked.domain} or self.domain == asked.domain
        )


def netbios_name(domain: str) -> str:
    """Return the NetBIOS name that is taken for *domain*'s: the first label, in upper case."""
    return domain.partition(".")[0].upper()
