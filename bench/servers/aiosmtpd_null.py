"""Stock aiosmtpd with a handler that keeps nothing: a script, started with a JSON object that says what it needs.

{"host": "127.0.0.1", "endpoints": [{"port": 2525, "certificate": "rsa.crt", "key": "rsa.key"}]}
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from functools import partial
from typing import Any

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP

_BACKLOG = 4096


async def serve(given: dict[str, Any]) -> None:
    """Serve each endpoint with its certificate until the process ends."""
    loop = asyncio.get_running_loop()
    for each in given["endpoints"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(each["certificate"], each["key"])
        # Without a host name it would ask the resolver for one at every connection.
        session = partial(
            SMTP, Sink(), hostname="stock.contoso.test", tls_context=context, loop=loop, ident="ESMTP"
        )
        await loop.create_server(session, given["host"], each["port"], backlog=_BACKLOG)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
