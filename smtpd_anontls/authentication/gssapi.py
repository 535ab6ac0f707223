"""AUTH GSSAPI and X-EXPS GSSAPI as the server: Kerberos, bare or inside Negotiate.

RFC 4752, RFC 4121 and RFC 4178.  The library is MIT's, through the Python package gssapi; the key comes
from a keytab that is named to it, not from the environment, and no KDC is asked.  Any service whose key is
in the keytab is taken: Active Directory gives all names of a computer one key, so which of them a ticket
was asked for proves nothing.

The replay cache is the library's own, one file for each user in KRB5RCACHEDIR, else TMPDIR, else /var/tmp:
all processes of that user share it, so a token that one of them has taken is a replay to all others.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from smtpd_anontls.authentication.gssapi_reasons import RefusedError, library_sentence, refusal
from smtpd_anontls.domain.account_names import AccountName
from smtpd_anontls.domain.authentication import Authenticated, Challenge, Failed, FailureReason
from smtpd_anontls.domain.flags import ExtendedProtectionPolicy
from smtpd_anontls.domain.printable import printable
from smtpd_anontls.notation.snapshot import UnreadableFileError, take
from smtpd_anontls.protocol.exchange_auth_blob import describe
from smtpd_anontls.protocol.kerberos_messages import SPNEGO_OID, begins_gss_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import gssapi
    from gssapi.raw import Creds, GSSError
    from gssapi.raw.chan_bindings import ChannelBindings
    from gssapi.raw.named_tuples import AcceptSecContextResult

    from smtpd_anontls.domain.authentication import Step
    from smtpd_anontls.protocol.kerberos_messages import ClearTicket

Result = TypeVar("Result")

# draft-ietf-kitten-channel-bound-flag: the client's binding was compared with ours, and is the same.
_CHANNEL_BOUND = 0x800
_MUTUAL = 0x2  # RFC 2744 section 5.1, as the other flags.
_KERBEROS, _NEGOTIATE = "1.2.840.113554.1.2.2", "1.3.6.1.5.5.2"
_LARGEST_KEYTAB = 1024 * 1024
_MOST_TOKENS = 8  # Kerberos takes one, Negotiate three at most.
# RFC 4752 section 3.2: the layers that are offered, and in three octets how much may come in one piece.
_NO_SECURITY_LAYER = 1
_OFFER = bytes([_NO_SECURITY_LAYER, 0, 0, 0])

# GSSAPI reads keytab and replay cache from disk; a few threads of its own hold up nobody else.
_THREADS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="gssapi")


def missing_library() -> str | None:
    """Return what keeps GSSAPI from being answered here, and what would do; None where nothing does."""
    try:
        import gssapi.raw  # noqa: F401, PLC0415 - only with the extra
    except (ImportError, OSError):
        return "GSSAPI needs the Python package gssapi: pip install 'smtpd-anontls[kerberos]'"
    return None


async def in_thread(work: Callable[[], Result]) -> Result:
    """Run what calls GSSAPI beside the event loop; few at a time, the others wait."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


@dataclass(frozen=True, slots=True)
class Established:
    """What a whole context says: who the client is, and how that was proved."""

    principal: str  # MBX2$@CONTOSO.TEST
    ticket: ClearTicket | None  # Beside the key that opened it, its name proves nothing.
    by_negotiate: bool
    is_mutual: bool
    is_bound: bool

    def __str__(self) -> str:
        parts = ["a ticket" if self.ticket is None else f"a ticket for {self.ticket}"]
        if self.by_negotiate:
            parts.append("in Negotiate")
        if self.is_mutual:
            parts.append("with mutual authentication")
        if self.is_bound:
            parts.append("bound to the TLS channel")
        return "Kerberos, " + ", ".join(parts)


class Acceptor:
    """One security context, as the server.  Its methods block; RefusedError says why a token was not taken."""

    def __init__(self, keytab: Path, *, expected: str, binding: bytes | None = None) -> None:
        """Take *expected*, the name that clients ask tickets for, and *binding*, which a client's own has to be."""
        self._keytab = keytab
        self._expected = expected
        self._binding = binding
        self._credentials: Creds | None = None
        self._context: gssapi.raw.SecurityContext | None = None
        self._whole: gssapi.SecurityContext | None = None
        self._by_negotiate = False
        self._tokens = 0

    def accept(self, token: bytes) -> tuple[bytes, Established | None]:
        """Take a token; return the answer, and what is established, None where another token has to come."""
        self._tokens += 1
        if self._context is None:
            if not token:
                # GSSAPI would take it for the wish to hear which mechanisms there are.
                raise RefusedError(FailureReason.MALFORMED, "the client sent no token")
            self._by_negotiate = begins_gss_token(token, SPNEGO_OID) is not None
        elif self._tokens > _MOST_TOKENS:
            raise RefusedError(FailureReason.MALFORMED, f"the client is not done after {_MOST_TOKENS} tokens")
        result = self._accept(token)
        # Delegated credentials go with the result: nobody here acts as the client.
        return result.token or b"", None if result.more_steps else self._established(result, token)

    def wrap(self, message: bytes) -> bytes:
        """Return *message*, protected but not encrypted, for the context that is established."""
        assert self._whole is not None
        wrapped: bytes = self._whole.wrap(message, encrypt=False).message
        return wrapped

    def unwrap(self, token: bytes) -> bytes:
        """Return the message that the client protected."""
        import gssapi  # noqa: PLC0415 - only with the extra

        assert self._whole is not None
        try:
            message: bytes = self._whole.unwrap(token).message
        except gssapi.raw.GSSError as error:
            detail = f"the client's choice of a security layer cannot be read ({library_sentence(error)})"
            raise RefusedError(FailureReason.MALFORMED, detail) from None
        return message

    def _accept(self, token: bytes) -> AcceptSecContextResult:
        if (missing := missing_library()) is not None:
            raise RefusedError(FailureReason.NOT_AVAILABLE, missing)
        import gssapi.raw  # noqa: PLC0415 - only with the extra

        if self._credentials is None:
            self._credentials = self._acquire()
        bindings: ChannelBindings | None = None
        if self._binding is not None:
            bindings = gssapi.raw.ChannelBindings(application_data=self._binding)
        try:
            result = gssapi.raw.accept_sec_context(token, self._credentials, self._context, bindings)
        except gssapi.raw.GSSError as error:
            raise self._named(refusal(error, token)) from None
        self._context = result.context
        return result

    def _named(self, refused: RefusedError) -> RefusedError:
        if refused.reason is not FailureReason.WRONG_KEY:
            return refused
        advice = f"{self._keytab.name} has to hold the current key of {self._expected}"
        return RefusedError(refused.reason, f"{refused.detail}; {advice}")

    def _acquire(self) -> Creds:
        """Return the keytab's keys as credentials."""
        import gssapi.raw  # noqa: PLC0415 - only with the extra

        try:
            take(self._keytab, _LARGEST_KEYTAB)
        except (FileNotFoundError, UnreadableFileError) as error:
            why = "does not exist" if isinstance(error, FileNotFoundError) else str(error)
            detail = printable(f"the keytab {self._keytab.name} {why}")
            raise RefusedError(FailureReason.NOT_AVAILABLE, detail) from None
        try:
            return gssapi.raw.acquire_cred_from(
                {b"keytab": b"FILE:" + os.fsencode(self._keytab)},
                mechs=[gssapi.OID.from_int_seq(each) for each in (_KERBEROS, _NEGOTIATE)],
                usage="accept",
            ).creds
        except gssapi.raw.GSSError as error:
            raise RefusedError(FailureReason.NOT_AVAILABLE, self._unusable(error)) from None

    def _unusable(self, error: GSSError) -> str:
        # Kerberos names the file by its whole path, which is nobody's business but the operator's.
        said = library_sentence(error).replace(printable(str(self._keytab)), printable(self._keytab.name))
        return f"the keytab {printable(self._keytab.name)} holds no key ({said})"

    def _established(self, result: AcceptSecContextResult, token: bytes) -> Established:
        import gssapi  # noqa: PLC0415 - only with the extra

        name = gssapi.raw.display_name(result.initiator_name).name
        self._whole = gssapi.SecurityContext(result.context)
        flags = int(result.flags)
        return Established(
            principal=printable(name.decode("utf-8", "backslashreplace")),
            ticket=describe(token).ticket,
            by_negotiate=self._by_negotiate,
            is_mutual=bool(flags & _MUTUAL),
            is_bound=bool(flags & _CHANNEL_BOUND),
        )


class GssapiExchange:
    """One GSSAPI authentication as the server; Authenticated.identity is the Kerberos principal."""

    def __init__(
        self,
        *,
        keytab: Path,
        hostname: str,
        service: str = "SMTPSVC",
        binding: bytes | None,
        policy: ExtendedProtectionPolicy,
        security_layer: bool,
    ) -> None:
        """*hostname* is the server's FQDN; *binding* is the tls-server-end-point of the session, None without TLS.

        *security_layer*: a context is followed by the round of RFC 4752, in which no layer is offered.
        """
        self._policy = policy
        self._has_tls = binding is not None
        self._security_layer = security_layer
        self._acceptor = Acceptor(
            keytab,
            expected=f"{service}/{hostname}",
            binding=None if policy is ExtendedProtectionPolicy.NotUsed else binding,
        )
        self._established: Established | None = None
        self._has_offered = False

    async def step(self, token: bytes) -> Step:
        """Take the client's token; never raise for what it holds."""
        return await in_thread(lambda: self._step(token))

    def _step(self, token: bytes) -> Step:
        principal = None if self._established is None else self._established.principal
        try:
            if self._established is None:
                return self._establish(token)
            return self._judge(self._established, token) if self._has_offered else self._offer(token)
        except RefusedError as refused:
            return Failed(refused.reason, refused.detail, principal)

    def _establish(self, token: bytes) -> Step:
        answer, established = self._acceptor.accept(token)
        if established is None:
            return Challenge(answer)
        if self._policy is ExtendedProtectionPolicy.Require and not established.is_bound:
            lacks = "the client sent none" if self._has_tls else "the session has no TLS to bind to"
            detail = f"ExtendedProtectionPolicy is Require, which asks for a channel binding, and {lacks}"
            return Failed(FailureReason.MISSING_BINDING, detail, established.principal)
        if not self._security_layer:
            return Authenticated(established.principal, str(established), answer)
        self._established = established
        # RFC 4752 section 3.2: the client answers the last token, where there is one, with an empty one.
        return Challenge(answer) if answer else self._offer(b"")

    def _offer(self, token: bytes) -> Step:
        if token:
            raise RefusedError(
                FailureReason.MALFORMED, "the client answered the last token with one of its own"
            )
        self._has_offered = True
        return Challenge(self._acceptor.wrap(_OFFER))

    def _judge(self, established: Established, token: bytes) -> Step:
        choice = self._acceptor.unwrap(token)
        # RFC 4752 section 3.1: one octet for the layer, three for a size, then the identity to act as.
        if len(choice) < len(_OFFER) or choice[0] != _NO_SECURITY_LAYER:
            raise RefusedError(
                FailureReason.MALFORMED, "the client chose a security layer that was not offered"
            )
        wanted = choice[len(_OFFER) :].decode("utf-8", "backslashreplace")
        if wanted and not _is_same(established.principal, wanted):
            detail = f"the client wants to act as {AccountName.parse(wanted).shown}, and is somebody else"
            raise RefusedError(FailureReason.OTHER_IDENTITY, detail)
        return Authenticated(established.principal, str(established))


def _is_same(principal: str, wanted: str) -> bool:
    """Whether *wanted*, in whatever form a client writes it, is who the ticket names."""
    asked = AccountName.parse(wanted)
    return AccountName.of_principal(principal).serves(asked)
