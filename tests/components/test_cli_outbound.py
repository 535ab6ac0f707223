"""``explain --outbound``: what a server loads when it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import call
from tests.lab import SERVER

if TYPE_CHECKING:
    from tests.lab import Lab


def test_a_mailbox_server_to_its_edge_server(lab: Lab) -> None:
    """The steps, and what is loaded; nothing is asked for that a connector would decide."""
    answer = call("explain", "--outbound", "--config", lab.write())
    internal = lab.certificate("internal").thumbprint
    lines = answer.stdout.splitlines()

    assert (answer.code, answer.stderr) == (0, "")
    assert lines[0] == f"{SERVER}: sending, queue SmtpRelayWithinAdSitetoEdge"
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["yes", "delivery_type"],
        ["yes", "directory"],
        ["yes", "certificate_store"],
        ["yes", "validity"],
    ]
    assert lines[5] == f"  => {internal} is loaded, for direct trust"


def test_the_selection_as_json(lab: Lab) -> None:
    """The object that every surface shows; the delivery stands in the place of the connector."""
    (selection,) = call("explain", "--outbound", "--config", lab.write(), "--json").document

    assert selection["connector"] == "queue SmtpRelayWithinAdSitetoEdge"
    assert (selection["verb"], selection["advertised"]) == ("X-ANONYMOUSTLS", True)
    assert selection["certificate"]["thumbprint"] == lab.certificate("internal").thumbprint


def test_an_edge_server_to_the_internet(lab: Lab) -> None:
    """Its Send connector decides, by mechanism and address space."""
    edge = ("explain", "--outbound", "--config", lab.write(), "--set", "servers[0].role=Edge")
    answer = call(*edge, "--address-space", "*")

    assert answer.stdout.splitlines()[-2] == "  => no certificate is loaded"
    (selection,) = call(*edge, "--smart-host-auth", "None", "--json").document
    assert selection["certificate"] is None
    assert selection["steps"][-1]["step"] == "smart_host_auth"


def test_an_event_is_told(lab: Lab) -> None:
    """What the sending server would write."""
    config = lab.write(store={"internal": "expired"})
    answer = call("explain", "--outbound", "--server", SERVER, "--config", config)

    assert "it is loaded all the same" in answer.stdout
    assert "event 12015 (Warning): An internal transport certificate expired." in answer.stdout


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (("--outbound", "--verb", "STARTTLS"), "--verb is about receiving, --outbound about sending; leave one of them out"),
        (("--outbound", "--remote-ip", "10.1.2.3"), "--remote-ip is about receiving, "),
        (("--outbound", "--connector", "any"), "--connector is about receiving, "),
        (("--delivery-type", "SmtpRelayToDag"), "--delivery-type goes with --outbound"),
        (("--address-space", "*"), "--address-space goes with --outbound"),
        (("--outbound", "--smart-host-auth", "Kerberos"), "--smart-host-auth: 'Kerberos' is not one of None, BasicAuth"),
        (("--outbound", "--server", "MBX9"), "--server: 'MBX9' is not one of MX1"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(lab: Lab, words: tuple[str, ...], mistake: str) -> None:
    """One line, exit code 2."""
    answer = call("explain", *words, "--config", lab.write())

    assert answer.code == 2
    assert answer.stderr.startswith(mistake)
