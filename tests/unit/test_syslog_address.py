"""The address of a syslog server, as the configuration writes it."""

from __future__ import annotations

import re

import pytest

from smtpd_anontls.domain.syslog_address import SyslogAddress, SyslogTransport

UDP, TCP, UNIX = SyslogTransport.UDP, SyslogTransport.TCP, SyslogTransport.UNIX


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("udp://127.0.0.1:514", SyslogAddress(UDP, "127.0.0.1", 514), "udp://127.0.0.1:514"),
        (
            " TCP://log.contoso.test:601/ ",
            SyslogAddress(TCP, "log.contoso.test", 601),
            "tcp://log.contoso.test:601",
        ),
        ("udp://[::1]:514", SyslogAddress(UDP, "::1", 514), "udp://[::1]:514"),
        ("unix:///dev/log", SyslogAddress(UNIX, path="/dev/log"), "unix:///dev/log"),
    ],
)
def test_an_address(text: str, address: SyslogAddress, written: str) -> None:
    """Transport, host and port, or the path of a socket; written back in one form."""
    assert SyslogAddress.parse(text) == address
    assert str(address) == written


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not the address of a syslog server"),
        ("127.0.0.1:514", "is not the address of a syslog server"),
        ("tls://127.0.0.1:6514", "is not the address of a syslog server"),
        ("udp://127.0.0.1", "does not name a host and a port"),
        ("udp://::1:514", "does not name a host and a port"),
        ("udp://user:secret@host:514", "does not name a host and a port"),
        ("udp://host:514?a=b", "does not name a host and a port"),
        ("tcp://host:0", "its port is out of range"),
        ("tcp://host:65536", "its port is out of range"),
        ("unix://dev/log", "does not name a socket by its absolute path"),
        ("unix:///", "does not name a socket by its absolute path"),
        ("unix:///" + 107 * "x", "the path is longer than the 107 bytes"),
    ],
)
def test_no_address(text: str, why: str) -> None:
    """The mistake says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(why)):
        SyslogAddress.parse(text)
