"""What ``Dockerfile``, ``docker-compose.yml`` and ``deploy`` promise, as far as it can be seen without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from smtpd_anontls.settings.load import load_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = "smtpd-anontls.service"
STATE = "/var/lib/smtpd-anontls"
# Seconds until a command that does not end fails its test; pip may have to fetch all dependencies.
PATIENCE = 300.0
# systemd-analyze rates 0 (locked up) to 10 (open); in tenths, as --threshold takes it.
MOST_EXPOSED = 15


# -- Dockerfile


@dataclass(frozen=True)
class Instruction:
    """A line of the Dockerfile."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words behind the name and its --options; of the exec form, its strings."""
        text = re.sub(r"^(--\S+ )+", "", self.text)
        return json.loads(text) if text.startswith("[") else shlex.split(text)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that ENV sets."""
        return dict(word.split("=", 1) for word in self.words)


def stages() -> list[list[Instruction]]:
    """Return the Dockerfile's instructions, stage by stage."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Instruction(name, rest.strip()))
    return found


BUILD, FINAL = stages()


def one(name: str) -> Instruction:
    """Return the only instruction of that name in the stage that runs."""
    (found,) = [each for each in FINAL if each.name == name]
    return found


def health_check() -> list[str]:
    """Return the command of the image's health check."""
    _, _, command = one("HEALTHCHECK").text.partition("CMD ")
    words: list[str] = json.loads(command)
    return words


def sources() -> list[str]:
    """Return what the Dockerfile copies from the source tree."""
    copied = [each for each in (*BUILD, *FINAL) if each.name == "COPY" and "--from=" not in each.text]
    return [source for each in copied for source in each.words[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets *path* through to the build."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
        if re.fullmatch(pattern.replace(r"\*", "[^/]*") + "(?:/.*)?", path):
            sent = line.startswith("!")
    return sent


def test_the_image_runs_as_nobody_in_particular() -> None:
    """The image runs under a fixed user that is not root, and stops in the way that drains sessions."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", one("USER").text)
    assert one("STOPSIGNAL").text == "SIGTERM"
    assert one("VOLUME").text == STATE


def test_the_image_listens_where_it_says() -> None:
    """The binding of the image, the port that it exposes and the one of its health check are the same."""
    loaded = load_config(
        ROOT / "config" / "receive.yaml", environ=one("ENV").environment, machine_fqdn="image.test"
    )
    bindings = [str(each) for each in loaded.settings.servers[0].server.connectors[0].bindings]
    port = one("EXPOSE").text

    assert bindings == [f"0.0.0.0:{port}"]
    assert f"127.0.0.1:{port}" in health_check()


def test_what_the_image_is_made_of_is_sent_to_the_build() -> None:
    """Every source of a COPY exists, and .dockerignore lets it through."""
    assert sources()
    assert [source for source in sources() if not ((ROOT / source).exists() and is_sent(source))] == []
    assert is_sent("smtpd_anontls/cli/serve.py")


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "certs/mbx1.pem",
        "config/directory.yaml",
        "smtpd_anontls/cli/__pycache__/serve.pyc",
        "tests/lab.py",
        "var/capture.db",
    ],
)
def test_nothing_else_is_sent_to_the_build(path: str) -> None:
    """No key, no journal and no history reaches the image's layers."""
    assert not is_sent(path)


@pytest.mark.slow
def test_the_commands_of_the_image_work(tmp_path: Path) -> None:
    """The build's steps, the entry point, the health check and an edit work in a folder, as the image has them."""
    context = tmp_path / "src"
    for source in sources():
        _send(source, context)
    moved = {"/opt/": f"{tmp_path}/opt/", "/var/lib": f"{tmp_path}/var/lib"}
    for step in (each for each in BUILD if each.name == "RUN"):
        command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", _moved(step.text, moved))
        subprocess.run(["sh", "-ec", command], cwd=context, check=True, timeout=PATIENCE)
    environment = {name: _moved(value, moved) for name, value in one("ENV").environment.items()}
    environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
    # Any port will do here; the image's own is nobody else's only inside a container.
    environment["SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__BINDINGS"] = "127.0.0.1:0"
    environment["SMTPD_ANONTLS__WEB__BIND"] = "127.0.0.1:0"

    with serving([*one("ENTRYPOINT").words, *one("CMD").words], tmp_path, environment) as (running, target):
        check = [word.replace("127.0.0.1:2525", target) for word in health_check()]
        healthy = _run(check, tmp_path, environment)
        edit = [
            "connector",
            "set",
            "Default Frontend MBX1",
            "--max-message-size",
            "1MB",
        ]
        edited = _run([*one("ENTRYPOINT").words, *edit], tmp_path, environment)
        probed = _run([*check, "--json"], tmp_path, environment)
        running.send_signal(signal.SIGTERM)
        code = running.wait(PATIENCE)

    assert healthy.returncode == 0
    assert edited.returncode == 0, edited.stderr
    assert "SIZE 1048576" in json.loads(probed.stdout)["ehlo"]
    assert code == 0
    assert {each.name for each in (tmp_path / "var/lib/smtpd-anontls").iterdir()} == {
        "certs",
        "config",
        "var",
    }


# -- docker-compose.yml


def receiver() -> dict[str, Any]:
    """Return the service of docker-compose.yml."""
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    service: dict[str, Any] = document["services"]["receiver"]
    return service


def against_the_schema(path: Path) -> subprocess.CompletedProcess[str]:
    """Validate a file against the Compose schema that check-jsonschema brings along."""
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_compose_file_is_valid(tmp_path: Path) -> None:
    """docker-compose.yml satisfies the Compose schema; a misspelt key in it would not."""
    misspelt = tmp_path / "docker-compose.yml"
    misspelt.write_text((ROOT / "docker-compose.yml").read_text().replace("read_only:", "readonly:"))

    assert against_the_schema(ROOT / "docker-compose.yml").returncode == 0
    assert against_the_schema(misspelt).returncode == 1


def test_compose_file_gives_the_receiver_no_more_than_it_needs() -> None:
    """The receiver gets a read-only file system, no capability, one volume, and a port of this machine alone."""
    service = receiver()

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == [f"state:{STATE}"]
    assert service["ports"] == [f"127.0.0.1:2525:{one('EXPOSE').text}"]


def test_compose_file_checks_health_as_the_image_does() -> None:
    """The health check, which some image formats cannot carry, is the same in both files."""
    wanted = receiver()["healthcheck"]
    options = dict(re.findall(r"--(\S+)=(\S+)", one("HEALTHCHECK").text.partition("CMD")[0]))

    assert wanted["test"] == ["CMD", *health_check()]
    assert {name.replace("_", "-"): value for name, value in wanted.items() if name != "test"} == options


def test_the_profile_scale_fits_its_files() -> None:
    """HAProxy gets what its file asks for, each receiver has the address it is sent to, and they trust HAProxy's."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    given = services["haproxy"]["environment"]
    text = (DEPLOY / "scale" / "haproxy.cfg").read_text()
    asked = set(re.findall(r"\$\{(\w+)\}", text))
    loaded = load_config(
        DEPLOY / "scale" / "receive.yaml",
        environ=services["receiver-1"]["environment"],
        machine_fqdn="scale.test",
    )
    connector = loaded.settings.servers[0].server.connectors[0]
    page = loaded.settings.web.bind
    assert page is not None

    assert asked == set(given)
    for number in (1, 2, 3):
        address = address_of(services[f"receiver-{number}"])
        assert given[f"RECEIVER_{number}_SMTP"] == f"{address}:{connector.bindings[0].port}"
        assert given[f"RECEIVER_{number}_PAGE"] == f"{address}:{page.port}"
        assert services[f"receiver-{number}"]["profiles"] == ["scale"]
    assert [str(each) for each in connector.trusted_proxies] == [address_of(services["haproxy"])]
    assert loaded.findings == ()


def address_of(service: dict[str, Any]) -> str:
    """Return the address that a service has in the network of the profile."""
    address: str = service["networks"]["scale"]["ipv4_address"]
    return address


# -- systemd


@pytest.mark.slow
def test_unit_is_valid_and_hardened(tmp_path: Path) -> None:
    """systemd-analyze finds nothing wrong with the unit and little that it leaves open; it would see a misspelt key."""
    program = tmp_path / "smtpd-anontls"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    text = (DEPLOY / UNIT).read_text()
    unit = tmp_path / UNIT
    unit.write_text(text.replace("/opt/smtpd-anontls/bin/smtpd-anontls", str(program)))
    verified = _run(["systemd-analyze", "verify", "--man=no", str(unit)], tmp_path)
    rated = _run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={MOST_EXPOSED}",
            str(unit),
        ],
        tmp_path,
    )
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    misspelt = _run(["systemd-analyze", "verify", "--man=no", str(unit)], tmp_path)

    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert rated.returncode == 0, rated.stdout
    assert "ProtectHouse" in misspelt.stderr


def test_unit_stands_on_what_the_command_promises() -> None:
    """The unit ends, reloads and restarts the receiver by the signals and the exit codes that it has."""
    keys = dict(re.findall(r"(?m)^(\w+)=(.*)$", (DEPLOY / UNIT).read_text()))

    assert keys["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert keys["Restart"] == "on-failure"
    assert keys["RestartPreventExitStatus"] == "2"
    assert keys["AmbientCapabilities"] == keys["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert keys["Environment"] == "XDG_STATE_HOME=%S"
    assert f"/var/lib/{keys['StateDirectory']}" == STATE


@pytest.mark.slow
def test_user_of_the_unit_is_made(tmp_path: Path) -> None:
    """systemd-sysusers makes the user that the unit runs as."""
    (tmp_path / "etc").mkdir()
    made = _run(
        ["systemd-sysusers", f"--root={tmp_path}", str(DEPLOY / "smtpd-anontls.sysusers.conf")], tmp_path
    )
    users = (tmp_path / "etc" / "passwd").read_text()

    assert made.returncode == 0, made.stderr
    assert re.search(rf"(?m)^smtpd-anontls:.*:{STATE}:/usr/sbin/nologin$", users)


@pytest.mark.slow
def test_receiver_does_nothing_that_unit_and_container_forbid(tmp_path: Path) -> None:
    """From start to stop the receiver keeps to the unit's system calls and sockets, and writes its state alone."""
    trace = tmp_path / "trace"
    state = tmp_path / "state"
    state.mkdir()
    command = ["strace", "-f", "-qq", "-o", str(trace), sys.executable, "-m", "smtpd_anontls", "serve"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_STATE_HOME": str(state),
        "SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__BINDINGS": "127.0.0.1:0",
        "SMTPD_ANONTLS__WEB__BIND": "127.0.0.1:0",
    }
    mail = ["swaks", "--from", "a@example.test", "--to", "b@contoso.test"]
    program = shlex.join([sys.executable, "-m", "smtpd_anontls"])
    with serving(command, state, environment) as (running, target):
        # strace -o begins each line with the process; the first is the receiver's own.
        receiver_id = int(trace.read_text().split(maxsplit=1)[0])
        by_starttls = _run([*mail, "--server", target, "--tls"], state, environment)
        by_tunnel = _run([*mail, "--pipe", f"{program} tunnel {target}"], state, environment)
        os.kill(receiver_id, signal.SIGHUP)
        after_reload = _run([*mail, "--server", target, "--tls"], state, environment)
        os.kill(receiver_id, signal.SIGTERM)
        code = running.wait(PATIENCE)
    lines = trace.read_text().splitlines()

    assert [by_starttls.returncode, by_tunnel.returncode, after_reload.returncode, code] == [0, 0, 0, 0]
    # Only root gives files to others, and goes on where it may not.
    assert _called(lines) - _allowed_calls() <= {"fchown"}
    assert _families(lines) <= set(_unit_words("RestrictAddressFamilies"))
    assert [line for line in lines if re.search(r"PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC", line)] == []
    assert _written(lines, state) == []


# -- what the tests are made of


def _send(source: str, context: Path) -> None:
    """Copy *source* into the build's folder, as far as .dockerignore lets it through."""
    found = ROOT / source
    for path in [found] if found.is_file() else found.rglob("*"):
        name = path.relative_to(ROOT)
        if path.is_file() and is_sent(str(name)):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, context / name)


def _moved(text: str, moved: Mapping[str, str]) -> str:
    for old, new in moved.items():
        text = text.replace(old, new)
    return text


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0], path=(environment or os.environ)["PATH"])
    assert program is not None, f"{command[0]} is not here"
    return subprocess.run(
        [program, *command[1:]],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def serving(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command that serves until the block ends; give it and the address on which it listens."""
    program = shutil.which(command[0], path=environment["PATH"])
    assert program is not None, f"{command[0]} is not here"
    with subprocess.Popen(
        [program, *command[1:], "--json"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            bound = json.loads(running.stdout.readline())["listening"][0]
            yield running, f"{bound['address']}:{bound['port']}"
        finally:
            if running.poll() is None:
                running.kill()


def _unit_words(key: str) -> list[str]:
    values = re.findall(rf"(?m)^{key}=(.*)$", (DEPLOY / UNIT).read_text())
    return [word for value in values for word in value.split()]


def _allowed_calls() -> set[str]:
    """Return the system calls that the unit allows: the groups that it names, less those behind a tilde."""
    groups: dict[str, list[str]] = {}
    for line in _run(["systemd-analyze", "syscall-filter", "--no-pager"], ROOT).stdout.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())

    def of(name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        return {call for member in groups[name] for call in of(member)}

    allowed, forbidden = re.findall(r"(?m)^SystemCallFilter=(~?)(.*)$", (DEPLOY / UNIT).read_text())
    assert (allowed[0], forbidden[0]) == ("", "~")
    calls = {call for name in allowed[1].split() for call in of(name)}
    return calls - {call for name in forbidden[1].split() for call in of(name)}


def _called(lines: Sequence[str]) -> set[str]:
    return {found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line))}


def _families(lines: Sequence[str]) -> set[str]:
    return {found[1] for line in lines if (found := re.match(r"\d+ +socket(?:pair)?\((\w+)", line))}


def _written(lines: Sequence[str], state: Path) -> list[str]:
    """Return the lines in which something beside the state, a temporary file or a device is written."""
    writing = re.compile(
        r'\d+ +(?:open(?:at)?\([^"]*"(?P<opened>[^"]+)".*(?:O_WRONLY|O_RDWR|O_CREAT)'
        r'|(?:mkdir|rename|unlink|rmdir|link|symlink|chmod|truncate)(?:at2?)?\([^"]*"(?P<changed>[^"]+)")'
    )
    beside = []
    for line in lines:
        if found := writing.match(line):
            path = state / (found["opened"] or found["changed"])
            if not path.is_relative_to(state) and not path.is_relative_to("/dev"):
                beside.append(line)
    return beside
