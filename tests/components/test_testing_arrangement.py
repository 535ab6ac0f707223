"""What a receiver for tests is like: as usual, in each scenario, and with a test's own wishes.

The fixture ``receiver`` is the one that the package's pytest plugin has.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.domain.scenarios import Scenario
from smtpd_anontls.testing import Arrangement, ArrangementError, running_receiver
from tests.command import ROOT
from tests.peer import believing_context

if TYPE_CHECKING:
    from pathlib import Path

    from smtpd_anontls.testing import BlockingReceiver

Json = dict[str, Any]

# What the connectors of config/ leave to Exchange, and a test must not meet.
OF_TESTS = {"auth_tarpit_interval", "max_protocol_errors", "max_logon_failures"}
# Whether each verb is advertised, and the events that are there at start and after a session.
SHOWN: dict[Scenario, tuple[bool, bool, list[int]]] = {
    Scenario.HEALTHY: (True, True, []),
    Scenario.AUTH_MECHANISM: (False, True, []),
    Scenario.NOT_SET: (False, True, [12012]),
    Scenario.UNREADABLE: (False, True, [12012]),
    Scenario.NOT_IN_STORE: (False, True, [12013, 12013]),
    Scenario.NO_PRIVATE_KEY: (False, False, [12013, 12014, 12013, 12014]),
    Scenario.EXPIRED: (True, True, [12015, 12016, 12015, 12016]),
    Scenario.EXPIRES_SOON: (True, True, [12017, 12018]),
    Scenario.SUPPRESSED: (False, True, []),
    Scenario.STARTTLS_ONLY: (False, True, []),
    Scenario.ANONYMOUS_TLS_ONLY: (True, False, []),
    Scenario.NO_TLS: (False, False, []),
    Scenario.EXCHANGE_LIMITS: (True, True, []),
}


def the_connector(configuration: Json) -> Json:
    """Return the one connector of a configuration, lists as sets: their order says nothing."""
    ((connector,),) = [server["connectors"] for server in configuration["servers"]]
    return {key: set(value) if isinstance(value, list) else value for key, value in connector.items()}


# -- what it is


@pytest.mark.parametrize("scenario", Scenario)
def test_a_scenario_is_that_of_the_gallery(scenario: Scenario) -> None:
    """Each connector has the properties of the gallery's own, but for its name, its port and the limits of tests."""
    gallery = yaml.safe_load((ROOT / "config" / "gallery.yaml").read_text())
    (theirs,) = [server for server in gallery["servers"] if server["scenario"] == scenario]
    ours = the_connector(Arrangement(scenario=scenario).configuration())
    expected = the_connector({"servers": [theirs]})

    assert {key for key in ours if key not in expected} == (
        set() if scenario is Scenario.EXCHANGE_LIMITS else OF_TESTS
    )
    assert all(ours[key] == expected[key] for key in expected if key not in {"name", "bindings"})


def test_without_a_scenario_it_is_the_server_of_receive_yaml() -> None:
    """Names, AuthMechanism, permission groups and limits are those of config/receive.yaml."""
    shipped = yaml.safe_load((ROOT / "config" / "receive.yaml").read_text())
    configuration = Arrangement().configuration()
    ours, theirs = the_connector(configuration), the_connector(shipped)
    own = ours.keys() - OF_TESTS - {"bindings"}

    assert {key: ours[key] for key in own} == {key: theirs[key] for key in own}
    assert all(configuration["servers"][0][key] == shipped["servers"][0][key] for key in ("name", "fqdn"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("advertised", "events"),
    [
        pytest.param(
            {verb for verb, is_there in (("X-ANONYMOUSTLS", shown[0]), ("STARTTLS", shown[1])) if is_there},
            shown[2],
            marks=pytest.mark.receiver(scenario=scenario.value),
            id=scenario.value,
        )
        for scenario, shown in SHOWN.items()
    ],
)
def test_a_scenario_shows_what_it_is_for(
    receiver: BlockingReceiver, advertised: set[str], events: list[int]
) -> None:
    """EHLO offers the verbs that the session's record names, and the events are the scenario's."""
    with smtplib.SMTP(*receiver.address()) as client:
        client.ehlo()
        offered = {verb for verb in ("X-ANONYMOUSTLS", "STARTTLS") if client.has_extn(verb)}

    assert offered == advertised == receiver.sessions[-1].advertised
    assert [event.event_id for event in receiver.events] == events


def test_there_is_a_row_for_every_scenario() -> None:
    """A new scenario needs one above."""
    assert set(SHOWN) == set(Scenario)


# -- what a test wishes


def test_later_wishes_go_before_earlier_ones() -> None:
    """Key by key: an outer marker holds where an inner one says nothing."""
    outer = {"scenario": "expired", "connector": {"banner": "outer", "require_tls": True}}
    inner = {"scenario": "healthy", "connector": {"banner": "inner"}}
    arrangement = Arrangement.read(outer, inner)

    assert arrangement.scenario is Scenario.HEALTHY
    assert arrangement.connector == {"banner": "inner", "require_tls": True}


def test_sections_of_the_configuration_are_completed_or_replaced() -> None:
    """A section keeps the keys that a test does not name, but for the lists and what has kinds of its own."""
    content = Arrangement(
        settings={
            "capture": {"retention": None},
            "tls": {"maximum": "TLSv1.3"},
            "event_log": [],
            "directory": {"type": "ldap", "urls": ["ldaps://dc1.contoso.test"]},
        }
    ).configuration()

    assert content["capture"] == {"url": "sqlite:///capture.db", "retention": None}
    assert content["tls"] == {"maximum": "TLSv1.3"}
    assert content["event_log"] == []
    assert content["directory"] == {"type": "ldap", "urls": ["ldaps://dc1.contoso.test"]}
    # With another directory there is no entry to make.
    assert "scenario" not in content["servers"][0]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        pytest.param({"scenario": "expird"}, "'expird' is not one of healthy, auth-mechanism, ", id="scenario"),
        pytest.param({"scenarios": "expired"}, "there are scenario, connector, server, settings, users", id="key"),
        pytest.param({"connector": "banner"}, "connector: 'banner' is not a mapping", id="no mapping"),
        pytest.param({"connector": {"baner": "x"}}, "baner: unknown key; did you mean banner?", id="property"),
        pytest.param({"settings": {"tsl": {}}}, "tsl: unknown key; did you mean tls?", id="section"),
        pytest.param({"connector": {"fqdn": "x y"}}, "connectors[0].fqdn: 'x y'", id="value"),
        pytest.param({"connector": {"auth_mechanism": ["BasicAuthRequireTLS"]}}, "BasicAuth", id="broken rule"),
        pytest.param({"users": {"a:b": "secret"}}, "users: ", id="user"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_named(tmp_path: Path, terms: Any, message: str) -> None:
    """The error says what is wrong and what there is; nothing runs."""
    before = threading.enumerate()
    with pytest.raises(ArrangementError) as failed, running_receiver(tmp_path, **terms):
        pass

    assert message in str(failed.value)
    assert str(tmp_path) not in str(failed.value)
    assert "secret" not in str(failed.value)
    assert threading.enumerate() == before


def test_a_failure_to_start_comes_through(tmp_path: Path) -> None:
    """What keeps the receiver from listening is raised where it was asked for, and its thread has ended."""
    before = threading.enumerate()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
        with (
            pytest.raises(Exception, match="the port is in use"),
            running_receiver(tmp_path, connector={"bindings": [f"{host}:{port}"]}),
        ):
            pass

    assert threading.enumerate() == before


@pytest.mark.receiver(
    connector={"banner": "220 hello"},
    server={"name": "EDGE1", "fqdn": "edge1.contoso.test"},
    settings={"tls": {"maximum": "TLSv1.3"}},
)
def test_properties_keys_and_sections_hold(receiver: BlockingReceiver) -> None:
    """The connector's banner, the server's names and the TLS policy are the test's."""
    with smtplib.SMTP(*receiver.address()) as client:
        client.starttls(context=believing_context(maximum=ssl.TLSVersion.TLSv1_3))
        client.ehlo()

    (session,) = receiver.sessions
    assert session.server == "EDGE1"
    assert session.transcript[0] == "S: 220 hello"
    assert session.tls is not None
    assert session.tls["version"] == "TLSv1.3"


@pytest.mark.receiver(users={"alice": "open sesame", "CONTOSO\\bob": "secret"})
def test_users_log_on(receiver: BlockingReceiver) -> None:
    """Who logs on may send; a wrong password, however often, costs no time and no session."""
    with smtplib.SMTP(*receiver.address()) as client:
        client.starttls(context=believing_context())
        for _ in range(6):
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("alice", "wrong")
        client.login("alice", "open sesame")
        client.sendmail("a@example.test", "b@contoso.test", "Subject: Hello\r\n\r\nBody\r\n")

    assert receiver.sessions[-1].authenticated_as == "alice"
    assert "open sesame" not in receiver.report()
