"""The examples for continuous integration: services take them as they are, and their commands do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import PATIENCE, ROOT, environment

CI = ROOT / "examples" / "ci"
# The schema of each service that check-jsonschema brings along.
SCHEMAS = {
    "github-actions.yml": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab-ci.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
}
# What sets up the machine is not for a test.
SETTING_UP = ("apt-get ", "sudo ", "python -m pip ")
STARTING = "smtpd-anontls serve "


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """Validate a file against the schema of its service."""
    program = Path(sys.executable).with_name("check-jsonschema")
    return subprocess.run(
        [program, *SCHEMAS[path.name], str(path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def commands(name: str, job: str) -> list[str]:
    """Return what a job runs, in its order, but for what sets up the machine."""
    content: Any = yaml.safe_load((CI / name).read_text())
    if name == "github-actions.yml":
        steps = content["jobs"][job]["steps"]
        scripts = [step["run"] for step in steps if "run" in step and "if" not in step]
    else:
        scripts = content[job]["script"]
    lines = [line for script in scripts for line in script.splitlines()]
    return [line for line in lines if not line.startswith((*SETTING_UP, "#"))]


def test_every_example_is_tested() -> None:
    """A new file needs a schema above."""
    assert {path.name for path in CI.iterdir()} == set(SCHEMAS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_service_takes_it(name: str, tmp_path: Path) -> None:
    """The file is valid against the service's schema, and a misspelt key would not be."""
    taken = check(CI / name)
    spoilt = tmp_path / name
    spoilt.write_text(
        (CI / name).read_text().replace("timeout", "time_out").replace("artifacts:", "image: [1]\n  x:")
    )
    refused = check(spoilt)

    assert taken.returncode == 0, taken.stdout
    assert refused.returncode == 1, refused.stdout


def test_both_services_run_the_same() -> None:
    """What differs is how a machine is set up."""
    github, gitlab = (
        [line.strip() for line in commands(name, "swaks")] for name in ("github-actions.yml", "gitlab-ci.yml")
    )

    assert github == gitlab
    assert commands("github-actions.yml", "pytest") == commands("gitlab-ci.yml", "pytest") == ["pytest"]


@pytest.mark.slow
def test_its_commands_work(tmp_path: Path) -> None:
    """The receiver starts, both ways of sending work, and the assertions hold; without mail they do not."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "smtpd-anontls"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m smtpd_anontls "$@"\n')
    program.chmod(0o755)
    # A free port, which the receiver says, in place of the one that the job knows.
    where = 'RECEIVER=$(sed -E \'s/.*"address": "([0-9.]+)", "port": ([0-9]+).*/\\1:\\2/\' receiver.json)'
    free = {
        "PATH": f"{folder}:{environment()['PATH']}",
        "SMTPD_ANONTLS__SERVERS__0__CONNECTORS__0__BINDINGS": "127.0.0.1:0",
        "SMTPD_ANONTLS__WEB__BIND": "null",
    }

    def run(name: str, lines: list[str]) -> subprocess.CompletedProcess[str]:
        away = tmp_path / name
        away.mkdir()
        script = ["trap 'kill $(jobs -p); wait' EXIT"]
        for line in lines:
            script.append(line)
            if "until test -s" in line:
                script.append(where)
        return subprocess.run(
            ["/bin/bash", "-e", "-o", "pipefail", "-c", "\n".join(script)],
            cwd=away,
            env=environment(**free, XDG_STATE_HOME=str(away)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    lines = [line.replace("--timeout 30", "--timeout 5") for line in commands("github-actions.yml", "swaks")]
    done = run("all", lines)
    by_one_way = run("half", [line for line in lines if "--tls" not in line])

    assert any(line.startswith(STARTING) for line in lines)
    assert done.returncode == 0, done.stdout + done.stderr
    assert by_one_way.returncode == 1, by_one_way.stdout + by_one_way.stderr
