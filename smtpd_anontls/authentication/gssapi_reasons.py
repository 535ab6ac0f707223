"""Why GSSAPI refused a token, told from what MIT Kerberos reports.

Source: RFC 2743 section 1.2.1.1 (major status), RFC 4120 section 7.5.9 and MIT's krb5.h (minor status).
"""

from __future__ import annotations

import errno
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

from smtpd_anontls.domain.authentication import FailureReason
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.protocol.exchange_auth_blob import describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gssapi.raw import GSSError

_LONGEST_SENTENCE = 200
_UNSIGNED = 1 << 32
_ERROR_TABLE = -1765328384  # ERROR_TABLE_BASE_krb5; the codes of RFC 4120 count from there.
_TABLE_SIZE = 256

_WRONG_KEY = (
    *(_ERROR_TABLE + code for code in (31, 35, 36, 41, 44, 45)),  # BAD_INTEGRITY … NOKEY
    -1765328240,  # KRB5KRB_AP_WRONG_PRINC
    -1765328203,  # KRB5_KT_NOTFOUND
    -1765328154,  # KRB5_KT_KVNONOTFOUND
)
_MALFORMED = (
    *(_ERROR_TABLE + code for code in (39, 40)),  # BADVERSION, MSG_TYPE
    -1765328246,  # KRB5_BADMSGTYPE
    *range(1859794432, 1859794446),  # ASN1_BAD_TIMEFORMAT … ASN1_OMITTED
)
_DISK = (
    *range(-1765328220, -1765328211),  # KRB5_RC_IO … KRB5_RC_IO_SPACE
    -1765328200,  # KRB5_KT_IOERR
    *(errno.EPERM, errno.ENOENT, errno.EIO, errno.EACCES, errno.ENOTDIR, errno.EISDIR),
    *(errno.ENFILE, errno.EMFILE, errno.ENOSPC, errno.EROFS, errno.EDQUOT),
)
_REASONS: Mapping[int, tuple[FailureReason, str]] = MappingProxyType(
    {
        _ERROR_TABLE + 32: (FailureReason.TICKET_EXPIRED, "the ticket has expired"),
        _ERROR_TABLE + 33: (
            FailureReason.CLOCK_SKEW,
            "the ticket is not valid yet: this clock and the KDC's differ",
        ),
        _ERROR_TABLE + 34: (FailureReason.REPLAY, "the token has been used before"),
        _ERROR_TABLE + 37: (
            FailureReason.CLOCK_SKEW,
            "the client's clock and this one differ by more than Kerberos allows, which is five minutes",
        ),
        **dict.fromkeys(
            _WRONG_KEY, (FailureReason.WRONG_KEY, "the ticket is for another key than the keytab holds")
        ),
        **dict.fromkeys(
            _MALFORMED, (FailureReason.MALFORMED, "what came cannot be read as a token of Kerberos")
        ),
        **dict.fromkeys(
            _DISK,
            (
                FailureReason.NOT_AVAILABLE,
                "Kerberos cannot use its replay cache; let KRB5RCACHEDIR name a folder that can be written",
            ),
        ),
    }
)


class RefusedError(Exception):
    """The exchange fails; *reason* and *detail* say why."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refusal(error: GSSError, token: bytes) -> RefusedError:
    """Return what *error*, raised in this thread for the peer's *token*, means."""
    from gssapi import exceptions  # noqa: PLC0415 - only with the extra

    if isinstance(error, exceptions.BadChannelBindingsError):
        detail = (
            "the client bound its logon to another certificate than this session's, or to none though it knows "
            "how to: it may be relayed"
        )
        return RefusedError(FailureReason.WRONG_BINDING, detail)
    said, code = library_sentence(error), _code(error)
    if code is None:
        # A broken frame has no number of Kerberos's.
        return RefusedError(
            FailureReason.MALFORMED, f"what came cannot be read as a token of Kerberos: {describe(token)}"
        )
    reason, detail = _REASONS.get(code, (FailureReason.UNKNOWN, "Kerberos refused the token"))
    return RefusedError(reason, f"{detail} ({said})")


def library_sentence(error: GSSError) -> str:
    """Return the library's own words for *error*: a line, in which names that the peer sent are escaped."""
    minor = _text(error.min_code) if error.min_code else None
    text = " ".join((minor or _text(error.maj_code, is_major=True) or "without a reason").split())
    text = printable(text)
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:_LONGEST_SENTENCE]}…"


def _code(error: GSSError) -> int | None:
    """Return the number that Kerberos gave the failure; None where it gave none."""
    codes = chain(_REASONS, range(_ERROR_TABLE + 1, _ERROR_TABLE + _TABLE_SIZE))
    known = {code % _UNSIGNED: code for code in codes}
    number: int = error.min_code
    if number in known:
        return known[number]
    # MIT's library gives a number to the mechanism that used it first.  A failure of Kerberos inside
    # Negotiate was Kerberos's first, so Negotiate reports it by a number made up for it, and with the
    # same sentence.
    if not number or (text := _text(number)) is None:
        return None
    return next((code for other, code in known.items() if _text(other) == text), None)


def _text(code: int, *, is_major: bool = False) -> str | None:
    """Return the library's sentence for *code*; None where it has not used that number yet."""
    from gssapi.raw import misc  # noqa: PLC0415 - only with the extra

    try:
        shown = misc._display_status(code, is_major)  # noqa: SLF001 - GSSError has no other access by number
    except ValueError:
        return None
    message: bytes = shown[0]
    return message.decode("utf-8", "backslashreplace")
