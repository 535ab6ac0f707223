"""A Kerberos client, made of the library's own initiator: what a sender does in AUTH GSSAPI."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from smtpd_anontls.domain.authentication import Authenticated, Challenge

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.domain.authentication import Step, TokenExchange

HOST = "mbx1.contoso.test"


class Initiator:
    """One authentication, as the client, with the tickets of *cache* or those that the key of *keytab* gets."""

    def __init__(
        self,
        *,
        cache: Path | None = None,
        keytab: Path | None = None,
        host: str = HOST,
        negotiate: bool = False,
        mutual: bool = True,
        delegate: bool = False,
        binding: bytes | None = None,
    ) -> None:
        import gssapi  # noqa: PLC0415 - only with the extra
        from gssapi.raw import ChannelBindings  # noqa: PLC0415

        flag = gssapi.RequirementFlag
        wanted = [flag.integrity]
        wanted += [flag.mutual_authentication] * mutual + [flag.delegate_to_peer] * delegate
        mechanism = gssapi.OID.from_int_seq("1.3.6.1.5.5.2" if negotiate else "1.2.840.113554.1.2.2")
        store = {"ccache": f"MEMORY:{secrets.token_hex(8)}" if cache is None else f"FILE:{cache}"}
        if keytab is not None:
            store["client_keytab"] = f"FILE:{keytab}"
        self._context = gssapi.SecurityContext(
            name=gssapi.Name(f"SMTPSVC@{host}", gssapi.NameType.hostbased_service),
            creds=gssapi.Credentials(usage="initiate", store=store, mechs=[mechanism]),
            mech=mechanism,
            flags=sum(map(int, wanted)),
            channel_bindings=None if binding is None else ChannelBindings(application_data=binding),
            usage="initiate",
        )

    def first(self) -> bytes:
        """Return the token with which the exchange begins."""
        return self._context.step() or b""

    def answer(self, token: bytes) -> bytes:
        """Return what the server's *token* is answered with; an exception says that it is not the server's."""
        return self._context.step(token) or b""

    @property
    def is_done(self) -> bool:
        """Whether the server has proved that it has the key, where that was asked for."""
        return bool(self._context.complete)

    def choose(self, offer: bytes, *, layer: int = 1, identity: str = "") -> bytes:
        """Answer the offer of RFC 4752 section 3.1, which has to be that of no layer at all."""
        assert self._context.unwrap(offer).message == b"\x01\x00\x00\x00"
        return self.protect(bytes([layer, 0, 0, 0]) + identity.encode())

    def protect(self, message: bytes) -> bytes:
        """Return a token that carries *message*."""
        wrapped: bytes = self._context.wrap(message, encrypt=False).message
        return wrapped


async def converse(exchange: TokenExchange, initiator: Initiator) -> Step:
    """Let both talk until the server has made up its mind; a last token has to satisfy the client."""
    step = await exchange.step(initiator.first())
    while isinstance(step, Challenge):
        step = await exchange.step(initiator.answer(step.token))
    if isinstance(step, Authenticated):
        if step.token:
            assert initiator.answer(step.token) == b""
        assert initiator.is_done
    return step
