"""Why a directory server did not answer, or refused to: clauses that an administrator can act on.

Sources: RFC 4511 appendix A (result codes); the sub-codes that Active Directory writes behind
``data`` in the message of a refused bind.
"""

from __future__ import annotations

import re
import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from smtpd_anontls.directory.ldap_library import exceptions, results
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATA = re.compile(r"\bdata ([0-9a-f]{3})\b")
_BIND_DATA: Mapping[str, str] = MappingProxyType(
    {
        "525": "there is no such user",
        "52e": "the password is wrong, or there is no such user",
        "530": "it may not log on at this time",
        "531": "it may not log on from this machine",
        "532": "its password has expired",
        "533": "the account is disabled",
        "701": "the account has expired",
        "773": "its password must be changed first",
        "775": "the account is locked out",
    }
)
_CODES: Mapping[int, str] = MappingProxyType(
    {
        results.RESULT_OPERATIONS_ERROR: "it answers only after a bind; set directory.bind",
        results.RESULT_STRONGER_AUTH_REQUIRED: "it demands TLS for this bind; write ldaps:// or start_tls: true",
        results.RESULT_CONFIDENTIALITY_REQUIRED: "it demands TLS; write ldaps:// or start_tls: true",
        results.RESULT_AUTH_METHOD_NOT_SUPPORTED: "it does not know this method to bind; try another one",
        results.RESULT_INAPPROPRIATE_AUTHENTICATION: "it does not take this method to bind; try another one",
        results.RESULT_INSUFFICIENT_ACCESS_RIGHTS: "access refused; give the account the right to it",
        results.RESULT_REFERRAL: "it refers to another server; name a domain controller of this forest",
        results.RESULT_UNAVAILABLE_CRITICAL_EXTENSION: "it does not know the control",
        results.RESULT_UNWILLING_TO_PERFORM: "it is unwilling to perform this",
        results.RESULT_BUSY: "it is busy",
        results.RESULT_UNAVAILABLE: "it is unavailable",
        results.RESULT_TIME_LIMIT_EXCEEDED: "its own time limit was exceeded",
    }
)
# What says nothing about the question: another server may answer it.
_OF_THE_SERVER = frozenset(
    {
        results.RESULT_BUSY,
        results.RESULT_UNAVAILABLE,
        results.RESULT_TIME_LIMIT_EXCEEDED,
        results.RESULT_OTHER,
    }
)

# X509_V_ERR_ codes of OpenSSL.
_OTHER_NAME = frozenset({62, 64})
_EXPIRED = 10
_NOT_YET_VALID = 9


class UnavailableError(Exception):
    """This server does not serve now; another may.  The text is a clause."""


class RefusedError(Exception):
    """The directory answered, and no other server would answer differently.  The text is a clause."""

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason)
        self.code = code


def of_result(result: Mapping[str, Any]) -> UnavailableError | RefusedError:
    """Return what a result other than success means."""
    code = int(result["result"])
    text = _CODES.get(code) or f"it answered {result.get('description') or code}"
    message = printable(str(result.get("message") or "").strip("\0 "))
    reason = f"{text} ({message})" if message else text
    if code in _OF_THE_SERVER:
        return UnavailableError(reason)
    return RefusedError(reason, code)


def of_bind(result: Mapping[str, Any], user: str | None) -> UnavailableError | RefusedError:
    """Return what the result of a bind means."""
    if int(result["result"]) != results.RESULT_INVALID_CREDENTIALS:
        return of_result(result)
    found = _DATA.search(str(result.get("message") or ""))
    why = _BIND_DATA.get(found[1]) if found else None
    why = why or "the password is wrong, or there is no such user"
    return RefusedError(
        f"bad credentials for {user or 'anonymous'}: {why}", results.RESULT_INVALID_CREDENTIALS
    )


def of_exception(error: BaseException, what: str) -> UnavailableError:
    """Return why *what* (a noun: ``connect``) failed without an answer."""
    if isinstance(error, UnavailableError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return UnavailableError(f"TLS refused: {_of_verification(error)}")
    if isinstance(error, TimeoutError | exceptions.LDAPResponseTimeoutError):
        return UnavailableError(f"time-out: no answer to {what}")
    if isinstance(error, ssl.SSLError):
        return UnavailableError(
            f"TLS refused: no TLS is spoken there ({error.reason or 'connection closed'})"
        )
    if isinstance(error, ConnectionRefusedError):
        return UnavailableError("server down: connection refused")
    if isinstance(error, exceptions.LDAPStartTLSError):
        return UnavailableError("TLS refused: it does not take StartTLS; write ldaps://")
    if isinstance(error, exceptions.LDAPSocketOpenError):
        return _of_opening(error)
    if isinstance(error, exceptions.LDAPSessionTerminatedByServerError | OSError):
        return UnavailableError(f"server down: it closed the connection during {what}")
    return UnavailableError(f"it answered {what} with what is not understood ({type(error).__name__})")


def _of_verification(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _OTHER_NAME:
        return "its certificate is for another name; write the URL with a name that the certificate holds"
    if error.verify_code == _EXPIRED:
        return "its certificate has expired; renew it on the server"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not yet valid; compare the clocks"
    return (
        f"its certificate is not trusted ({printable(error.verify_message)}); "
        "name the issuing authority's certificate in directory.ca_file"
    )


def _of_opening(error: Exception) -> UnavailableError:
    """Return why no socket was opened; ldap3 keeps the causes of several addresses in a list."""
    causes = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], list) else []
    if causes:
        return of_exception(causes[-1][0], "connect")
    if isinstance(error, OSError):
        return UnavailableError("server down: it cannot be reached; check the URL and the network")
    return UnavailableError("server down: the connection was closed")
