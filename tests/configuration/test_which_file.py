"""Which file is the configuration, and which one an edit changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from smtpd_anontls.settings.load import ConfigError, editable_config, load_config
from smtpd_anontls.settings.values import FileDirectorySettings

SHIPPED = Path(__file__).parents[2] / "config" / "receive.yaml"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without any configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_built_in_default_keeps_its_state_in_the_users_state_folder(empty: Path) -> None:
    """Without any file the shipped default is read, and its paths begin below XDG_STATE_HOME."""
    state = empty / "state"

    loaded = load_config(environ={"XDG_STATE_HOME": str(state)})

    settings = loaded.settings
    assert (loaded.warnings, loaded.findings) == ((), ())
    assert (settings.path, settings.text_name) == (None, "built-in default")
    assert settings.servers[0].certificate_store == state / "smtpd-anontls" / "certs"
    assert settings.directory == FileDirectorySettings(state / "smtpd-anontls" / "config" / "directory.yaml")
    assert settings.capture.url == f"sqlite:///{state}/smtpd-anontls/var/capture.db"
    assert not state.exists()


@pytest.mark.parametrize("variable", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
def test_the_state_folder_has_a_default(empty: Path, variable: dict[str, str]) -> None:
    """Not set, empty or relative: it is .local/state of the home folder."""
    settings = load_config(environ={"HOME": str(empty), **variable}).settings

    assert settings.servers[0].certificate_store == empty / ".local" / "state" / "smtpd-anontls" / "certs"


def test_argument_then_environment_then_the_usual_file(empty: Path) -> None:
    """A file that is named goes before the environment's, and that before config/receive.yaml."""
    for name in ("argument", "environment", "config/receive"):
        path = empty / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"servers: [{{name: {path.stem}}}]")
    environ = {"HOME": str(empty), "SMTPD_ANONTLS_CONFIG": "environment.yaml"}

    assert load_config("argument.yaml", environ=environ).settings.servers[0].server.name == "argument"
    assert load_config(environ=environ).settings.servers[0].server.name == "environment"
    assert load_config(environ={"HOME": str(empty)}).settings.servers[0].server.name == "receive"
    assert editable_config(Path("argument.yaml"), environ) == Path("argument.yaml")
    assert editable_config(None, environ) == Path("environment.yaml")
    assert editable_config(None, {"HOME": str(empty)}) == Path("config/receive.yaml")


def test_a_relative_file_has_absolute_paths(empty: Path) -> None:
    """The folder of a file named relatively is found from the working directory, and messages name it as given."""
    (empty / "lab.yaml").write_text("servers: [{name: MBX1}]")

    settings = load_config("lab.yaml", environ={}).settings

    assert settings.text_name == "lab.yaml"
    assert settings.servers[0].certificate_store == empty.parent / "certs"


def test_the_built_in_default_is_copied_before_it_is_edited(empty: Path) -> None:
    """The copy has the same text, is found from then on, and is not made twice."""
    environ = {"XDG_STATE_HOME": str(empty / "state")}
    before = load_config(environ=environ).settings

    copy = editable_config(None, environ)

    assert copy == empty / "state" / "smtpd-anontls" / "config" / "receive.yaml"
    assert copy.read_text("utf-8") == SHIPPED.read_text("utf-8")
    after = load_config(environ=environ).settings
    assert after.path == copy
    assert after.servers == before.servers
    assert after.capture == before.capture
    copy.write_text("servers: [{name: EDITED}]")
    assert editable_config(None, environ) == copy
    assert load_config(environ=environ).settings.servers[0].server.name == "EDITED"


def test_a_copy_that_cannot_be_made_is_one_line(empty: Path) -> None:
    """A state folder that is a file yields a line, not a traceback."""
    (empty / "state").touch()

    with pytest.raises(ConfigError, match=r"^.*receive.yaml: cannot be written \(not a directory\)$"):
        editable_config(None, {"XDG_STATE_HOME": str(empty / "state")})
