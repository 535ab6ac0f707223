"""What Active Directory's side of the directory reads and writes, in an OpenLDAP server."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.directory.file import ChangedInBetweenError, DirectoryError
from smtpd_anontls.domain.directory_value import MAX_VALUE_BYTES, Answer, Named, ValueForm
from smtpd_anontls.domain.ldap_access import BindMethod, LdapBind
from tests import slapd as openldap
from tests.components.asking import (
    A_NAMED,
    B_NAMED,
    NOT_SET,
    PEM,
    WRITER,
    A,
    B,
    DirectoryOf,
    reason,
)
from tests.slapd import (
    BLIND,
    BLIND_PASSWORD,
    EDGE_CONFIGURATION,
    EXCHANGE,
    READER_PASSWORD,
    SERVERS,
    Slapd,
    bind,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # They need slapd.


def serialized(der: bytes, friendly_name: str) -> bytes:
    """Return a certificate as Windows serializes it, the friendly name first."""
    records = ((0x0B, f"{friendly_name}\0".encode("utf-16-le")), (0x20, der))
    return b"".join(struct.pack("<III", kind, 1, len(value)) + value for kind, value in records)


FORMS: dict[str, tuple[bytes, Answer]] = {
    "DER": (A.der, A_NAMED),
    "PEM": (PEM, Named(A.thumbprint, ValueForm.PEM)),
    "serialized": (
        serialized(A.der, "Microsoft Exchange"),
        Named(A.thumbprint, ValueForm.SERIALIZED, "Microsoft Exchange"),
    ),
    "octets": (bytes.fromhex(A.thumbprint), Named(A.thumbprint, ValueForm.THUMBPRINT)),
    "text": (A.thumbprint.lower().encode(), Named(A.thumbprint, ValueForm.THUMBPRINT)),
}
NOT_UNDERSTOOD = {
    "garbage": bytes(range(256)),
    "truncated DER": A.der[:-20],
    "truncated records": serialized(A.der, "x")[:-20],
    "huge": bytes(4 * MAX_VALUE_BYTES),
    "one octet": b"0",
}


class TestTheAnswer:
    """What a session is told about an attribute."""

    async def test_the_next_session_sees_each_change(
        self, steady_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """Set, replaced and cleared: the next session sees it, over the connection that it has."""
        directory = directory_of(steady_slapd.access())
        answers = []
        for value in (A.der, B.der, None):
            steady_slapd.set(value)
            answers.append(await directory.internal_tls_certificate("mbx1"))

        assert answers == [A_NAMED, B_NAMED, NOT_SET]

    @pytest.mark.parametrize("form", FORMS)
    async def test_forms(self, form: str, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """Every form in which a certificate is written names the same thumbprint."""
        value, wanted = FORMS[form]
        steady_slapd.set(value)

        assert await directory_of(steady_slapd.access()).internal_tls_certificate("MBX1") == wanted

    @pytest.mark.parametrize("kind", NOT_UNDERSTOOD)
    async def test_not_understood(self, kind: str, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """What names no certificate is not understood, and nothing worse."""
        steady_slapd.set(NOT_UNDERSTOOD[kind])

        assert (await reason(directory_of(steady_slapd.access()))).startswith("its value was not understood")

    async def test_hidden(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """An access rule that hides the value looks like no value, and the answer says so."""
        steady_slapd.set(A.der)
        directory = directory_of(steady_slapd.access(bind=bind(BLIND, BLIND_PASSWORD)))

        assert await directory.internal_tls_certificate("MBX1") == NOT_SET

    async def test_shown_to_people(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """The object tells its DN, and which server answered, to whom, after how long."""
        steady_slapd.set(A.der)
        shown = await directory_of(steady_slapd.access()).show("mbx1")

        assert shown.dn.lower() == f"cn=mbx1,{SERVERS}".lower()
        assert shown.thumbprint == A.thumbprint
        assert shown.source is not None
        assert shown.source.startswith(f"{steady_slapd.url} as cn=svc-reader")
        assert shown.source.endswith(" ms)")
        assert READER_PASSWORD not in f"{shown}"


class TestTheObject:
    """The way from the configuration partition to a server."""

    @pytest.mark.parametrize(
        ("server", "changes", "wanted"),
        [
            ("MBX9", {}, "no such object: no CN=MBX9 under "),
            ("*", {}, "no such object: no CN=* under "),
            ("MBX1)(cn=*", {}, "no such object: no CN=MBX1)(cn=* under "),
            ("MBX1", {"organization": "Fabrikam"}, "no such object: no organization Fabrikam under "),
            (
                "MBX1",
                {"configuration_dn": "DC=else"},
                "no such object: no CN=Microsoft Exchange,CN=Services,DC=else",
            ),
            ("MBX1", {"configuration_dn": None}, "its rootDSE names no configuration naming context; set "),
            ("MBX1", {"bind": LdapBind(BindMethod.ANONYMOUS)}, "or the account may not list it there"),
        ],
        ids=["server", "star", "filter", "organization", "configuration", "rootDSE", "anonymous"],
    )
    async def test_missing(
        self,
        server: str,
        changes: dict[str, Any],
        wanted: str,
        steady_slapd: Slapd,
        directory_of: DirectoryOf,
    ) -> None:
        """Whatever is missing on the way is named."""
        found = await reason(directory_of(steady_slapd.access(**changes)), server)

        assert found.startswith(f"{steady_slapd.url}: ")
        assert wanted in found

    async def test_several_organizations(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """Of several organizations one has to be named."""
        slapd.add(f"CN=Fabrikam,{EXCHANGE}", "msExchOrganizationContainer")
        found = await reason(directory_of(slapd.access()))
        named = await directory_of(slapd.access(organization="contoso")).internal_tls_certificate("MBX1")

        assert "several organizations" in found
        assert "name one in directory.organization" in found
        assert named == A_NAMED

    async def test_edge(self, tmp_path: Path, directory_of: DirectoryOf) -> None:
        """AD LDS of an Edge Transport server names its configuration partition among its naming contexts."""
        with openldap.running(tmp_path / "edge", configuration=EDGE_CONFIGURATION) as server:
            server.set(A.der)
            directory = directory_of(server.access(edge=True, configuration_dn=None))
            shown = await directory.show("MBX1")

        assert shown.thumbprint == A.thumbprint
        assert shown.dn.lower().endswith(EDGE_CONFIGURATION.lower())

    async def test_an_object_that_went_and_came(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """An object that is renamed is missing, and found again when it is back."""
        directory = directory_of(slapd.access())
        first = await directory.internal_tls_certificate("MBX1")
        slapd.rename(f"CN=MBX1,{SERVERS}", "cn=MBX7")
        gone = await reason(directory)
        slapd.rename(f"CN=MBX7,{SERVERS}", "cn=MBX1")
        again = await directory.internal_tls_certificate("MBX1")

        assert first == again == A_NAMED
        assert "no such object: no CN=MBX1 under " in gone


class TestWriting:
    """A write that happens only where the value is the one that was seen."""

    @pytest.mark.parametrize(
        ("before", "new"),
        [(A.der, B.der), (None, B.der), (A.der, None), (A.der, A.der)],
        ids=["replaced", "set", "cleared", "same"],
    )
    async def test_written(
        self, before: bytes | None, new: bytes | None, steady_slapd: Slapd, directory_of: DirectoryOf
    ) -> None:
        """What is written is what another client reads, octet for octet."""
        steady_slapd.set(before)
        directory = directory_of(steady_slapd.access(bind=WRITER))
        seen = await directory.value("MBX1")
        await directory.replace("MBX1", new, expected=seen)

        assert seen == before
        assert steady_slapd.value() == new
        assert await directory.value("MBX1") == new

    @pytest.mark.parametrize(
        ("expected", "now", "new"),
        [
            (A.der, B.der, serialized(A.der, "x")),
            (A.der, None, B.der),
            (None, A.der, B.der),
            (A.der, B.der, None),
        ],
        ids=["another", "gone", "appeared", "another than the one to clear"],
    )
    async def test_changed_in_between(
        self,
        expected: bytes | None,
        now: bytes | None,
        new: bytes | None,
        steady_slapd: Slapd,
        directory_of: DirectoryOf,
    ) -> None:
        """A value that changed in between stays, and the error says so."""
        steady_slapd.set(now)
        directory = directory_of(steady_slapd.access(bind=WRITER))

        with pytest.raises(ChangedInBetweenError, match=r"in between.*so nothing was written"):
            await directory.replace("MBX1", new, expected=expected)
        assert steady_slapd.value() == now

    async def test_no_right_to_write(self, steady_slapd: Slapd, directory_of: DirectoryOf) -> None:
        """An account that only reads is told which right it lacks, on which object."""
        steady_slapd.set(A.der)
        directory = directory_of(steady_slapd.access())

        with pytest.raises(
            DirectoryError, match=r"(?i)access refused: .* of cn=MBX1,.*give it Write"
        ) as raised:
            await directory.replace("MBX1", B.der, expected=A.der)
        assert not isinstance(raised.value, ChangedInBetweenError)
        assert steady_slapd.value() == A.der

    async def test_unreachable(self, slapd: Slapd, directory_of: DirectoryOf) -> None:
        """Nothing is read or written where no server answers."""
        directory = directory_of(slapd.access(bind=WRITER))
        slapd.stop()

        with pytest.raises(DirectoryError, match="server down: connection refused"):
            await directory.value("MBX1")
        with pytest.raises(DirectoryError, match="server down: connection refused"):
            await directory.replace("MBX1", B.der, expected=A.der)
