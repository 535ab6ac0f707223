"""exported.yaml: what the export of a server says of the certificates of a store, whose keys stay there.

``import`` writes it.  A certificate that it lists counts as having its private key on that server, unless
it says ``private_key: none``, or the folder has the key after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.domain.certificate import Exported, PrivateKey, normalized_thumbprint
from smtpd_anontls.domain.flags import enum_from_name
from smtpd_anontls.notation.write import one_line
from smtpd_anontls.notation.yaml12 import decode, load

if TYPE_CHECKING:
    from collections.abc import Mapping

EXPORTED_FILE = "exported.yaml"

_KEY, _STATUS = "private_key", "status"
_HEADER = """\
# What the export of the server says of each certificate of this folder; the private keys stay on the server.
# private_key: exportable, present, none, or untold, which counts as present and is called assumed in traces.
"""


def exported_text(certificates: Mapping[str, Exported]) -> str:
    """Return the file for certificates by thumbprint."""
    lines = [
        f"{thumbprint}: {one_line({_KEY: each.private_key.value, _STATUS: each.status})}\n"
        for thumbprint, each in certificates.items()
    ]
    return _HEADER + "".join(lines)


def parse_exported(octets: bytes) -> tuple[Mapping[str, Exported], list[str]]:
    """Return what is said by thumbprint, and a clause for each mistake; a mistake spoils only its own entry."""
    known: dict[str, Exported] = {}
    problems: list[str] = []
    try:
        listed = load(decode(octets))
    except ValueError as error:
        return known, [str(error)]
    if not isinstance(listed, dict):
        return known, [] if listed is None else ["not a mapping; write THUMBPRINT: {private_key: present}"]
    for key, value in listed.items():
        try:
            known[normalized_thumbprint(str(key))] = _entry(value)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return known, problems


def _entry(value: object) -> Exported:
    if not isinstance(value, dict) or (strange := set(value) - {_KEY, _STATUS}):
        wrong = repr(min(map(str, strange))) if isinstance(value, dict) else repr(value)
        raise ValueError(f"{wrong} is no entry; write {{private_key: present, status: Valid}}")
    status = value.get(_STATUS)
    key = enum_from_name(PrivateKey, str(value.get(_KEY, PrivateKey.UNTOLD.value)))
    return Exported(key, None if status is None else str(status))
