"""The PROXY protocol header that a trusted proxy sends before anything else."""

from __future__ import annotations

from smtpd_anontls.protocol.proxy_header import ProxyHeader, ProxyHeaderError, read_proxy_header

# Seconds that a proxy has for its header.  It sends it with the connection; "at least 3 seconds to cover a
# TCP retransmit" is what the protocol's document asks for.
HEADER_TIMEOUT = 10.0


class HeaderReader:
    """Takes octets until they are a header, or cannot become one."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._found: ProxyHeader | ProxyHeaderError = ProxyHeaderError("nothing came")

    def feed(self, octets: bytes) -> bytes | None:
        """Take more octets; return those behind the header, or none where there is none."""
        self._octets += octets
        try:
            header = read_proxy_header(self._octets)
        except ProxyHeaderError as error:
            # This runs where asyncio delivers octets: the session asks for what came of them.
            self._found = error
            return b""
        if header is None:
            return None
        self._found = header
        return bytes(self._octets[header.length :])

    def header(self) -> ProxyHeader:
        """Return the header; ProxyHeaderError says why there is none."""
        if isinstance(self._found, ProxyHeaderError):
            raise self._found
        return self._found
