"""NTLM as the client, by pyspnego: NTLMv2, bound to the TLS channel where there is one ([MS-SMTPNTLM])."""

from __future__ import annotations

from smtpd_anontls.client.errors import ConversationError
from smtpd_anontls.client.tokens import decoded, one_too_many


class NtlmTokens:
    """What NTLM says: its NEGOTIATE message at the server's first 334, then the answer to the challenge."""

    def __init__(self, user: str, password: str, *, spn: str, binding: bytes | None) -> None:
        """*binding* is the server's tls-server-end-point; None leaves the channel out."""
        # Imported where it is needed: probe and tunnel start in half the time without.
        import spnego  # noqa: PLC0415
        from spnego.channel_bindings import GssChannelBindings  # noqa: PLC0415

        service, _, host = spn.partition("/")
        self._context = spnego.client(
            user,
            password,
            hostname=host,
            service=service,
            protocol="ntlm",
            # The pure-Python client, whatever NTLM the machine's GSSAPI may have.
            options=spnego.NegotiateOptions.use_ntlm,
            channel_bindings=None if binding is None else GssChannelBindings(application_data=binding),
        )
        self._spoken = 0

    def initial(self) -> bytes | None:
        """Return None: Exchange answers with words first, which [MS-SMTPNTLM] lets a client wait for."""
        return None

    def answer(self, challenge: bytes) -> bytes:
        """Return the NEGOTIATE message, then the AUTHENTICATE message."""
        self._spoken += 1
        if self._spoken == 1:
            # "NTLM supported", for a person.
            return self._context.step() or b""
        if self._context.complete:
            raise one_too_many("NTLM")
        token = decoded(challenge)
        try:
            return self._context.step(token) or b""
        except Exception:  # noqa: BLE001 - struct.error, UnicodeDecodeError, SpnegoError and others
            raise ConversationError("the server's NTLM challenge cannot be read") from None

    def finish(self, text: bytes) -> None:
        """Take the server's word for it: NTLM proves nothing of the server."""
