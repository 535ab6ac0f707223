"""``serve``: how it starts, what it says, how it ends, and what can stand in its way."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import PATIENCE, PROGRAM, call, environment, on_free_ports, run, serving
from tests.lab import CONNECTOR, FQDN, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab import Lab


# -- what stands in its way: one line, exit code 2 or 3, never a traceback


def test_a_busy_port(lab: Lab) -> None:
    """Which binding, why, and what would do."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        where = f"127.0.0.1:{busy.getsockname()[1]}"
        answer = call("serve", "--config", lab.write(connector={"bindings": [where]}))

    assert (answer.code, answer.stdout, answer.mistakes) == (
        3,
        "",
        [f"{where}: the port is in use; stop the program that has it, or choose another port in bindings"],
    )


def test_an_address_of_another_machine(lab: Lab) -> None:
    """The same for an address that this machine does not have."""
    answer = call("serve", "--config", lab.write(connector={"bindings": ["192.0.2.1:2525"]}))

    assert (answer.code, answer.mistakes) == (
        3,
        ["192.0.2.1:2525: this machine has no such address; choose one of its own in bindings"],
    )


def store_missing(lab: Lab) -> str:
    """Leave no store at all."""
    shutil.rmtree(lab.store)
    return str(lab.store)


def store_is_a_file(lab: Lab) -> str:
    """Put a file in the store's place."""
    shutil.rmtree(lab.store)
    lab.store.write_text("a file")
    return str(lab.store)


def directory_missing(lab: Lab) -> str:
    """Take the directory file away."""
    path = lab.config.parent / "directory.yaml"
    path.unlink()
    return str(path)


def directory_broken(lab: Lab) -> str:
    """Break the directory file."""
    path = lab.config.parent / "directory.yaml"
    path.write_text("MX1: [")
    return str(path)


def journal_below_a_file(lab: Lab) -> str:
    """Put a file where the journal's folder should be."""
    (lab.folder / "var").write_text("a file")
    use(lab, "capture: {url: 'sqlite:///../var/capture.db'}")
    return str(lab.folder / "var" / "capture.db")


def journal_is_no_database(lab: Lab) -> str:
    """Put some other file in the journal's place."""
    lab.database.write_text(
        "this is no database, and longer than a header of one is, which has 100 octets; so " * 2
    )
    return str(lab.database)


def event_log_is_a_folder(lab: Lab) -> str:
    """Put a folder in the event log's place."""
    (lab.folder / "application.jsonl").mkdir()
    return str(lab.folder / "application.jsonl")


def use(lab: Lab, lines: str) -> None:
    """Replace a section of the configuration."""
    key = lines.partition(":")[0]
    kept = re.sub(rf"^{key}:.*\n(?:[ -].*\n)*", "", lab.config.read_text(), flags=re.MULTILINE)
    lab.config.write_text(f"{kept}{lines}\n")


@pytest.mark.parametrize(
    "spoil",
    [
        store_missing,
        store_is_a_file,
        directory_missing,
        directory_broken,
        journal_below_a_file,
        journal_is_no_database,
        event_log_is_a_folder,
    ],
)
def test_what_cannot_be_used_is_one_line(lab: Lab, spoil: Callable[[Lab], str]) -> None:
    """The file or folder is named first, and nothing listens."""
    lab.write()
    named = spoil(lab)
    answer = call("serve", "--config", lab.config)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
    assert answer.stderr.startswith(f"{named}: ")


def test_a_default_certificate_that_cannot_be_made(lab: Lab) -> None:
    """Its store is a file: one line that says so."""
    (lab.folder / "nowhere").write_text("a file")
    config = lab.write(server={"certificate_store": str(lab.folder / "nowhere"), "default_certificate": True})
    answer = call("serve", "--config", config)

    assert (answer.code, answer.stdout, len(answer.mistakes)) == (3, "", 1)
    assert str(lab.folder / "nowhere") in answer.stderr


@pytest.mark.slow
def test_a_port_below_1024_without_the_right(lab: Lab) -> None:
    """Who lacks the right is told what would do; root gives it up for this."""
    config = lab.write(connector={"bindings": ["127.0.0.1:1"]}, settings={"capture": {"url": None}})
    use(lab, "event_log: {format: jsonl, path: '-'}")
    dropped: list[str] = []
    if os.geteuid() == 0:
        # root without this one capability is as powerless here, and still reads what it needs.
        dropped = ["setpriv", "--bounding-set=-net_bind_service"]
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    assert lowest > 1, "this machine lets everybody have every port"
    done = subprocess.run(
        [*dropped, *PROGRAM, "serve", "--config", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert done.stderr.splitlines() == [
        "127.0.0.1:1: no right to listen on port 1; choose a port above 1023, or grant CAP_NET_BIND_SERVICE"
    ]


# -- what it says


@pytest.mark.slow
def test_it_says_where_it_listens_what_it_offers_and_what_to_try(tmp_path: Path) -> None:
    """The embedded default at its first start, as `make run` shows it."""
    config = on_free_ports(tmp_path, "receive.yaml")
    with introduced(config) as (process, lines):
        (made,) = re.findall(
            r"^MBX1: made certificate ([0-9A-F]{40}); the directory names the certificate$", lines[0]
        )
        title = re.fullmatch(
            r"MBX1: Default Frontend MBX1 on (127\.0\.0\.1:\d+)(?: and \[::1\]:\d+)?", lines[1]
        )
        assert title
        target = title[1]
        until = re.search(r"until (\d{4}-\d\d-\d\d)$", lines[2])
        assert until
        assert lines[2:] == [
            f"  X-ANONYMOUSTLS  yes  {made} until {until[1]}",
            f"  STARTTLS        yes  {made} until {until[1]}",
            "",
            "Three commands to try, in another terminal:",
            f"  {COMMAND} probe {target}",
            f"  swaks --from a@example.test --to b@contoso.test --pipe '{COMMAND} tunnel {target}'",
            f"  openssl s_client -connect {target} -starttls smtp -name client.test </dev/null",
            "What happened then:",
            f"  {COMMAND} session list --config {config}",
            f"  {COMMAND} message list --config {config}",
            f"  {COMMAND} event list --config {config}",
            LAST_LINE,
        ]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert [line for line in said.splitlines() if not line.startswith("warning: [::1]")] == [
        "stopping: open transactions get to finish",
        "stopped",
    ]


COMMAND = f"{PROGRAM[0]} -m smtpd_anontls"
LAST_LINE = "Ctrl-C stops it."


@contextmanager
def introduced(config: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the command until it has introduced itself; give the process and the lines that it has said."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--config", str(config)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while LAST_LINE not in lines:
            line = process.stdout.readline()
            assert line, (lines, process.communicate())
            lines.append(line.rstrip("\n"))
        yield process, lines
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.slow
def test_it_says_why_a_verb_is_not_offered(lab: Lab) -> None:
    """Below the connector, behind the verb; and every connector that is disabled is left out."""
    config = lab.write(directory=None, connector={"auth_mechanism": ["ExchangeServer"]})
    with introduced(config) as (_, lines):
        assert re.fullmatch(rf"{SERVER}: {CONNECTOR} on 127\.0\.0\.1:\d+", lines[0])
        assert lines[1:3] == [
            f"  X-ANONYMOUSTLS  no   msExchServerInternalTLSCert of {SERVER} is not set; event 12012",
            "  STARTTLS        no   Tls is not enabled: AuthMechanism is ExchangeServer",
        ]


@pytest.mark.slow
def test_for_programs_it_says_where_it_listens(lab: Lab) -> None:
    """--json: one object on stdout once it listens; the selections are those of the start."""
    with serving(lab.write(store={"internal": "soon"})) as receiver:
        address, port = receiver.address(SERVER)
        with socket.create_connection((address, port)) as peer:
            banner = peer.makefile("rb").readline()
        started = receiver.started

    assert banner.startswith(f"220 {FQDN} Microsoft ESMTP".encode())
    assert started["listening"] == [
        {"server": SERVER, "connector": CONNECTOR, "address": "127.0.0.1", "port": port}
    ]
    assert [(each["verb"], each["event_ids"]) for each in started["selections"]] == [
        ("X-ANONYMOUSTLS", [12017]),
        ("STARTTLS", []),
    ]


@pytest.mark.slow
def test_without_a_connector_that_listens_it_says_so(lab: Lab) -> None:
    """It serves all the same: a change of the configuration may enable one."""
    with serving(lab.write(connector={"enabled": False})) as receiver:
        assert {**receiver.started, "page": None} == {"listening": [], "selections": [], "page": None}


# -- how it ends


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0(lab: Lab, number: signal.Signals) -> None:
    """An idle session is told, and the end is said on stderr."""
    with serving(lab.write()) as receiver, socket.create_connection(receiver.address(SERVER)) as peer:
        wire = peer.makefile("rb")
        assert wire.readline().startswith(b"220 ")
        code = receiver.end(number)
        rest = wire.read()

    assert code == 0
    assert receiver.stderr.splitlines() == ["stopping: open transactions get to finish", "stopped"]
    assert rest == b"421 4.3.2 Service not active\r\n"
    (session,) = run("session", "list", "--json", "--config", lab.config).objects
    assert session["outcome"] == "shut_down"


@pytest.mark.slow
def test_a_signal_while_it_starts_ends_it_with_exit_code_0(lab: Lab) -> None:
    """It is not lost: the start is completed, and then it ends."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--config", str(lab.write())],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_handler(process.pid, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, said.splitlines()[-1]) == (0, "stopped")


def wait_for_handler(pid: int, number: signal.Signals) -> None:
    """Wait until a process handles a signal (proc(5): SigCgt)."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^SigCgt:\s+([0-9a-f]+)$", status, re.MULTILINE)
        if found and int(found[1], 16) & (1 << (number - 1)):
            return
        select.select([], [], [], 0.01)
    raise AssertionError("the process never handled the signal")


# -- what changes while it runs


@pytest.mark.slow
def test_sighup_reads_the_configuration_again(lab: Lab) -> None:
    """A mistake is told on stderr as it is by `check`, and it goes on serving."""
    with serving(lab.write()) as receiver:
        good = lab.config.read_text()
        lab.config.write_text(good.replace("Tls", "TLs", 1).replace("ExchangeServer", "ExchangeSever", 1))
        receiver.process.send_signal(signal.SIGHUP)
        assert receiver.process.stderr is not None
        line = receiver.process.stderr.readline()
        with socket.create_connection(receiver.address(SERVER)) as peer:
            banner = peer.makefile("rb").readline()

    assert line.startswith(
        f"warning: {lab.config}: servers[0].connectors[0].auth_mechanism[4]: 'ExchangeSever'"
    )
    assert banner.startswith(b"220 ")


@pytest.mark.slow
def test_a_directory_that_breaks_while_it_runs_is_unreadable(lab: Lab) -> None:
    """The next session is not offered X-ANONYMOUSTLS; mended, the one after that is."""
    with serving(lab.write()) as receiver:
        path = lab.config.parent / "directory.yaml"
        good = path.read_text()
        path.write_text("MX1: [")
        broken = run("probe", receiver.target(SERVER), "--json")
        path.write_text(good)
        mended = run("probe", receiver.target(SERVER), "--json")
        sessions = run("session", "list", "--json", "--config", lab.config).objects

    assert (broken.code, mended.code) == (1, 0)
    last = sessions[-1]["selections"][0]["steps"][-1]
    assert (last["step"], last["passed"]) == ("directory", False)
    assert "could not be read" in last["detail"]
