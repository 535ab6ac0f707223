"""The command ``serve`` with its page, and what the configuration says of it."""

from __future__ import annotations

import sys
from subprocess import run as run_program
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from tests.command import call, environment, run, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

LATE = ("fastapi", "uvicorn", "starlette", "prometheus_client", "argon2", "jinja2")
PAGE = {"SMTPD_ANONTLS__WEB__BIND": "127.0.0.1:0"}


@pytest.mark.slow
def test_serve_says_where_the_page_is(lab: Lab) -> None:
    """The page is open once serve has said so, and closes with it."""
    with serving(lab.write(), env=environment(**PAGE)) as running:
        url = running.started["page"]
        with urlopen(f"{url}healthz") as answer:  # noqa: S310 - http, to ourselves
            health = answer.read()

    assert url.startswith("http://127.0.0.1:")
    assert health == b'{"status": "ok"}'
    assert running.stderr.splitlines()[-1] == "stopped"


@pytest.mark.slow
def test_serve_without_a_page(lab: Lab) -> None:
    """web.bind null opens none."""
    with serving(lab.write()) as running:
        assert running.started["page"] is None


@pytest.mark.slow
def test_a_port_that_is_taken(lab: Lab) -> None:
    """A second page on the same port is exit code 3 with one sentence."""
    config = lab.write()
    with serving(config, env=environment(**PAGE)) as running:
        taken = running.started["page"].removeprefix("http://").removesuffix("/")
        answer = run("serve", "--config", config, env=environment(SMTPD_ANONTLS__WEB__BIND=taken))

    assert answer.code == 3
    assert answer.mistakes[-1].endswith(
        f"web.bind: {taken}: the port is in use; stop the program that has it, choose another port, or write null"
    )


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize("address", ["0.0.0.0:8025", "192.0.2.1:8025", "[::]:8025"])
def test_an_address_that_others_reach_needs_users(lab: Lab, command: str, address: str) -> None:
    """Without web.auth only loopback is served; both commands say so in one sentence."""
    config = lab.write(settings={"web": {"bind": address}})

    answer = call(command, "--config", config)

    assert answer.code == 2
    assert answer.mistakes == [
        (
            f"{config}: web.bind: {address} is not loopback, so whoever reaches it could read all mail; "
            "write web.auth, or bind it to 127.0.0.1"
        )
    ]


@pytest.mark.parametrize("command", ["serve", "check"])
def test_users_that_are_not_there(lab: Lab, command: str) -> None:
    """A file of users that is missing stops both commands."""
    web = {"bind": "127.0.0.1:0", "auth": {"users_file": "page-users"}}
    answer = call(command, "--config", lab.write(settings={"web": web}))

    assert answer.code == 2
    assert f"web.auth.users_file: {lab.config.parent / 'page-users'} is not there" in answer.stderr


def test_auth_that_names_nothing(lab: Lab) -> None:
    """web.auth without users and without a token would let nobody in."""
    answer = call("check", "--config", lab.write(settings={"web": {"auth": {}}}))

    assert answer.code == 2
    assert "web.auth: names neither users_file nor token_env; write at least one of them" in answer.stderr


def test_other_commands_do_not_load_what_serves_the_page(tmp_path: Path) -> None:
    """The page's libraries take their time, and are loaded where a page opens only."""
    program = (
        "import sys; import smtpd_anontls.cli, smtpd_anontls.cli.serve, smtpd_anontls.cli.following\n"
        f"print([each for each in {LATE} if each in sys.modules])"
    )
    done = run_program(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "[]\n"
