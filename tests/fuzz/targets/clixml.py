"""Dumps of Export-Clixml: each is read into plain values, or is said in one line to be none."""

from __future__ import annotations

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.exchange_export.certificates import read_exchange_certificate
from smtpd_anontls.exchange_export.clixml import DumpError, read_clixml
from smtpd_anontls.exchange_export.connectors import read_connector
from smtpd_anontls.exchange_export.dumped import Dumped
from smtpd_anontls.exchange_export.findings import NotUnderstoodError
from smtpd_anontls.exchange_export.servers import read_server, read_transport

RUNS = 300_000
MAX_LENGTH = 2000
WORDS = (
    b'<Obj RefId="0">', b"</Obj>", b'<TN RefId="0"><T>', b"</T></TN>", b'<TNRef RefId="0"/>', b'<Ref RefId="0"/>',
    b"<Props>", b"</Props>", b"<MS>", b"</MS>", b"<LST>", b"</LST>", b"<DCT>", b"<En>", b"<QUE>", b"<STK>", b"<IE>",
    b'<S N="Name">', b"</S>", b'<I32 N="AuthMechanism">', b'<B N="Enabled">', b'<BA N="RawData">', b"<TS>", b"<DT>",
    b"<G>", b"<D>", b"<Db>", b"<SS>", b"<PR>", b"<XD>", b"<SB>", b"<URI>", b"<Version>", b"<Nil/>", b"_x000A_", b"_xD800_",
    b'<!DOCTYPE a [<!ENTITY b "c">]>', b"ReceiveConnector", b"ExchangeCertificate", b"TransportServer",
)  # fmt: skip


def target(data: bytes) -> None:
    """Read a dump, and what it holds as every cmdlet's object."""
    try:
        objects = read_clixml(data)
    except DumpError as error:
        assert one_line(str(error))
        return

    for each in objects:
        assert isinstance(each, Dumped)
        for read in (read_connector, read_exchange_certificate, read_server, read_transport):
            try:
                read(each, "a.xml")
            except NotUnderstoodError as error:
                assert error.lines
                assert all(line.startswith("a.xml: ") for line in error.lines)


def one_line(text: str) -> bool:
    """Whether *text* is one line that drives no terminal."""
    return text != "" and printable(text) == text
