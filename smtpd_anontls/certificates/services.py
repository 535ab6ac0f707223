"""services.yaml: for which services each certificate of a store is enabled, and adding to that.

Exchange keeps this in the certificate store itself; services are additive, and none can be taken
away (New-ExchangeCertificate, Services).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import normalized_thumbprint
from smtpd_anontls.notation.edit import with_value, without_keys
from smtpd_anontls.notation.yaml12 import decode, load

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SERVICES_FILE = "services.yaml"
# Enable-ExchangeCertificate -Services, in the order that Get-ExchangeCertificate shows them.
SERVICES = ("IMAP", "POP", "IIS", "SMTP", "UM", "Federation", "UMCallRouter")
NONE = "None"
UNLISTED = frozenset({"SMTP"})  # What a certificate that services.yaml does not list is enabled for.

_SPELLING = {service.casefold(): service for service in (*SERVICES, NONE)}
_CHOICE = ", ".join((*SERVICES, NONE))
_HEADER = """\
# For which services each certificate of this folder is enabled: THUMBPRINT: [SMTP, IIS].
# A certificate that is not listed counts as enabled for SMTP.
"""


def known_service(name: str) -> str:
    """Return *name* as Exchange spells it; ValueError says what would do."""
    try:
        return _SPELLING[name.strip().casefold()]
    except KeyError:
        raise ValueError(f"{name!r} is no service; take {_CHOICE}") from None


def parse_services(octets: bytes) -> tuple[Mapping[str, frozenset[str]], list[str]]:
    """Return the services by thumbprint, and a clause for each mistake; a mistake spoils only its own entry."""
    services: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    try:
        listed = _mapping(decode(octets))
    except ValueError as error:
        return services, [str(error)]
    for key, value in listed.items():
        try:
            thumbprint = normalized_thumbprint(key) if isinstance(key, str) else _not_text(key)
            names = _names(value)
        except ValueError as error:
            problems.append(f"{key}: {error}" if isinstance(key, str) else str(error))
            continue
        known = set()
        for name in names:
            try:
                known.add(known_service(name))
            except ValueError as error:
                problems.append(f"{key}: {error}")
        services[thumbprint] = services.get(thumbprint, frozenset()) | (known - {NONE})
    return services, problems


def with_services(
    text: str, thumbprint: str, services: Collection[str], *, unlisted: frozenset[str]
) -> tuple[str, frozenset[str]]:
    """Return the text of services.yaml with *services* added, and all that the certificate has then.

    They are added to *unlisted* where the certificate is not listed yet.

    ValueError where the text is broken, so that an edit never buries a mistake.
    """
    listed = _mapping(text)
    key = next(
        (key for key in listed if isinstance(key, str) and _is_thumbprint(key, thumbprint)), thumbprint
    )
    current = {known_service(name) for name in _names(listed[key])} if key in listed else set(unlisted)
    result = frozenset((current | {known_service(name) for name in services}) - {NONE})
    value = [service for service in SERVICES if service in result] or [NONE]
    if not listed and not text.strip():
        text = _HEADER
    return with_value(text, [key], value), result


def without_services(text: str, thumbprint: str) -> str:
    """Return the text of services.yaml without the certificate; ValueError where the text is broken."""
    listed = _mapping(text)
    return without_keys(
        text, {key for key in listed if isinstance(key, str) and _is_thumbprint(key, thumbprint)}
    )


def _mapping(text: str) -> dict[object, object]:
    listed = load(text)
    if listed is None:
        return {}
    if not isinstance(listed, dict):
        raise ValueError("not a mapping; write THUMBPRINT: [SMTP]")  # noqa: TRY004 - content, not an argument
    return listed


def _is_thumbprint(key: str, thumbprint: str) -> bool:
    try:
        return normalized_thumbprint(key) == thumbprint
    except ValueError:
        return False


def _not_text(key: object) -> str:
    raise ValueError(f"{key!r} is not a thumbprint; it has 40 hexadecimal digits")


def _names(value: object) -> list[str]:
    """Return the names of an entry: a list, or one text with commas as Exchange shows it."""
    if isinstance(value, str):
        return [name for name in value.split(",") if name.strip()]
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    raise ValueError(f"{value!r} is not a list of services; write [SMTP] or [None]")
