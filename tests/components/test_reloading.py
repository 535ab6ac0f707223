"""A running receiver takes over what changes: configuration, directory and store, with the very next session."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.certificates.issue import KeyType, issue
from smtpd_anontls.domain.certificate import thumbprint_of
from smtpd_anontls.notation.edit import write_atomically
from tests.components.journal_making import eventually
from tests.lab import CONNECTOR, FQDN, SERVER, all_ended
from tests.peer import PATIENCE, Peer, believing_context
from tests.running import accepts, connector, running
from tests.serving import served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from smtpd_anontls.receiver import Receiver
    from tests.lab import Lab

Json = dict[str, Any]


async def greeted(address: tuple[str, int]) -> list[str]:
    """Open a session, and return its banner and EHLO lines."""
    async with await Peer.connect(address) as peer:
        lines = await peer.reply()
        lines += await peer.ask("EHLO edge.test")
        await peer.ask("QUIT")
        return lines


async def offers(receiver: Receiver, connector: str = CONNECTOR) -> set[str]:
    """Return the TLS verbs that a new session is offered."""
    lines = await greeted(receiver.address(connector))
    return {verb for verb in ("STARTTLS", "X-ANONYMOUSTLS") if any(line[4:] == verb for line in lines)}


async def presented(address: tuple[str, int], verb: str = "X-ANONYMOUSTLS", version: str = "TLSv1.2") -> str:
    """Return the thumbprint of the certificate that a new session presents."""
    wanted = ssl.TLSVersion[version.replace(".", "_")]
    async with await Peer.connect(address) as peer:
        await peer.reply()
        await peer.ask("EHLO edge.test")
        assert (await peer.ask(verb))[0].startswith("220 ")
        await peer.upgrade(believing_context(wanted, wanted))
        return thumbprint_of(peer.presented() or b"")


async def events(receiver: Receiver, number: int) -> list[Json]:
    """Return the events of this id, oldest first."""
    return [event for event in (await receiver.journal.events())[::-1] if event["event_id"] == number]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listened on a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


# -- the configuration


async def test_auth_mechanism_counts_for_the_next_session(lab: Lab) -> None:
    """Without ExchangeServer the next session has no X-ANONYMOUSTLS; a session under way keeps what it was offered."""
    lab.write()
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)
        async with await Peer.connect(address) as peer:
            await peer.reply()
            before = await offers(receiver)
            lab.write(connector={"auth_mechanism": ["Tls"]})
            after = await offers(receiver)
            under_way = await peer.ask("EHLO edge.test")
            accepted = await peer.ask("X-ANONYMOUSTLS")
        lab.write()
        again = await offers(receiver)
        await all_ended(receiver)

    assert before == again == {"STARTTLS", "X-ANONYMOUSTLS"}
    assert after == {"STARTTLS"}
    assert "250-X-ANONYMOUSTLS" in under_way
    assert accepted[0].startswith("220 ")
    assert lab.warnings == []


async def test_the_tls_range_counts_for_the_next_session(lab: Lab) -> None:
    """A raised maximum lets the next session use TLS 1.3."""
    lab.write()
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)
        with pytest.raises(ssl.SSLError):
            await presented(address, version="TLSv1.3")
        lab.write(settings={"tls": {"minimum": "TLSv1.3", "maximum": "TLSv1.3"}})
        shown = await presented(address, version="TLSv1.3")
        with pytest.raises(ssl.SSLError):
            await presented(address, version="TLSv1.2")
        await all_ended(receiver)

    assert shown == lab.certificate("internal").thumbprint


async def test_the_servers_name_counts_for_the_next_session(lab: Lab) -> None:
    """A new FQDN of the server is in banner and EHLO."""
    lab.write()
    async with running(lab) as receiver:
        lab.write(server={"fqdn": "renamed.lab.test"})
        lines = await greeted(receiver.address(CONNECTOR))
        await all_ended(receiver)

    assert lines[0].startswith("220 renamed.lab.test ")
    assert lines[1] == "250-renamed.lab.test Hello [127.0.0.1]"


async def test_bindings_are_opened_and_closed(lab: Lab) -> None:
    """A new binding is listened on, one that was removed no longer is; those that stay keep their socket."""
    stays, goes, comes = free_ports(3)
    lab.write(connector={"bindings": [f"127.0.0.1:{stays}", f"127.0.0.1:{goes}"]})
    async with running(lab) as receiver:
        async with await Peer.connect(("127.0.0.1", goes)) as under_way:
            await under_way.reply()
            lab.write(connector={"bindings": [f"127.0.0.1:{stays}", f"127.0.0.1:{comes}"]})
            await greeted(("127.0.0.1", stays))
            listening = [accepts(("127.0.0.1", port)) for port in (stays, goes, comes)]
            still = await under_way.ask("NOOP")
        await greeted(("127.0.0.1", comes))
        bound = {each.binding.port for each in receiver.bound}
        await all_ended(receiver)

    assert listening == [True, False, True]
    assert bound == {stays, comes}
    assert still == ["250 2.0.0 OK"]


async def test_bindings_to_port_0_keep_their_ports(lab: Lab) -> None:
    """Each of two bindings to port 0 keeps the port that it was given; a changed binding gets a new one."""
    lab.write(connector={"bindings": ["127.0.0.1:0", "127.0.0.2:0"]})
    async with running(lab) as receiver:
        before = {str(each.binding) for each in receiver.bound}
        lab.write(connector={"bindings": ["127.0.0.1:0", "127.0.0.2:0"], "banner": "changed"})
        lines = await greeted(receiver.address(CONNECTOR))
        after = {str(each.binding) for each in receiver.bound}
        lab.write(connector={"bindings": ["127.0.0.2:0", "127.0.0.3:0"]})
        stays = next(each.binding for each in receiver.bound if str(each.binding).startswith("127.0.0.2:"))
        await greeted((str(stays.address), stays.port))
        last = {str(each.binding) for each in receiver.bound}
        await all_ended(receiver)

    assert lines[0] == "220 changed"
    assert after == before
    assert {address.split(":")[0] for address in last} == {"127.0.0.2", "127.0.0.3"}
    assert len(last & before) == 1


async def test_a_specific_binding_may_become_a_wildcard(lab: Lab) -> None:
    """The wildcard of the same port takes the place of one address, and gives it back."""
    (port,) = free_ports(1)
    lab.write(connector={"bindings": [f"127.0.0.1:{port}"]})
    async with running(lab) as receiver:
        wildcard = "0.0.0.0"  # noqa: S104 - for the length of a test
        for binding in (wildcard, "127.0.0.1", wildcard):
            lab.write(connector={"bindings": [f"{binding}:{port}"], "banner": binding})
            await receiver.refresh()
            lines = await greeted(("127.0.0.1", port))
            assert lines[0] == f"220 {binding}"
        await all_ended(receiver)

    assert lab.warnings == []


async def test_a_port_in_use_costs_that_binding_alone(lab: Lab) -> None:
    """A new binding that somebody has is left out with a warning; the rest of the change holds, and SIGHUP tries again."""
    lab.write()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running(lab) as receiver:
            lab.write(connector={"bindings": ["127.0.0.1:0", f"127.0.0.1:{port}"], "banner": "changed"})
            lines = await greeted(receiver.address(CONNECTOR))
            bound = len(receiver.bound)
            taken.close()
            await receiver.refresh(force=True)
            there = await greeted(("127.0.0.1", port))
            await all_ended(receiver)

    assert lines[0] == there[0] == "220 changed"
    assert bound == 1
    (warning,) = lab.warnings
    assert warning.startswith(f"127.0.0.1:{port}: the port is in use; ")


async def test_connectors_come_and_go(lab: Lab) -> None:
    """A connector that was added listens; one that was removed or disabled does not."""
    lab.write(server={"connectors": [connector("one"), connector("two")]})
    async with running(lab) as receiver:
        one, two = receiver.address("one"), receiver.address("two")
        lab.write(server={"connectors": [connector("one"), connector("three", banner="three")]})
        await greeted(one)
        assert receiver.address("one") == one
        assert (await greeted(receiver.address("three")))[0] == "220 three"
        assert not accepts(two)
        with pytest.raises(KeyError, match="'two'"):
            receiver.address("two")
        lab.write(server={"connectors": [connector("one"), connector("three", enabled=False)]})
        await greeted(one)
        assert [each.connector.name for each in receiver.bound] == ["one"]
        await all_ended(receiver)


async def test_a_server_comes_with_its_store(lab: Lab) -> None:
    """A second server, with a store and a directory entry of its own, is served by the next session."""
    lab.write()
    async with running(lab) as receiver:
        made = issue(["MX2", "mx2.lab.test"], now=lab.certificate("internal").not_before, key_type=KeyType.EC)
        folder = lab.folder / "certs2"
        folder.mkdir()
        (folder / "mx2.pem").write_bytes(made.certificate_pem + made.key_pem)
        add_entry(lab, "MX2", made.certificate.thumbprint)
        content = yaml.safe_load(lab.config.read_text())
        second = {"name": "MX2", "fqdn": "mx2.lab.test", "certificate_store": str(folder)}
        content["servers"].append({**second, "connectors": [connector("second")]})
        write_atomically(lab.config, yaml.safe_dump(content))
        await greeted(receiver.address(CONNECTOR))
        shown = await presented(receiver.address("second", "MX2"))
        await all_ended(receiver)

    assert shown == made.certificate.thumbprint


def add_entry(lab: Lab, server: str, thumbprint: str) -> None:
    """Let the directory name a certificate for another server."""
    path = lab.config.parent / "directory.yaml"
    path.write_text(path.read_text() + yaml.safe_dump({server: {"msExchServerInternalTLSCert": thumbprint}}))


async def test_what_takes_effect_at_the_next_start_says_so(lab: Lab) -> None:
    """A changed journal or event log is one warning each, and so is a property that is not honoured yet."""
    lab.write()
    async with running(lab) as receiver:
        lab.write(
            connector={"domain_secure_enabled": True},
            settings={"capture": {"url": None}, "event_log": {"format": "jsonl", "path": "../other.jsonl"}},
        )
        await greeted(receiver.address(CONNECTOR))
        await receiver.refresh(force=True)
        await all_ended(receiver)

    ends = sorted(warning.removeprefix(f"{lab.config}: ") for warning in lab.warnings)
    assert ends == [
        "capture: the change takes effect at the next start",
        "event_log: the change takes effect at the next start",
        "servers[0].connectors[0].domain_secure_enabled: accepted, but not yet honoured",
    ]


# -- a configuration that cannot be taken


async def test_a_broken_file_changes_nothing(lab: Lab) -> None:
    """Sessions go on as before; each mistake is a warning, and event 1003 has the first; mending it counts at once."""
    lab.write()
    good = lab.config.read_text()
    async with running(lab) as receiver:
        lab.config.write_text(good.replace("ExchangeServer", "ExchangeSever").replace("fqdn", "fqqn"))
        assert await offers(receiver) == {"STARTTLS", "X-ANONYMOUSTLS"}
        told = list(lab.warnings)
        lab.config.unlink()
        assert await offers(receiver) == {"STARTTLS", "X-ANONYMOUSTLS"}
        lab.write(connector={"banner": "mended"})
        assert (await greeted(receiver.address(CONNECTOR)))[0] == "220 mended"
        first, second = await events(receiver, 1003)
        await all_ended(receiver)

    assert len(told) == 3
    assert any("servers[0].fqqn: " in line for line in told)
    assert any("'ExchangeSever'" in line for line in told)
    assert first["inserts"] == [told[0]]
    assert first["message"].endswith(f"The description of the configuration error is: {told[0]}.")
    assert (first["source"], first["connector"], first["level"]) == ("MSExchangeTransport", None, "Error")
    assert second["inserts"][0].endswith("there is no such file")


async def test_a_broken_rule_keeps_that_connector_alone(lab: Lab) -> None:
    """A connector that breaks a rule stays as it was, with 1003 or 1032; the change of another holds."""
    lab.write(
        server={"connectors": [connector("front"), connector("hub", "HubTransport"), connector("third")]}
    )
    async with running(lab) as receiver:
        changed = [
            connector("front", auth_mechanism=["BasicAuthRequireTLS"], banner="front"),
            connector(
                "hub", "HubTransport", auth_mechanism=["ExchangeServer"], require_tls=True, banner="hub"
            ),
            connector("third", banner="third"),
            connector("new", auth_mechanism=["Integrated", "ExternalAuthoritative"]),
        ]
        lab.write(server={"connectors": changed})
        banners = [(await greeted(receiver.address(name)))[0] for name in ("front", "hub", "third")]
        offered = [await offers(receiver, name) for name in ("front", "hub")]
        names = [each.connector.name for each in receiver.bound]
        invalid, without_tls = await events(receiver, 1003), await events(receiver, 1032)
        await all_ended(receiver)

    assert [banner.startswith(f"220 {FQDN} ") for banner in banners] == [True, True, False]
    assert banners[2] == "220 third"
    assert offered == [{"STARTTLS", "X-ANONYMOUSTLS"}] * 2
    assert names == ["front", "hub", "third"]
    placed = [(event["connector"], event["source"], event["server"]) for event in invalid]
    assert placed == [
        ("front", "MSExchangeFrontEndTransport", SERVER),
        ("new", "MSExchangeFrontEndTransport", SERVER),
    ]
    assert "BasicAuthRequireTLS needs BasicAuth and Tls" in invalid[0]["message"]
    assert invalid[0]["message"].startswith(
        "The configuration of one of the SMTP Receive connectors is invalid."
    )
    (event,) = without_tls
    assert (event["connector"], event["source"], event["inserts"]) == ("hub", "MSExchangeTransport", [])
    assert event["message"].startswith(
        "The Receive connector requires TLS before the MailFrom command can be run."
    )
    assert len(lab.warnings) == 3


async def test_two_connectors_of_one_name_leave_the_first_as_it_was(lab: Lab) -> None:
    """A doubled name is a broken rule; the connector there was goes on, once."""
    lab.write()
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)
        lab.write(server={"connectors": [connector(CONNECTOR, banner="1"), connector(CONNECTOR, banner="2")]})
        lines = await greeted(address)
        bound = len(receiver.bound)
        await all_ended(receiver)

    assert lines[0].startswith(f"220 {FQDN} ")
    assert bound == 1


# -- directory and store


async def test_directory_and_store_count_for_the_next_session(lab: Lab) -> None:
    """What the directory names and the store holds is what the next session finds, change by change."""
    lab.write()
    directory = lab.config.parent / "directory.yaml"
    named = directory.read_text()
    pem = lab.store / "internal.pem"
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)
        seen: list[Any] = [await presented(address) == lab.certificate("internal").thumbprint]

        directory.write_text("MX1: {msExchServerInternalTLSCert: null}\n")
        seen.append(await offers(receiver))
        directory.write_text("MX1: {readable: false}\n")
        seen.append(await offers(receiver))
        directory.write_text("MX1: {\n")
        seen.append(await offers(receiver))
        directory.unlink()
        seen.append(await offers(receiver))
        directory.write_text(
            named.replace(lab.certificate("internal").thumbprint, lab.certificate(FQDN).thumbprint)
        )
        seen.append(await presented(address) == lab.certificate(FQDN).thumbprint)

        directory.write_text(named)
        kept = pem.read_bytes()
        pem.unlink()
        seen.append(await offers(receiver))
        made = issue([SERVER, FQDN], now=lab.certificate("internal").not_before, key_type=KeyType.EC)
        pem.write_bytes(made.certificate_pem + made.key_pem)
        directory.write_text(f"MX1: {{msExchServerInternalTLSCert: {made.certificate.thumbprint}}}\n")
        seen.append(await presented(address) == made.certificate.thumbprint)
        pem.write_bytes(kept)
        directory.write_text(named)
        seen.append(await presented(address) == lab.certificate("internal").thumbprint)
        await all_ended(receiver)

    only = {"STARTTLS"}
    assert seen == [True, only, only, only, only, True, only, True, True]


# -- many changes at once


def in_place(path: Path, text: str) -> None:
    """Write as a simple editor does: the file is empty for a moment."""
    path.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_atomically, in_place])
async def test_every_session_sees_a_whole_configuration(lab: Lab, write: Callable[[Path, str], None]) -> None:
    """While the file is written 50 times, no session fails, and one opened after a write shows what was written.

    Each writing changes server, connector and TLS range together; a session must see all of one.
    """
    texts = [variant(lab, number) for number in range(51)]
    write(lab.config, texts[0])
    begun = returned = 0
    seen: list[int] = []
    done = asyncio.Event()
    async with running(lab) as receiver:
        address = receiver.address(CONNECTOR)

        async def open_sessions() -> None:
            while not done.is_set():
                oldest = returned
                number = await variant_shown(address)
                assert oldest <= number <= begun
                seen.append(number)

        async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as visitors:
            for _ in range(4):
                visitors.create_task(open_sessions())
            for number in range(1, 51):
                begun = number
                await asyncio.to_thread(write, lab.config, texts[number])
                returned = number
                assert await variant_shown(address) == number
                # Some changes come on the heels of another, some when the file has settled.
                await asyncio.sleep(0.15 if number % 5 == 0 else 0)
            done.set()
        await all_ended(receiver)
        sessions = await receiver.journal.sessions(limit=10_000)

    assert len(set(seen)) > 25
    assert {session["outcome"] for session in sessions} == {"quit_without_mail"}
    # Nobody complains of a file that is being written, unless a busy disk takes seconds for it.
    assert [line for line in lab.warnings if write is write_atomically or "is empty" not in line] == []


def variant(lab: Lab, number: int) -> str:
    """Return a configuration that shows its number in banner, SIZE and TLS version."""
    lab.write(
        server={"fqdn": f"n{number}.lab.test"},
        connector={"max_message_size": 1_000_000 + number},
        settings={"tls": dict.fromkeys(("minimum", "maximum"), version_of(number))},
    )
    return lab.config.read_text()


def version_of(number: int) -> str:
    """Return the TLS version of a variant."""
    return "TLSv1.3" if number % 2 else "TLSv1.2"


async def variant_shown(address: tuple[str, int]) -> int:
    """Open a session, and return the number of the one variant that it shows."""
    async with await Peer.connect(address) as peer:
        (banner,) = await peer.reply()
        number = int(banner.removeprefix("220 n").partition(".")[0])
        hello = await peer.ask("EHLO edge.test")
        assert hello[0].startswith(f"250-n{number}.lab.test ")
        assert f"250-SIZE {1_000_000 + number}" in hello
        assert (await peer.ask("X-ANONYMOUSTLS"))[0].startswith("220 ")
        version = ssl.TLSVersion[version_of(number).replace(".", "_")]
        await peer.upgrade(believing_context(version, version))
        assert (await peer.ask("QUIT"))[0].startswith("221 ")
        return number


# -- the real command


@pytest.mark.slow
async def test_sighup_reads_the_configuration_again(lab: Lab) -> None:
    """SIGHUP takes a change over, tells of a broken file, and never ends the process."""
    lab.write()
    async with served(lab.config) as server:
        port = free_ports(1)[0]
        lab.write(connector={"bindings": ["127.0.0.1:0", f"127.0.0.1:{port}"], "banner": "after SIGHUP"})
        server.process.send_signal(signal.SIGHUP)
        await eventually(lambda: listens(port))
        lines = await greeted(("127.0.0.1", port))
        lab.config.write_text("servers: [")
        server.process.send_signal(signal.SIGHUP)
        warning = await server.says(r"warning: .*lab\.yaml: line \d+: ")
        still = await greeted(server.address)

    assert lines[0] == still[0] == "220 after SIGHUP"
    assert "Traceback" not in "".join(server.stderr)
    assert warning.string in server.stderr
    assert server.process.returncode == 0


async def listens(port: int) -> bool:
    """Whether somebody listens on the port."""
    return accepts(("127.0.0.1", port))
