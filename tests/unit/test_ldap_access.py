"""How Active Directory is reached: URLs, and keys that do not go together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind, ldap_url


def secret() -> str:
    """Return a password."""
    return "hunter2"


READER = LdapBind(BindMethod.SIMPLE, "reader@contoso.test", secret)
GOOD = LdapAccess(("ldaps://dc1.contoso.test",), READER)
CLEAR = ("ldap://dc1.contoso.test",)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("ldaps://dc1.contoso.test", "ldaps://dc1.contoso.test"),
        ("LDAPS://DC1.Contoso.test:3269/", "ldaps://dc1.contoso.test:3269"),
        (" ldap://127.0.0.1:50389 ", "ldap://127.0.0.1:50389"),
        ("ldap://[::1]:389", "ldap://[::1]:389"),
    ],
)
def test_a_url_names_a_server(written: str, url: str) -> None:
    """Scheme, host and port, spelled one way."""
    assert ldap_url(written) == url


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("dc1.contoso.test", "is not an LDAP URL"),
        ("https://dc1.contoso.test", "is not an LDAP URL"),
        ("ldaps://", "is not an LDAP URL"),
        ("ldap://a b", "is not an LDAP URL"),
        ("ldap://dc1:99999", "is not an LDAP URL"),
        ("ldap://[::1", "is not an LDAP URL"),
        ("ldap://dc1:0", "has port 0"),
        ("ldap://dc1/DC=contoso", "says more than the server"),
        ("ldap://dc1/?cn", "says more than the server"),
        ("ldap://dc1/#x", "says more than the server"),
    ],
)
def test_what_is_no_url_says_what_would_do(written: str, why: str) -> None:
    """Each names the text and a form that does."""
    with pytest.raises(ValueError, match=why) as refused:
        ldap_url(written)

    assert "write ldaps://" in str(refused.value)
    assert repr(written) in str(refused.value)


def test_a_url_with_a_password_is_not_repeated() -> None:
    """It could end up in a log."""
    with pytest.raises(ValueError, match="carries no user") as refused:
        ldap_url("ldap://reader:hunter2@dc1")

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "access",
    [
        GOOD,
        replace(GOOD, urls=CLEAR, start_tls=True),
        replace(GOOD, urls=CLEAR, bind=replace(READER, allow_clear=True)),
        replace(GOOD, urls=CLEAR, bind=LdapBind(BindMethod.ANONYMOUS)),
        replace(GOOD, urls=CLEAR, bind=LdapBind(BindMethod.GSSAPI)),
        replace(GOOD, bind=LdapBind(BindMethod.GSSAPI, "smtp@CONTOSO.TEST")),
    ],
)
def test_what_goes_together_has_no_mistake(access: LdapAccess) -> None:
    """TLS for a password, or leave to do without."""
    assert list(access.mistakes()) == []


@pytest.mark.parametrize(
    ("access", "key", "why"),
    [
        (replace(GOOD, urls=()), ("urls",), "is missing"),
        (replace(GOOD, start_tls=True), ("start_tls",), "does not go with ldaps://dc1.contoso.test"),
        (replace(GOOD, bind=replace(READER, user=None)), ("bind", "user"), "is missing"),
        (replace(GOOD, bind=replace(READER, password=None)), ("bind",), "lacks the password"),
        (replace(GOOD, urls=CLEAR), ("urls",), "in clear"),
        (replace(GOOD, urls=(*GOOD.urls, *CLEAR)), ("urls",), "over ldap://dc1.contoso.test would send"),
        (
            replace(GOOD, bind=replace(READER, method=BindMethod.GSSAPI)),
            ("bind",),
            "gssapi takes no password",
        ),
        (
            replace(GOOD, bind=LdapBind(BindMethod.ANONYMOUS, "reader@contoso.test")),
            ("bind", "user"),
            "anonymous takes no user",
        ),
    ],
)
def test_what_does_not_go_together_is_named(access: LdapAccess, key: tuple[str, ...], why: str) -> None:
    """One mistake, at the key to change."""
    ((place, message),) = access.mistakes()

    assert place == key
    assert why in message


def test_no_password_is_shown() -> None:
    """Neither it nor what reads it is in a repr."""
    assert "secret" not in repr(GOOD)
