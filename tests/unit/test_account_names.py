"""Names of accounts in their three forms, and which entry is for which client."""

from __future__ import annotations

import pytest

from smtpd_anontls.domain.account_names import AccountName, netbios_name


@pytest.mark.parametrize(
    ("text", "domain", "expected"),
    [
        pytest.param("alice", "", "alice", id="no domain"),
        pytest.param("alice", "contoso", "CONTOSO\\alice", id="the domain beside it"),
        pytest.param("alice", "contoso.test", "CONTOSO\\alice", id="a DNS name beside it"),
        pytest.param("contoso\\alice", "", "CONTOSO\\alice", id="down-level logon name"),
        pytest.param("alice@contoso.test", "", "CONTOSO\\alice", id="UPN"),
        pytest.param("alice@contoso.test", "FABRIKAM", "CONTOSO\\alice", id="a UPN carries its own domain"),
        pytest.param("contoso\\alice", "FABRIKAM", "CONTOSO\\alice", id="so does a down-level logon name"),
        pytest.param(".\\alice", "", "alice", id="the machine itself"),
        pytest.param("\\alice", "", "alice", id="an empty domain"),
        pytest.param("alice@", "", "alice", id="an empty realm"),
        pytest.param("", "", "", id="nobody"),
        pytest.param("CONTOSO\\", "", "CONTOSO\\", id="nobody of a domain"),
        pytest.param("MBX2$@CONTOSO.TEST", "", "CONTOSO\\MBX2$", id="a computer"),
    ],
)
def test_the_forms_of_a_name(text: str, domain: str, expected: str) -> None:
    """Every form comes out as DOMAIN and user name."""
    assert str(AccountName.parse(text, domain)) == expected


@pytest.mark.parametrize(
    ("principal", "netbios_domain", "expected"),
    [
        ("MBX2$@CONTOSO.TEST", None, "CONTOSO\\MBX2$"),
        ("MBX2$@CONTOSO.TEST", "corp", "CORP\\MBX2$"),
        ("SMTPSVC/mbx2.contoso.test@CONTOSO.TEST", None, "CONTOSO\\SMTPSVC/mbx2.contoso.test"),
        ("alice\\@fabrikam.test@CONTOSO.TEST", None, "CONTOSO\\alice\\@fabrikam.test"),
        ("alice", None, "alice"),
    ],
)
def test_a_kerberos_principal(principal: str, netbios_domain: str | None, expected: str) -> None:
    """Its realm becomes the NetBIOS name that it is taken to have, or that was said."""
    assert str(AccountName.of_principal(principal, netbios_domain=netbios_domain)) == expected


@pytest.mark.parametrize(
    ("entry", "asked", "is_served"),
    [
        pytest.param("CONTOSO\\alice", "CONTOSO\\alice", True, id="the domain itself"),
        pytest.param("contoso\\ALICE", "CONTOSO\\alice", True, id="in another case"),
        pytest.param("CONTOSO\\alice", "alice@contoso.test", True, id="in another form"),
        pytest.param("CONTOSO\\alice", "alice", True, id="a client without a domain"),
        pytest.param("CONTOSO\\alice", "FABRIKAM\\alice", False, id="another domain"),
        pytest.param("alice", "alice", True, id="neither has a domain"),
        pytest.param("alice", "FABRIKAM\\alice", True, id="an entry without a domain"),
        pytest.param("alice", "bob", False, id="another user"),
        pytest.param("CONTOSO\\alice", "CONTOSO\\bob", False, id="another user of the domain"),
    ],
)
def test_whom_an_entry_serves(entry: str, asked: str, is_served: bool) -> None:  # noqa: FBT001 - a column
    """An entry with a domain is for that domain or none, one without a domain for all."""
    assert AccountName.parse(entry).serves(AccountName.parse(asked)) is is_served


def test_the_same_account_has_the_same_domain_too() -> None:
    """Where entries are told apart, no domain is no wildcard."""
    alice = AccountName.parse("CONTOSO\\alice")

    assert alice.is_same(AccountName.parse("Alice@contoso.test"))
    assert not alice.is_same(AccountName.parse("alice"))
    assert not alice.is_same(AccountName.parse("FABRIKAM\\alice"))


def test_a_name_is_shown_escaped_and_short() -> None:
    """A peer's name neither drives a terminal nor fills the screen."""
    assert AccountName.parse("\x1b[2Jalice").shown == "\\x1b[2Jalice"
    assert AccountName.parse("a" * 500).shown == "a" * 80 + "…"
    assert AccountName.parse("a" * 80).shown == "a" * 80


def test_the_netbios_name_is_the_first_label() -> None:
    """As it is unless somebody chose otherwise."""
    assert [netbios_name(name) for name in ("contoso.test", "Contoso", "")] == ["CONTOSO", "CONTOSO", ""]
