"""GSSAPI as the client: a Kerberos ticket for the server, mutual authentication, and RFC 4752 where it is asked for.

AUTH GSSAPI is the SASL mechanism: once the context stands, the server offers security layers and the
client chooses none of them (RFC 4752 section 3.1).  X-EXPS GSSAPI ends with the context itself, as far
as public logs show; which of the two a server means is seen from whether it asks once more.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from smtpd_anontls.client.errors import ConversationError, NoTicketError, RefusedError
from smtpd_anontls.client.tokens import decoded, one_too_many
from smtpd_anontls.domain.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smtpd_anontls.client.wire import Deadline

NO_PACKAGE = "GSSAPI needs the Python package gssapi: pip install 'smtpd-anontls[kerberos]'"

_NO_LAYER = 0x01  # RFC 4752 section 3.3; the other octets are the size of messages, 0 without a layer.
_LAYER_OFFER = 4
# The first code of com_err's table krb5, as an unsigned number; RFC 4120 section 7.5.9 has the offsets.
_KRB5_ERRORS = 0x96C73A00
_UNKNOWN_SERVICE = 7
_REFUSALS: Mapping[int, str] = MappingProxyType(
    {
        6: "the KDC knows no such user; write alice@CONTOSO.TEST",
        18: "the account is disabled, locked or expired",
        23: "the password has expired; change it first",
        24: "the password is wrong",
        31: "the password is wrong",
        37: "the clocks are too far apart (5 minutes is the usual limit); compare this machine's with the KDC's",
    }
)
_OUT_OF_REACH: Mapping[int, str] = MappingProxyType(
    {
        32: "run kinit for a new one",
        154: "name a KDC of the realm in krb5.conf",
        156: "check the network, and the KDC that krb5.conf names",
        224: "name default_realm in krb5.conf, or set KRB5_CONFIG",
    }
)


def require_gssapi() -> None:
    """Return where the Python package gssapi can be used; ValueError says what to install."""
    try:
        import gssapi  # noqa: F401, PLC0415 - an extra
    except (ImportError, OSError) as error:
        raise ValueError(NO_PACKAGE) from error


class GssapiTokens:
    """What Kerberos says for a service."""

    def __init__(
        self, spn: str, *, user: str | None, password: str | None, binding: bytes | None, deadline: Deadline
    ) -> None:
        """Take *user*'s ticket from the credential cache, or with *password* from the KDC; None: the default's.

        *binding* is the server's tls-server-end-point; None leaves the channel out.
        """
        self._spn = spn
        self._user = user
        self._password = password
        self._binding = binding
        self._deadline = deadline
        self._arguments: dict[str, Any] = {}
        self._context: Any = None
        self._complete = False  # And the server has proved who it is.
        self._layer_chosen = False

    def initial(self) -> bytes | None:
        """Return the token with the ticket, which the KDC may have to be asked for."""
        return self._in_time(self._begin)

    def answer(self, challenge: bytes) -> bytes:
        """Take the server's token, then its offer of security layers."""
        token = decoded(challenge)
        if not self._complete:
            if not token:
                raise ConversationError("the server answers the Kerberos ticket with no token of its own")
            return self._understood(lambda: self._step(token))
        if self._layer_chosen:
            raise one_too_many("GSSAPI")
        self._layer_chosen = True
        return self._understood(lambda: self._choose_no_layer(token))

    def finish(self, text: bytes) -> None:
        """Take the token that may stand behind 235; RefusedError where the server has not proved who it is."""
        if not self._complete and (words := text.split()):
            # Public logs of Exchange senders show "235 <authentication response>".
            with suppress(ConversationError):
                token = decoded(words[-1])
                self._understood(lambda: self._step(token))
        if not self._complete:
            raise RefusedError(
                f"the server took the ticket without proving that it is {self._spn}, which mutual authentication asks for"
            )

    def _begin(self) -> bytes:
        import gssapi  # noqa: PLC0415 - an extra
        from gssapi import raw  # noqa: PLC0415

        credentials = None
        if self._user is not None:
            name = gssapi.Name(self._user, gssapi.NameType.user)
            mechanisms = [gssapi.MechType.kerberos]
            if self._password is None:
                credentials = raw.acquire_cred(name, mechs=mechanisms, usage="initiate").creds
            else:
                credentials = raw.acquire_cred_with_password(
                    name, self._password.encode(), mechs=mechanisms, usage="initiate"
                ).creds
        self._arguments = {
            "target_name": gssapi.Name(self._spn, gssapi.NameType.kerberos_principal),
            "creds": credentials,
            "mech": gssapi.MechType.kerberos,
            # RFC 4752 section 3.1; without integrity there would be no wrapping either.
            "flags": [
                gssapi.RequirementFlag.mutual_authentication,
                gssapi.RequirementFlag.out_of_sequence_detection,
                gssapi.RequirementFlag.integrity,
            ],
            "channel_bindings": None
            if self._binding is None
            else raw.ChannelBindings(application_data=self._binding),
        }
        return self._step(None)

    def _step(self, token: bytes | None) -> bytes:
        from gssapi import raw  # noqa: PLC0415 - an extra

        done = raw.init_sec_context(context=self._context, input_token=token, **self._arguments)
        self._context = done.context
        self._complete = not done.more_steps and bool(
            int(done.flags) & raw.RequirementFlag.mutual_authentication
        )
        return done.token or b""

    def _choose_no_layer(self, token: bytes) -> bytes:
        from gssapi import raw  # noqa: PLC0415 - an extra

        offered = raw.unwrap(self._context, token).message
        if len(offered) != _LAYER_OFFER:
            raise ConversationError("the server's offer of security layers is not that of RFC 4752")
        if not offered[0] & _NO_LAYER:
            raise RefusedError(
                "the server insists on a security layer of GSSAPI, which SMTP inside TLS does without"
            )
        return bytes(raw.wrap(self._context, bytes([_NO_LAYER, 0, 0, 0]), confidential=False).message)

    def _understood(self, call: Callable[[], bytes]) -> bytes:
        """Return what *call* returns; RefusedError where the server's token is not what it should be."""
        from gssapi.raw import GSSError  # noqa: PLC0415 - an extra

        try:
            return call()
        except GSSError as error:
            raise RefusedError(
                f"what the server sent does not prove that it is {self._spn}: {_message(error)}"
            ) from None

    def _in_time(self, call: Callable[[], bytes]) -> bytes:
        """Return what *call* returns by the deadline; libkrb5 has time-outs of its own, so it runs in a thread."""
        answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

        def run() -> None:
            try:
                answers.put(call())
            except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
                # The library keeps its words for each thread, so they are asked for here.
                answers.put(self._no_ticket(error))

        threading.Thread(target=run, name="kerberos", daemon=True).start()
        try:
            answer = answers.get(timeout=self._deadline.left())
        except (queue.Empty, TimeoutError):
            raise NoTicketError(
                f"no KDC gave a ticket for {self._spn} within {self._deadline}; check the KDC that krb5.conf names"
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _no_ticket(self, error: Exception) -> Exception:
        from gssapi.exceptions import MissingCredentialsError  # noqa: PLC0415 - an extra
        from gssapi.raw import GSSError  # noqa: PLC0415

        if not isinstance(error, GSSError):
            return error
        number = (error.min_code & 0xFFFFFFFF) - _KRB5_ERRORS
        sentence = f"Kerberos gives no ticket for {self._spn}: {_message(error)}"
        if number == _UNKNOWN_SERVICE:
            return RefusedError(
                f"{sentence}; register the service principal name on the server's account (setspn -S), or name another "
                "with --spn"
            )
        if number in _REFUSALS:
            return RefusedError(f"{sentence}; {_REFUSALS[number]}")
        if number in _OUT_OF_REACH:
            return NoTicketError(f"{sentence}; {_OUT_OF_REACH[number]}")
        if isinstance(error, MissingCredentialsError):
            return NoTicketError(f"{sentence}; run kinit first, or name --user with a password")
        return NoTicketError(f"{sentence}; look at it with kinit and kvno")


def _message(error: Any) -> str:
    """Return the mechanism's own words, or those of GSSAPI where it has none."""
    words = error.get_all_statuses(error.min_code, False) if error.min_code else []  # noqa: FBT003 - its signature
    words = [word for word in words if word] or error.get_all_statuses(error.maj_code, True)  # noqa: FBT003
    return printable("; ".join(words))
