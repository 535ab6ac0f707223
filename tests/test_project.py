"""The project itself: what git and a wheel hold, and that the layers are held."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.command import PATIENCE, ROOT, environment

PACKAGE = ROOT / "smtpd_anontls"
LONGEST_FILE = 450
# Put together here, so that this file does not hold what it looks for.
KEY_HEADER = b"PRIVATE" + b" KEY-----"
KEY_SUFFIXES = {".pem", ".key", ".pfx", ".p12", ".jks", ".kdbx"}


def is_private_key(content: bytes) -> bool:
    """Whether there is a PEM private key in *content*: its header, with the encoded key behind it."""
    # A header in a program's text has quotes or words behind it, a key its encoding or how it is encrypted.
    encoded = re.compile(re.escape(KEY_HEADER) + rb"\s+(?:Proc-Type: |[A-Za-z0-9+/]{48})")
    return encoded.search(content) is not None


def tracked() -> list[Path]:
    """Return the files that git has, or would take: everything but what is ignored."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    return [path for path in names if path.is_file()]


# -- no private key


def test_what_is_looked_for_is_found(tmp_path: Path) -> None:
    """A key that openssl makes is recognized, a header that a program looks for is not."""
    key = tmp_path / "made"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(key)],
        check=True,
        capture_output=True,
    )

    assert is_private_key(key.read_bytes())
    assert not is_private_key(b'HEADER = b"-----BEGIN ' + KEY_HEADER + b'"')


def test_git_has_no_private_key() -> None:
    """No file holds one, and none is named like one."""
    files = tracked()

    assert ROOT / "README.md" in files
    assert [str(path) for path in files if path.suffix.lower() in KEY_SUFFIXES] == []
    assert [str(path) for path in files if is_private_key(path.read_bytes())] == []


@pytest.mark.parametrize(
    "name",
    [
        "certs/mbx1.pem",
        "certs/gallery/healthy/healthy-0123ABCD.pem",
        "certs/mbx1.pfx",
        "anywhere/else.key",
        "config/directory.yaml",
        "config/gallery-directory.yaml",
        "var/capture.db",
        "var/application.jsonl",
    ],
)
def test_git_ignores_what_a_run_writes(name: str) -> None:
    """Keys, the directory and the journal never enter the repository."""
    done = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT, check=False)

    assert done.returncode == 0


# -- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what git has."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for path in tracked():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    # A key that lies about is not taken along.
    (source / "certs").mkdir(exist_ok=True)
    (source / "certs" / "stray.pem").write_bytes(b"-----BEGIN " + KEY_HEADER + b"\n" + b"A" * 64 + b"\n")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_configurations(wheel: Path) -> None:
    """Every module, the two configurations, the mark of types; nothing of the tests."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py") if path in tracked()}

    assert modules <= names
    assert {
        f"smtpd_anontls/{name}" for name in ("py.typed", "config/receive.yaml", "config/gallery.yaml")
    } <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"smtpd_anontls"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_holds_no_private_key(wheel: Path) -> None:
    """Neither by name nor by content."""
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if Path(name).suffix in KEY_SUFFIXES] == []
        assert [name for name in archive.namelist() if is_private_key(archive.read(name))] == []


@pytest.mark.slow
def test_the_wheel_runs_outside_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere it finds its built-in configuration, and says what is missing; a certificate mends it."""
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    away = tmp_path / "away"
    away.mkdir()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "smtpd_anontls", *words],
            cwd=away,
            env=environment(PYTHONPATH=str(unpacked), XDG_STATE_HOME=str(tmp_path / "state")),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    where = run("connector", "set", "--help")
    nothing_yet = run("check", "--json")
    made = run("certificate", "new", "--json")
    enabled = run("certificate", "enable", json.loads(made.stdout)["thumbprint"], "--services", "SMTP")
    well = run("check", "--json")

    assert where.returncode == 0
    assert nothing_yet.returncode == 3
    assert nothing_yet.stderr.count("\n") == 1
    assert (made.returncode, enabled.returncode) == (0, 0), (made.stderr, enabled.stderr)
    assert (well.returncode, json.loads(well.stdout)["ok"]) == (0, True), well.stderr
    assert list(away.iterdir()) == []


# -- the layers


VIOLATIONS = [
    ("domain/flags.py", "import asyncio", "The pure rooms touch no world"),
    ("domain/flags.py", "import smtpd_anontls.protocol.replies", "Layers"),
    ("protocol/replies.py", "import smtpd_anontls.selection.outcome", "Layers"),
    ("selection/outcome.py", "import smtpd_anontls.certificates.store", "Layers"),
    ("selection/outcome.py", "import time", "The pure rooms touch no world"),
    ("notation/edit.py", "import smtpd_anontls.settings.load", "Layers"),
    ("certificates/store.py", "import smtpd_anontls.directory.file", "Layers"),
    ("smtp/session.py", "import smtpd_anontls.settings.load", "Layers"),
    ("journal/journal.py", "import smtpd_anontls.receiver", "Layers"),
    ("receiver.py", "import smtpd_anontls.cli", "Layers"),
    ("receiver.py", "import aiosmtpd.smtp", "aiosmtpd belongs to smtp"),
    ("settings/load.py", "import yaml", "pyyaml and ruamel.yaml belong to notation"),
    ("directory/file.py", "import ruamel.yaml", "pyyaml and ruamel.yaml belong to notation"),
    ("journal/journal.py", "import pydantic", "pydantic belongs to settings"),
    ("eventlog/log.py", "import sqlalchemy", "SQLAlchemy, Alembic and psycopg belong to journal"),
    ("client/probe.py", "import sqlite3", "SQLAlchemy, Alembic and psycopg belong to journal"),
    (
        "smtp/session.py",
        "import cryptography.x509",
        "cryptography belongs to certificates, client, and for parsing to domain",
    ),
    ("settings/load.py", "import ssl", "ssl belongs to certificates, client, smtp, directory and web"),
    ("settings/load.py", "import ldap3", "ldap3 belongs to directory"),
    ("directory/file.py", "import OpenSSL.SSL", "pyOpenSSL belongs to certificates and smtp"),
    ("smtp/session.py", "import spnego", "pyspnego and gssapi belong to authentication"),
    ("receiver.py", "import gssapi", "pyspnego and gssapi belong to authentication"),
    ("receiver.py", "import smtpd_anontls.testing", "Layers"),
    ("directory/file.py", "import smtpd_anontls.exchange_export.clixml", "Layers"),
    ("importing.py", "import psrpcore", "psrpcore and defusedxml belong to exchange_export"),
    ("receiver.py", "import fastapi", "FastAPI, what serves it"),
    ("receiver.py", "import click", "click and rich belong to cli"),
    ("journal/journal.py", "import rich.console", "click and rich belong to cli"),
]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package in *folder*."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env=environment(PYTHONPATH=str(folder)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def a_copy(folder: Path) -> Path:
    """Copy the package and the rules into *folder*, and return the package's path."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    package = folder / "smtpd_anontls"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


@pytest.mark.slow
def test_the_layers_are_clean(tmp_path: Path) -> None:
    """Nothing imports upwards or sideways, and every library is imported by its owners alone."""
    a_copy(tmp_path)
    done = lint_imports(tmp_path)

    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("module", "statement", "contract"), VIOLATIONS)
def test_a_violation_is_found(tmp_path: Path, module: str, statement: str, contract: str) -> None:
    """An import that a contract forbids breaks that contract, wherever it is planted."""
    planted = a_copy(tmp_path) / module
    planted.write_text(f"{planted.read_text()}\n{statement}\n")
    done = lint_imports(tmp_path)
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]

    assert done.returncode == 1, done.stdout + done.stderr
    assert any(line.startswith(contract) for line in broken), broken


def test_every_contract_has_a_planted_violation() -> None:
    """A new contract needs a row above."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    planted = {contract for _, _, contract in VIOLATIONS}

    assert [
        each["name"] for each in rules if not any(each["name"].startswith(name) for name in planted)
    ] == []


# -- the files


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_is_of_a_size_and_says_what_it_is_for(path: Path) -> None:
    """No longer than can be read, and it opens with its purpose."""
    text = path.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= LONGEST_FILE
    assert ast.get_docstring(ast.parse(text))


def test_importing_the_package_loads_nothing() -> None:
    """The names of the package are loaded when they are used."""
    code = "import sys, smtpd_anontls; print(sorted(m for m in sys.modules if m.startswith('smtpd_anontls')))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )

    assert done.stdout == "['smtpd_anontls']\n"
