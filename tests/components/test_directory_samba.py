"""The directory ``ldap``, against a real Active Directory domain controller."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from smtpd_anontls.directory.active_directory import ActiveDirectory
from smtpd_anontls.directory.file import DirectoryError
from smtpd_anontls.domain.directory_value import Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.ldap_access import BindMethod, LdapAccess, LdapBind
from tests.lab import eventually, greeted, secured
from tests.samba import ADMINISTRATOR, ATTRIBUTE, PUBLISHER, READER, SERVER, DomainController, dn_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

pytestmark = pytest.mark.slow

Json = dict[str, Any]

# Seconds for each of the two time-outs, and what a busy machine may add to both.
TIMEOUT = 1.0
SLACK = 1.5
NAMED = Named("78" * 20, ValueForm.THUMBPRINT)
VALUE = b"x" * 20
UNSET = Unset("an access rule that hides it looks the same")


def access(controller: DomainController, user: str = READER, **more: Any) -> LdapAccess:
    """Return how *user* reaches the domain controller, with *more*."""
    usual: Json = {
        "urls": (controller.url,),
        "bind": LdapBind(BindMethod.SIMPLE, user, lambda: controller.password(user)),
        "ca_file": str(controller.ca_file),
        "connect_timeout": TIMEOUT,
        "search_timeout": TIMEOUT,
    }
    return LdapAccess(**{**usual, **more})


@asynccontextmanager
async def asking(wanted: LdapAccess, warnings: list[str] | None = None) -> AsyncIterator[ActiveDirectory]:
    """Return the directory until the block ends; without *warnings* there must be none."""
    said: list[str] = [] if warnings is None else warnings
    directory = ActiveDirectory(wanted, on_warning=said.append)
    try:
        yield directory
    finally:
        await asyncio.to_thread(directory.close)
    assert warnings is not None or said == []


# -- the answer


async def test_value_is_read_as_it_is_now(domain_controller: DomainController) -> None:
    """Set, replaced and cleared values are what the next question is answered with, in any case of the name."""
    answers = []
    async with asking(access(domain_controller)) as directory:
        for value in (None, VALUE, b"y" * 20, None):
            domain_controller.publish(value)
            answers.append(await directory.internal_tls_certificate(SERVER.lower()))

    assert answers == [UNSET, NAMED, Named("79" * 20, ValueForm.THUMBPRINT), UNSET]


async def test_value_hidden_by_an_access_rule_looks_not_set(domain_controller: DomainController) -> None:
    """A denial on the attribute looks to the account as if it were not set, says so, and can be taken back."""
    domain_controller.publish(VALUE)
    answers = []
    async with asking(access(domain_controller)) as directory:
        domain_controller.hide()
        answers.append(await directory.internal_tls_certificate(SERVER))
        domain_controller.unhide()
        answers.append(await directory.internal_tls_certificate(SERVER))

    assert answers == [UNSET, NAMED]
    assert domain_controller.published() == VALUE


async def test_show_says_where_the_answer_comes_from(domain_controller: DomainController) -> None:
    """The object is shown with its true DN, and with the server that answered and as whom it was asked."""
    async with asking(access(domain_controller)) as directory:
        shown = await directory.show(SERVER.lower())

    assert shown.dn == dn_of(SERVER)
    assert (shown.source or "").startswith(f"{domain_controller.url} as {READER} (")


async def test_start_tls_and_failover(domain_controller: DomainController) -> None:
    """StartTLS does as well as LDAPS, and a server that is down costs nothing but its turn."""
    domain_controller.publish(VALUE)
    plain = domain_controller.url.replace("ldaps:", "ldap:")
    async with asking(access(domain_controller, urls=(plain,), start_tls=True)) as directory:
        over_start_tls = await directory.internal_tls_certificate(SERVER)
    async with asking(
        access(domain_controller, urls=("ldaps://127.0.0.1:1", domain_controller.url))
    ) as directory:
        from_the_second = await directory.internal_tls_certificate(SERVER)

    assert [over_start_tls, from_the_second] == [NAMED, NAMED]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        pytest.param(
            {"bind": LdapBind(BindMethod.SIMPLE, READER, lambda: "wrong")},
            f"bad credentials for {READER}: the password is wrong, or there is no such user",
            id="wrong password",
        ),
        pytest.param(
            {"bind": LdapBind(BindMethod.ANONYMOUS)},
            "it answers only after a bind; set directory.bind",
            id="nobody",
        ),
        pytest.param(
            {"ca_file": None}, "name the issuing authority's certificate in directory.ca_file", id="wrong CA"
        ),
        pytest.param(
            {"organization": "Fabrikam"},
            "no such object: no organization Fabrikam under CN=",
            id="organization",
        ),
        pytest.param(
            {"configuration_dn": "CN=Configuration,DC=fabrikam,DC=test"},
            "no such object: no CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=fabrikam,DC=test",
            id="configuration",
        ),
    ],
)
async def test_what_keeps_it_from_being_read_is_said(
    domain_controller: DomainController, more: Json, sentence: str
) -> None:
    """What is wrong with the settings is said in words that name the server and what would do."""
    domain_controller.publish(VALUE)
    async with asking(access(domain_controller, **more)) as directory:
        answer = await directory.internal_tls_certificate(SERVER)

    assert isinstance(answer, Unreadable)
    assert answer.reason.startswith(f"{domain_controller.url}: ")
    assert sentence in answer.reason


async def test_simple_bind_in_clear_is_refused(domain_controller: DomainController) -> None:
    """A domain controller takes no password in clear, and the sentence says what would do."""
    url = domain_controller.url.replace("ldaps:", "ldap:")
    bind = LdapBind(BindMethod.SIMPLE, READER, lambda: domain_controller.password(READER), allow_clear=True)
    async with asking(access(domain_controller, urls=(url,), bind=bind)) as directory:
        answer = await directory.internal_tls_certificate(SERVER)

    assert isinstance(answer, Unreadable)
    assert "it demands TLS for this bind; write ldaps:// or start_tls: true" in answer.reason


async def test_object_that_is_not_there(domain_controller: DomainController) -> None:
    """A server without an object is told where one was looked for."""
    async with asking(access(domain_controller)) as directory:
        answer = await directory.internal_tls_certificate("MBX9")

    assert isinstance(answer, Unreadable)
    assert "no such object: no CN=MBX9 under CN=Contoso,CN=Microsoft Exchange" in answer.reason


# -- Kerberos


@pytest.mark.parametrize("kept", ["credential cache", "keytab"])
async def test_gssapi_bind(kerberos: DomainController, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    """A ticket from a cache, or one that a keytab gets, binds over LDAPS without a password."""
    kerberos.publish(VALUE)
    if kept == "keytab":
        monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(kerberos.keytab(READER)))
    else:
        kerberos.log_in(READER)
    async with asking(access(kerberos, bind=LdapBind(BindMethod.GSSAPI))) as directory:
        answer = await directory.internal_tls_certificate(SERVER)
        shown = await directory.show(SERVER)

    assert answer == NAMED
    assert "with Kerberos" in (shown.source or "")


async def test_gssapi_bind_without_a_ticket(kerberos: DomainController) -> None:
    """Without a ticket the sentence says that there is none."""
    async with asking(access(kerberos, bind=LdapBind(BindMethod.GSSAPI))) as directory:
        answer = await directory.internal_tls_certificate(SERVER)

    assert isinstance(answer, Unreadable)
    assert "no Kerberos ticket for the bind" in answer.reason


# -- change notification


async def test_a_change_is_heard_of(domain_controller: DomainController) -> None:
    """With change notification a kept answer goes with the change; where the connection dies, every session asks."""
    wanted = access(domain_controller, cache_seconds=60, change_notification=True)
    warnings: list[str] = []

    async def becomes(answer: object) -> float:
        began = time.monotonic()
        while await directory.internal_tls_certificate(SERVER) != answer:
            assert time.monotonic() - began < 10
        return time.monotonic() - began

    async with asking(wanted, warnings) as directory:
        assert await directory.internal_tls_certificate(SERVER) == UNSET
        await eventually(lambda: directory._is_kept_informed(SERVER))
        await directory.internal_tls_certificate(SERVER)
        domain_controller.publish(VALUE)
        until_set = await becomes(NAMED)
        await directory.internal_tls_certificate(SERVER)
        domain_controller.publish(None)
        until_cleared = await becomes(UNSET)
        domain_controller.stop()
        await eventually(lambda: not directory._is_kept_informed(SERVER))
        while_down = await directory.internal_tls_certificate(SERVER)
        domain_controller.start()
        domain_controller.publish(VALUE)
        once_back = await directory.internal_tls_certificate(SERVER)

    assert max(until_set, until_cleared) < 1
    assert isinstance(while_down, Unreadable)
    assert once_back == NAMED


# -- writing

WAS_SET = "was set in between, or is hidden from this account, so nothing was written"


@pytest.mark.parametrize("user", [ADMINISTRATOR, PUBLISHER])
async def test_conditional_write(domain_controller: DomainController, lab: Lab, user: str) -> None:
    """Who may write the attribute, and nothing else need be allowed, puts the DER there, and takes it away again."""
    der = lab.pki.credentials("internal").certificate.der
    async with asking(access(domain_controller, user)) as directory:
        await directory.replace(SERVER, der, expected=None)
        written = domain_controller.published(user=READER)
        with pytest.raises(DirectoryError, match="changed in between, so nothing was written"):
            await directory.replace(SERVER, VALUE, expected=b"z" * 20)
        with pytest.raises(DirectoryError, match=WAS_SET):
            await directory.replace(SERVER, VALUE, expected=None)
        untouched = domain_controller.published()
        await directory.replace(SERVER, None, expected=der)

    assert written == der
    assert untouched == der
    assert domain_controller.published() is None


async def test_write_that_is_not_allowed(domain_controller: DomainController) -> None:
    """Who can read only is told which right is missing on which object."""
    async with asking(access(domain_controller, READER)) as directory:
        with pytest.raises(DirectoryError, match=f"may not write {ATTRIBUTE} of {dn_of(SERVER)[:30]}"):
            await directory.replace(SERVER, VALUE, expected=None)

    assert domain_controller.published() is None


async def test_value_that_is_hidden_is_not_written_over(domain_controller: DomainController) -> None:
    """Who takes a hidden value for one that is not set is stopped by the condition."""
    domain_controller.publish(VALUE)
    domain_controller.hide(user=PUBLISHER)
    async with asking(access(domain_controller, PUBLISHER)) as directory:
        seen = await directory.value(SERVER)
        with pytest.raises(DirectoryError, match=WAS_SET):
            await directory.replace(SERVER, b"y" * 20, expected=seen)

    assert seen is None
    assert domain_controller.published() == VALUE


# -- a receiver


def overlay(controller: DomainController, name: str = SERVER, **more: Any) -> Json:
    """Return what makes a receiver of the lab one for *name* that reads the domain."""
    timeouts = {"connect_timeout": TIMEOUT, "search_timeout": TIMEOUT}
    return {
        "server": {"name": name},
        "settings": {"directory": controller.settings(**{**timeouts, **more})},
    }


@dataclass
class Visits:
    """What sessions of a receiver were offered, one by one."""

    receiver: Receiver
    offered: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    async def visit(self) -> None:
        """Open a session, and note whether it is offered the verb, and how long that took."""
        began = time.monotonic()
        async with await greeted(self.receiver) as peer:
            self.seconds.append(time.monotonic() - began)
            replies = await peer.ask("EHLO again.lab.test")
            self.offered.append(any("X-ANONYMOUSTLS" in line for line in replies))
            await peer.ask("QUIT")


def sentences(lab: Lab) -> list[str]:
    """Return what the directory's step said in each session, oldest first."""
    return [
        step["detail"]
        for session in reversed(lab.sessions)
        for selection in session["selections"]
        for step in selection["steps"]
        if step["step"] == "directory"
    ]


async def test_each_session_sees_the_directory_as_it_is(
    lab: Lab, domain_controller: DomainController
) -> None:
    """Whatever becomes of the value or of the domain controller, the next session shows it, and its return too."""
    domain_controller.publish(lab.pki.credentials("internal").certificate.der)
    steps: list[tuple[Callable[[], None], bool, str]] = [
        (lambda: None, True, "as a certificate (DER)"),
        (lambda: domain_controller.publish(VALUE), False, f"names {NAMED.thumbprint} as a thumbprint"),
        (
            lambda: domain_controller.publish(None),
            False,
            "is not set; an access rule that hides it looks the same",
        ),
        (
            lambda: domain_controller.publish(bytes.fromhex(lab.certificate("internal").thumbprint)),
            True,
            "as a thumbprint",
        ),
        (domain_controller.hide, False, "is not set; an access rule that hides it looks the same"),
        (domain_controller.unhide, True, "as a thumbprint"),
        (domain_controller.hang, False, "could not be read: ldaps://"),
        (domain_controller.resume, True, "as a thumbprint"),
        (domain_controller.stop, False, "server down: connection refused"),
        (domain_controller.start, True, "as a thumbprint"),
        (lambda: domain_controller.publish(b"garbage"), False, "its value was not understood"),
    ]
    async with lab.receiver(**overlay(domain_controller)) as receiver:
        visits = Visits(receiver)
        for change, _, _ in steps:
            change()
            await visits.visit()

    assert visits.offered == [offered for _, offered, _ in steps]
    said = sentences(lab)
    assert len(said) == len(steps)
    assert [part for (_, _, part), sentence in zip(steps, said, strict=True) if part not in sentence] == []
    assert "time-out" in said[6]
    assert max(visits.seconds) < 2 * TIMEOUT + SLACK
    # The store has no such certificate: the event of that session alone.
    assert [event["event_id"] for event in lab.events] == [12013]
    assert domain_controller.url in said[6]


async def test_session_presents_what_the_directory_names(
    lab: Lab, domain_controller: DomainController
) -> None:
    """X-ANONYMOUSTLS presents the certificate whose DER the domain controller holds."""
    domain_controller.publish(lab.pki.credentials("internal").certificate.der)
    async with lab.receiver(**overlay(domain_controller)) as receiver, await secured(receiver) as peer:
        presented = lab.name_of(peer.presented())

    assert presented == "internal"


@dataclass(frozen=True)
class Start:
    """A state in which the receiver is started, and what its first session says of the directory."""

    sentence: str
    arrange: Callable[[DomainController], None] = lambda controller: controller.publish(VALUE)
    name: str = SERVER
    settings: Callable[[DomainController, Path], Json] = lambda _controller, _folder: {}


def wrong_password(_controller: DomainController, folder: Path) -> Json:
    """Return settings with a password that is not the account's."""
    (folder / "password").write_text("not-this-one")
    return {"bind": {"method": "simple", "user": READER, "password_file": str(folder / "password")}}


def wrong_authority(_controller: DomainController, folder: Path) -> Json:
    """Return settings that trust another authority alone."""
    return {"ca_file": str(folder / "another.pem")}


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(Start("is not set", lambda controller: controller.publish(None)), id="not set"),
        pytest.param(Start("is not set; an access rule", DomainController.hide), id="hidden"),
        pytest.param(Start("no such object: no CN=MBX9 under", name="MBX9"), id="no object"),
        pytest.param(Start("server down: connection refused", DomainController.stop), id="stopped"),
        pytest.param(Start("time-out", DomainController.hang), id="hung"),
        pytest.param(Start("bad credentials for svc-reader", settings=wrong_password), id="wrong password"),
        pytest.param(Start("its certificate is not trusted", settings=wrong_authority), id="wrong CA"),
    ],
)
async def test_start_without_an_answer(
    lab: Lab, domain_controller: DomainController, tmp_path: Path, start: Start
) -> None:
    """The receiver starts all the same, event 12012 is written once, and the verb is not offered."""
    (tmp_path / "another.pem").write_bytes(lab.pki.authority.cert_pem.bytes())
    start.arrange(domain_controller)
    more = start.settings(domain_controller, tmp_path)
    async with lab.receiver(**overlay(domain_controller, start.name, **more)) as receiver:
        visits = Visits(receiver)
        await visits.visit()

    assert visits.offered == [False]
    assert visits.seconds[0] < 2 * TIMEOUT + SLACK
    assert start.sentence in sentences(lab)[0]
    assert [event["event_id"] for event in lab.events] == [12012]
