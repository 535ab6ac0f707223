"""Faults for the tests of the API and of the page."""

from __future__ import annotations

from typing import Any

BUSY = {"at": "mail", "kind": "reply", "code": 451, "text": "Try again later", "count": 1}
# Every key that any kind takes.
EVERYTHING: list[dict[str, Any]] = [
    {**BUSY, "enhanced": "4.7.0", "seconds": 0.5, "probability": 0.5, "every": 2, "sender": "*"},
    {"at": "rcpt", "kind": "throttle", "octets_per_second": 10, "recipient": "*", "server": "MX1"},
    {"at": "handshake", "kind": "alert", "alert": 0, "verb": "STARTTLS", "remote_ip_ranges": ["::1"]},
    {"at": "handshake", "kind": "certificate", "thumbprint": "AB" * 20, "connector": "Default Frontend MX1"},
    {"at": "handshake", "kind": "version", "version": "TLSv1.2"},
]
