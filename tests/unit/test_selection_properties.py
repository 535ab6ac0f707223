"""What holds for every selection, whatever the connector, the directory and the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from hypothesis import assume, given
from hypothesis import strategies as st

from smtpd_anontls.domain.certificate import Certificate, KeyState, StoreCertificate
from smtpd_anontls.domain.connectors import ReceiveConnector, Server
from smtpd_anontls.domain.directory_value import Answer, Named, Unreadable, Unset, ValueForm
from smtpd_anontls.domain.events import CATALOGUE, EventId
from smtpd_anontls.domain.flags import AuthMechanism, StartTlsCertificate, TransportRole
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.selection import anonymous_tls, starttls
from smtpd_anontls.selection.validity import Moment
from tests.making import (
    AUTHORITY,
    DAY,
    EPHEMERAL,
    NOW,
    certificate,
    decided,
    der,
    stored,
    version_1,
)

if TYPE_CHECKING:
    from random import Random

    from smtpd_anontls.selection.outcome import Selection

Often = TypeVar("Often")
Seldom = TypeVar("Seldom")

SERVER = Server(name="MBX1", fqdn="mbx1.contoso.test")
POOL = [
    certificate(),
    certificate(issuer=AUTHORITY),
    certificate(issuer=AUTHORITY, serial=2),
    certificate(not_before=NOW - 5 * DAY),
    certificate(issuer=AUTHORITY, not_before=NOW - 90 * DAY, not_after=NOW - DAY),
    certificate(not_before=NOW - 90 * DAY, not_after=NOW - DAY),
    certificate(issuer=AUTHORITY, not_before=NOW + DAY),
    certificate(not_after=NOW + DAY),
    certificate("mail.contoso.test", names=(), issuer=AUTHORITY),
    certificate("Contoso", names=("*.contoso.test",), issuer=AUTHORITY),
    Certificate.from_der(version_1(der("mbx1.contoso.test", names=()))),
]
UNRELATED = certificate("unrelated.example", names=("unrelated.example",), issuer="Unrelated CA")

ORDERS = {
    (TlsVerb.X_ANONYMOUSTLS, StartTlsCertificate.by_name): (
        "auth_mechanism",
        "suppression",
        "directory",
        "certificate_store",
        "validity",
    ),
    (TlsVerb.STARTTLS, StartTlsCertificate.by_name): (
        "auth_mechanism",
        "certificate_name",
        "certificate_store",
        "eligibility",
        "preference",
        "validity",
    ),
    (TlsVerb.STARTTLS, StartTlsCertificate.internal_transport): (
        "auth_mechanism",
        "directory",
        "certificate_store",
        "validity",
    ),
}
# How STARTTLS chooses is nothing to X-ANONYMOUSTLS.
ORDERS[TlsVerb.X_ANONYMOUSTLS, StartTlsCertificate.internal_transport] = ORDERS[
    TlsVerb.X_ANONYMOUSTLS, StartTlsCertificate.by_name
]


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that a selection depends on."""

    verb: TlsVerb
    connector: ReceiveConnector
    answer: Answer
    store: tuple[StoreCertificate, ...]
    moment: Moment
    ephemeral_fallback: bool

    def selection(self) -> Selection:
        """Run the selection of the verb."""
        select = anonymous_tls.select if self.verb is TlsVerb.X_ANONYMOUSTLS else starttls.select
        selection, _ = decided(
            select,
            self.connector,
            replace(SERVER, ephemeral_fallback=self.ephemeral_fallback),
            answer=self.answer,
            store=self.store,
            moment=self.moment,
        )
        return selection

    @property
    def order(self) -> tuple[str, ...]:
        """The steps that this selection can have, in order."""
        return ORDERS[self.verb, self.connector.starttls_certificate]


def weighted(
    often: st.SearchStrategy[Often], seldom: st.SearchStrategy[Seldom]
) -> st.SearchStrategy[Often | Seldom]:
    """Draw from *often* three times in four."""
    return st.integers(0, 3).flatmap(lambda n: often if n else seldom)


# What leads on is drawn more often than what ends a selection, so that every step is reached.
LEADING = st.just(AuthMechanism.Tls | AuthMechanism.ExchangeServer)
FQDNS = (
    st.none() | st.sampled_from(["", "mbx1.contoso.test", "mail.contoso.test", "MBX1"]) | st.text(max_size=9)
)
CERTIFICATE_NAMES = (
    st.sampled_from([f"<I>CN={AUTHORITY}<S>CN=mail.contoso.test", "<I>CN=mbx1<S>CN=mbx1", "mbx1"])
    | st.text(max_size=9)
    | st.tuples(st.text(), st.text()).map(lambda names: f"<I>{names[0]}<S>{names[1]}")
)
CONNECTORS = st.builds(
    ReceiveConnector,
    name=st.text(max_size=9),
    transport_role=st.sampled_from(TransportRole),
    auth_mechanism=weighted(LEADING, st.integers(0, 63).map(AuthMechanism)),
    suppress_x_anonymous_tls=st.integers(0, 3).map(lambda n: n == 3),
    starttls_certificate=st.sampled_from(StartTlsCertificate),
    fqdn=FQDNS,
    tls_certificate_name=weighted(st.none(), CERTIFICATE_NAMES),
)
NAMED = st.builds(
    Named,
    weighted(st.sampled_from([c.thumbprint for c in POOL]), st.just("0" * 40)),
    st.sampled_from(ValueForm),
    st.none() | st.text(max_size=9),
)
ANSWERS: st.SearchStrategy[Answer] = weighted(
    NAMED, st.builds(Unset, st.text(max_size=9)) | st.builds(Unreadable, st.text(max_size=9))
)
STORED = st.builds(
    StoreCertificate,
    certificate=st.sampled_from(POOL),
    key=weighted(st.just(KeyState.USABLE), st.sampled_from(KeyState)),
    services=st.none() | st.frozensets(st.sampled_from(["SMTP", "IIS", "IMAP"])),
    file=st.text(max_size=9),
)
SMALL_STORES = st.lists(STORED, max_size=3, unique_by=lambda s: s.certificate.thumbprint)
LARGE_STORES = st.lists(STORED, min_size=6, max_size=8, unique_by=lambda s: s.certificate.thumbprint)
STORES = weighted(LARGE_STORES, SMALL_STORES).map(tuple)
MOMENTS = st.builds(
    Moment,
    weighted(
        st.just(NOW),
        st.sampled_from([c.not_after for c in POOL] + [c.not_before for c in POOL])
        | st.datetimes(timezones=st.just(NOW.tzinfo)),
    ),
    at_start=st.booleans(),
)
WORLDS = st.builds(
    World,
    verb=st.sampled_from(TlsVerb),
    connector=CONNECTORS,
    answer=ANSWERS,
    store=STORES,
    moment=MOMENTS,
    ephemeral_fallback=weighted(st.just(False), st.just(True)),  # noqa: FBT003 - st.just takes any value
)


@given(WORLDS)
def test_a_certificate_is_there_exactly_where_the_verb_is_advertised(world: World) -> None:
    """Every selection ends, and has a certificate exactly where every step but the last was answered yes."""
    selection = world.selection()

    shown = selection.as_json()
    decided = [step.passed for step in selection.steps if step.step != "validity"]
    assert selection.advertised is all(decided)
    assert (selection.certificate is not None) is selection.advertised
    assert (shown["certificate"] is not None) is shown["advertised"] is selection.advertised


@given(WORLDS)
def test_steps_come_in_their_order_and_end_with_the_first_no(world: World) -> None:
    """No step is left out, none follows one that was answered no, and only validity is no while advertised."""
    selection = world.selection()

    names = tuple(step.step for step in selection.steps)
    assert names == world.order[: len(names)]
    assert all(step.passed for step in selection.steps[:-1])
    assert not selection.steps[-1].passed or names == world.order
    if selection.advertised:
        assert {step.step for step in selection.steps if not step.passed} <= {"validity"}
        assert names == world.order


@given(WORLDS)
def test_every_step_has_its_sentence(world: World) -> None:
    """Each step says something, on its own line of the trace."""
    for step in world.selection().steps:
        assert step.detail.strip()


@given(WORLDS, st.randoms(use_true_random=False))
def test_the_order_of_the_store_is_irrelevant(world: World, shuffle: Random) -> None:
    """A store that lists its files otherwise gives the very same selection, sentences included."""
    shuffled = list(world.store)
    shuffle.shuffle(shuffled)

    assert replace(world, store=tuple(shuffled)).selection() == world.selection()


@given(WORLDS, st.integers(0, 6), st.sampled_from(KeyState))
def test_an_unrelated_certificate_changes_nothing(world: World, at: int, key: KeyState) -> None:
    """A certificate that nobody asks for changes no decision, only the counts in sentences."""
    assume(world.connector.tls_certificate_name is not None or world.connector.fqdn != "unrelated.example")
    more = (*world.store[:at], stored(UNRELATED, "unrelated.pem", key=key), *world.store[at:])

    before, after = world.selection(), replace(world, store=more).selection()

    assert after.certificate == before.certificate
    assert after.events == before.events
    assert [(s.step, s.passed) for s in after.steps] == [(s.step, s.passed) for s in before.steps]


@given(WORLDS)
def test_every_event_is_in_the_catalogue(world: World) -> None:
    """Each event can be written: it is known, and has as many inserts as its text takes."""
    for event in world.selection().events:
        assert CATALOGUE[event.event_id].message(event.inserts)


@given(WORLDS)
def test_events_belong_to_the_verb_and_to_the_moment(world: World) -> None:
    """12012, 12017 and 12018 are for service start alone, and each verb has events of its own."""
    own = {
        TlsVerb.X_ANONYMOUSTLS: {EventId.NOT_IN_STORE, EventId.EPHEMERAL_FALLBACK, EventId.EXPIRED},
        TlsVerb.STARTTLS: {EventId.NO_STARTTLS_CERTIFICATE, EventId.STARTTLS_EXPIRED},
    }
    allowed = set(own[world.verb])
    if world.moment.at_start and world.verb is TlsVerb.X_ANONYMOUSTLS:
        allowed |= {EventId.MISSING_IN_DIRECTORY, EventId.EXPIRES_SOON}
    elif world.moment.at_start and world.connector.starttls_certificate is StartTlsCertificate.by_name:
        allowed.add(EventId.STARTTLS_EXPIRES_SOON)

    events = [event.event_id for event in world.selection().events]

    assert set(events) <= allowed
    # A certificate that stands in has a validity of its own.
    assert len(events) <= 1 + (EventId.EPHEMERAL_FALLBACK in events)


@given(WORLDS)
def test_what_is_chosen_could_be_loaded(world: World) -> None:
    """A certificate that is advertised is one that the store holds with a usable key, or stands in where it may."""
    chosen = world.selection().certificate
    usable = [held.certificate for held in world.store if held.key.is_there]
    by_name = world.order == ORDERS[TlsVerb.STARTTLS, StartTlsCertificate.by_name]

    if world.ephemeral_fallback and not by_name:
        usable.append(EPHEMERAL)
    assert chosen is None or chosen in usable


@given(WORLDS)
def test_the_ephemeral_fallback_only_stands_in(world: World) -> None:
    """It changes nothing but a selection that ends at the store, and never STARTTLS by name."""
    without = replace(world, ephemeral_fallback=False).selection()
    with_it = replace(world, ephemeral_fallback=True).selection()
    ends_at_the_store = without.steps[-1].step == "certificate_store" and not without.advertised
    by_name = world.order == ORDERS[TlsVerb.STARTTLS, StartTlsCertificate.by_name]

    if ends_at_the_store and not by_name:
        assert with_it.certificate == EPHEMERAL
        assert EventId.NOT_IN_STORE not in with_it.event_ids
    else:
        assert with_it == without
