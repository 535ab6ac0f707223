"""Two views of an SMTP endpoint side by side: what was measured there, what a configuration says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smtpd_anontls.domain.instants import rfc3339_seconds
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion
from smtpd_anontls.protocol.capabilities import ehlo_reply
from smtpd_anontls.protocol.mechanisms import offered_mechanisms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from smtpd_anontls.domain.certificate import Certificate
    from smtpd_anontls.domain.connectors import ReceiveConnector, Server
    from smtpd_anontls.domain.tls_policy import TlsPolicy
    from smtpd_anontls.selection.outcome import Selection

NONE = "none"
# Of the verbs that are advertised, an Exchange server takes the first: EHLO after TLS is that behind it.
PREFERENCE = (TlsVerb.X_ANONYMOUSTLS, TlsVerb.STARTTLS)
# Properties of a connector that decide who meets it and what for; measured from outside they are not to be seen.
_PROPERTIES = (
    "enabled", "transport_role", "bindings", "remote_ip_ranges", "auth_mechanism", "permission_groups", "fqdn",
    "tls_certificate_name", "suppress_x_anonymous_tls", "require_tls",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """One side: what there is to compare by name, in the order in which it is shown."""

    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One fact on both sides; None: that side knows nothing of the kind."""

    what: str
    first: str | None
    second: str | None

    @property
    def same(self) -> bool:
        """Whether both sides agree."""
        return self.first == self.second

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``compare --json`` prints."""
        return {"what": self.what, "a": self.first, "b": self.second, "same": self.same}


@dataclass(slots=True)
class _Facts:
    facts: dict[str, str] = field(default_factory=dict)

    def verb(self, verb: TlsVerb, certificate: Certificate | None, *, advertised: bool) -> None:
        self.facts[verb.value] = "advertised" if advertised else "not advertised"
        self.facts[f"{verb.value} certificate"] = NONE if certificate is None else certificate.thumbprint
        self.facts[f"{verb.value} Valid to"] = (
            NONE if certificate is None else rfc3339_seconds(certificate.not_after)
        )

    def versions(self, versions: Iterable[TlsVersion]) -> None:
        self.facts["TLS versions"] = ", ".join(version.value for version in versions) or NONE

    def ehlo(self, lines: Iterable[str], *, after_tls: bool = False) -> None:
        """Take the lines of an EHLO reply, the first of which is the greeting."""
        label = "EHLO after TLS" if after_tls else "EHLO"
        for position, line in enumerate(lines):
            if position == 0:
                # The rest of it has the address of whoever asks.
                self.facts[f"{label} name"] = line.split(" ", 1)[0]
                continue
            keyword, _, words = line.partition(" ")
            self.facts[f"{label} {keyword.upper()}"] = words or "offered"


def configured(
    server: Server,
    connector: ReceiveConnector,
    selections: Iterable[Selection],
    tls: TlsPolicy,
    *,
    has_keytab: bool,
    with_properties: bool = False,
) -> View:
    """Return what a session of *connector* would see; *has_keytab*: Kerberos can be answered."""
    by_verb = {selection.verb: selection for selection in selections}
    offered = [verb for verb in PREFERENCE if by_verb[verb].advertised]
    facts = _Facts()
    if with_properties:
        facts.facts |= {name: _shown(getattr(connector, name)) for name in _PROPERTIES}
    for verb in PREFERENCE:
        certificate = by_verb[verb].certificate
        facts.verb(verb, certificate, advertised=certificate is not None)
    facts.versions(
        version for version in TlsVersion if offered and tls.minimum.rank <= version.rank <= tls.maximum.rank
    )
    stages: list[TlsVerb | None] = [None, *offered[:1]]
    for secured_by in stages:
        reply = ehlo_reply(
            connector,
            fqdn=server.fqdn_of(connector),
            peer="",
            offered=offered,
            secured_by=secured_by,
            mechanisms=offered_mechanisms(
                connector, secured_by=secured_by, has_keytab=has_keytab, observes=False
            ),
        )
        facts.ehlo((line[4:] for line in reply.lines()), after_tls=secured_by is not None)
    return View(facts.facts)


def measured(
    *,
    ehlo: Sequence[str],
    ehlo_after_tls: Sequence[str],
    certificates: Mapping[TlsVerb, Certificate | None],
    versions: Iterable[TlsVersion],
) -> View:
    """Return what was seen of a server.

    *ehlo* and *ehlo_after_tls* are the lines of the replies without their codes, *certificates* has the
    verbs that are advertised, None where no handshake came to its certificate; *versions* are those that
    it speaks.
    """
    facts = _Facts()
    for verb in PREFERENCE:
        facts.verb(verb, certificates.get(verb), advertised=verb in certificates)
    facts.versions(versions)
    facts.ehlo(ehlo)
    facts.ehlo(ehlo_after_tls, after_tls=True)
    return View(facts.facts)


def compare(first: View, second: View) -> list[Row]:
    """Return the facts of both, in the order of *first*, then what *second* alone has."""
    names = dict.fromkeys((*first.facts, *second.facts))
    return [Row(name, first.facts.get(name), second.facts.get(name)) for name in names]


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(sorted(map(str, value))) or NONE
    return NONE if value is None else str(value)
