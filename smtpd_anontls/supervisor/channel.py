"""Words over a socket pair: each is its length in four octets, and a pickle of that length.

Both ends are this program, and nobody else has the sockets: what is unpickled was pickled here.
"""

from __future__ import annotations

import asyncio
import copyreg
import io
import logging
import pickle
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

_LENGTH = struct.Struct("!I")


def _read_only(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


class _Pickler(pickle.Pickler):
    """Knows the read-only mappings of settings, which pickle does not."""

    dispatch_table = copyreg.dispatch_table | {
        MappingProxyType: lambda mapping: (_read_only, (dict(mapping),)),
        logging.LogRecord: lambda record: (logging.makeLogRecord, (record.__dict__,)),
    }


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, connected: socket.socket) -> Channel:
        """Return the end that *connected* is."""
        return cls(*await asyncio.open_unix_connection(sock=connected))

    def send(self, word: object) -> None:
        """Send *word*; never wait.  It is lost where nobody is at the other end."""
        if self._writer.is_closing():
            return
        octets = io.BytesIO()
        _Pickler(octets, pickle.HIGHEST_PROTOCOL).dump(word)
        content = octets.getbuffer()
        self._writer.write(_LENGTH.pack(len(content)))
        self._writer.write(content)

    async def taken(self) -> None:
        """Return when the other end has taken most of what was sent; ConnectionError where it is gone."""
        await self._writer.drain()

    async def receive(self) -> Any:
        """Return the next word; None where the other end is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return pickle.loads(await self._reader.readexactly(length))  # noqa: S301 - see above
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        """Close it; what was sent arrives as long as the other end lives."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return
