"""All server objects of an organization, read from its directory.

The attribute is not indexed, and a certificate may stand in it in several forms, so no filter finds
one: what every server object holds is read, and compared by thumbprint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smtpd_anontls.directory.naming import Register
from smtpd_anontls.directory.reasons import RefusedError
from smtpd_anontls.domain.directory_value import Answer, Unreadable, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smtpd_anontls.directory.link import Deadline, Link

# The largest organizations have hundreds of servers.
MAX_OBJECTS = 5000
_PAGE = 250


def read_register(link: Link, base: str, attribute: str, deadline: Deadline) -> Register:
    """Read the server objects below *base* that have the *attribute*, page after page."""
    return Register.of(_answers(link, base, attribute, deadline))


def _answers(link: Link, base: str, attribute: str, deadline: Deadline) -> Iterator[tuple[str, Answer]]:
    wanted = f"(&(objectClass=msExchExchangeServer)({attribute}=*))"
    count = 0
    for page in link.pages(base, wanted, ("cn", attribute), _PAGE, deadline):
        count += len(page)
        if count > MAX_OBJECTS:
            raise RefusedError(
                f"more than {MAX_OBJECTS} server objects have a value, which is too many to compare"
            )
        for entry in page:
            found = {key.lower(): values for key, values in entry["raw_attributes"].items()}
            names = found.get("cn") or [str(entry["dn"]).encode()]
            yield str(names[0], "utf-8", "replace"), _answer(found.get(attribute.lower(), []))


def _answer(values: list[bytes]) -> Answer:
    if len(values) != 1:
        return Unreadable(f"its value was not understood: {len(values)} values, where one is allowed")
    return decode(bytes(values[0]))
