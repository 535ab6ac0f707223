"""No secret of a sender, of a user or of the receiver is in anything that a run writes."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.authentication.credentials import NtHash, with_user, write_text
from tests.components.logging_on import AUTHENTICATED, DENIED, FAULT, encoded, exchange, login, mail
from tests.components.ntlm_talking import Client
from tests.components.secrets_sought import files_below, forms_of_password, forms_of_token, found
from tests.initiator import HOST, Initiator
from tests.lab import FQDN, greeted, secured
from tests.mit_kdc import keep_replays
from tests.samba import READER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Json, Lab, Pki
    from tests.peer import Peer
    from tests.samba import DomainController

USER = "CONTOSO\\alice"
# What is no ASCII looks different in each form.
PASSWORDS = {
    "the right password": "Sesam-öffne-Dich-1",
    "a wrong one by LOGIN": "Simsim-hör-auf-2",
    "a wrong one by NTLM": "Simsim-geh-zü-3",
    "one behind a refusal": "Simsim-dahintër-4",
    "one of AUTH PLAIN": "Simsim-ganz-schlïcht-5",
    "one that is no base64": "Simsim-öffen-6",
    "one in an over-long line": "Simsim-länger-7",
    "one beside the mechanism": "Simsim-daneben-ß-8",
    "one in a broken line of the file": "Simsim-Dåtei-9",
    "one of another user": "Simsim-bøb-10",
    "one in lower case": "simsim-kleïn-11",
}
SETTINGS: Json = {
    "protocol_log": {"path": "../protocol-log"},
    "event_log": [
        {"format": "jsonl", "path": "../application.jsonl"},
        {"format": "windows-xml", "path": "../application.xml"},
    ],
    "authentication": {"exchange_auth": "observe", "ntlmv1": True},
}


@pytest.fixture
def lab(lab: Lab, caplog: pytest.LogCaptureFixture) -> Lab:
    """Return a lab whose log is kept to the last line."""
    caplog.set_level(logging.DEBUG)
    # Of the peer, which prints its tokens.
    caplog.set_level(logging.WARNING, logger="spnego._ntlm")
    return lab


def written(
    lab: Lab, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> dict[str, bytes]:
    """Return all that the run has written by now, but for the inputs that hold secrets."""
    haystack = dict(files_below(lab.folder, but=(lab.users, lab.store, lab.folder / "inputs")))
    haystack["the log"] = caplog.text.encode("utf-8", "backslashreplace")
    haystack["the warnings"] = "\n".join(lab.warnings).encode()
    captured = capfd.readouterr()
    haystack["standard output"], haystack["standard error"] = captured.out.encode(), captured.err.encode()
    # As a record shows it, whatever the database makes of it.
    for what in ("sessions", "events", "messages"):
        shown = getattr(lab, what)
        haystack[what] = json.dumps(shown, ensure_ascii=False).encode() + json.dumps(shown).encode()
    return haystack


def keys(lab: Lab) -> dict[str, dict[str, bytes]]:
    """Return the forms of the private keys in the store."""
    bodies = {
        path.stem: re.search(
            rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", path.read_bytes(), re.DOTALL
        )
        for path in lab.store.glob("*.pem")
    }
    return {
        f"the private key {name}": forms_of_token(b64decode(body[1]))
        for name, body in bodies.items()
        if body is not None
    }


async def answers_by_ntlm(peer: Peer, verb: str, client: Client, tokens: dict[str, bytes]) -> str:
    """Log on by NTLM and keep what the client sent: its answer can be guessed at offline."""

    def answer(challenge: bytes) -> bytes:
        token = client.answer(challenge)
        # The response and what follows; in front are the names, which are no secret.
        tokens[f"NTLM answer {len(tokens)}"] = token[-16 - 24 * 6 :]
        return token

    return await exchange(peer, f"{verb} NTLM", client.negotiate(), answer)


async def use_passwords(peer: Peer) -> None:
    """Say every password in a way of its own."""
    assert await login(peer, USER, PASSWORDS["a wrong one by LOGIN"]) == DENIED
    plain = "\0".join(["", USER, PASSWORDS["one of AUTH PLAIN"]])
    assert (await peer.ask(f"AUTH PLAIN {encoded(plain)}"))[0].startswith("504 ")
    assert (await peer.ask(encoded(PASSWORDS["one behind a refusal"])))[0].startswith("500 ")
    no_base64 = PASSWORDS["one that is no base64"]
    assert (await peer.ask(f"AUTH LOGIN {no_base64}"))[0].startswith("501 ")
    assert (await peer.ask(no_base64))[0].startswith("500 ")
    lower = encoded(PASSWORDS["one in lower case"])
    assert (await peer.ask(f"auth login {lower} {lower}"))[0].startswith("501 ")
    over_long = encoded(PASSWORDS["one in an over-long line"] * 1000)
    assert (await peer.ask(f"AUTH NTLM {over_long}"))[0].startswith("500 ")
    assert (await peer.ask("AUTH LOGIN"))[0].startswith("334 ")
    assert (await peer.ask(over_long))[0].startswith("500 ")
    assert (await peer.ask(f"X-EXPS GSSAPI {PASSWORDS['one beside the mechanism']}"))[0].startswith("504 ")
    assert await login(peer, "bob", PASSWORDS["one of another user"]) == AUTHENTICATED


def missed(
    secrets: dict[str, dict[str, bytes]], haystacks: list[dict[str, bytes]], shown: tuple[bytes, ...]
) -> list[str]:
    """Return where secrets are, after a look at whether anything is there at all."""
    everything = b"".join(octets for haystack in haystacks for octets in haystack.values())
    assert [each for each in shown if each not in everything] == []
    places = {place for haystack in haystacks for place in haystack}
    assert places >= {"capture.db", "capture.db-wal", "application.jsonl", "application.xml"}
    assert any(place.startswith("protocol-log/") for place in places)
    return [place for haystack in haystacks for place in found(secrets, haystack)]


async def test_no_password_is_written(
    lab: Lab, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the passwords of LOGIN and NTLM, whatever became of them, nor what NTLM makes of them, nor private keys."""
    right, wrong = PASSWORDS["the right password"], PASSWORDS["a wrong one by NTLM"]
    tokens: dict[str, bytes] = {}
    endless = {"max_logon_failures": 0}
    users = {USER: right, "bob": PASSWORDS["one of another user"]}
    async with lab.receiver(users=users, settings=SETTINGS, connector=endless) as receiver:
        text = lab.users.read_text()
        write_text(lab.users, f"{text}carol:{PASSWORDS['one in a broken line of the file']}\n")
        async with await secured(receiver) as peer:
            await use_passwords(peer)
            await mail(peer)
        for verb, meet in (("AUTH", greeted), ("X-EXPS", secured)):
            async with await meet(receiver) as peer:
                assert await answers_by_ntlm(peer, verb, Client(USER, wrong), tokens) == DENIED
                assert await answers_by_ntlm(peer, verb, Client(USER, right), tokens) == AUTHENTICATED
        async with await secured(receiver) as peer:
            assert await login(peer, USER, right) == AUTHENTICATED
        during = written(lab, caplog, capfd)
    after = written(lab, caplog, capfd)

    assert any("carol" not in warning and "users.txt:" in warning for warning in lab.warnings)
    secrets = {name: forms_of_password(each) for name, each in PASSWORDS.items()}
    secrets |= {name: forms_of_token(token) for name, token in tokens.items()} | keys(lab)
    assert len(tokens) == 4
    names = (
        b"CONTOSO\\\\alice",
        b"wrong_password",
        b"LogonDenied",
        b"<authentication data>",
    )
    assert missed(secrets, [during, after], names) == []


@pytest.mark.slow  # Samba.
async def test_no_ticket_is_written(
    lab: Lab,
    pki: Pki,
    kerberos: DomainController,
    *,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither tokens of Kerberos, taken, refused or observed, nor keys of the keytab, nor the reader's password."""
    inputs = lab.folder / "inputs"
    inputs.mkdir()
    keep_replays(inputs, monkeypatch)
    kerberos.publish(pki.credentials("internal").certificate.der)
    tokens: dict[str, bytes] = {}

    def initiator(name: str, host: str = HOST) -> tuple[Initiator, bytes]:
        made = Initiator(keytab=kerberos.keytab("MBX2$"), host=host)
        first = tokens[name] = made.first()
        return made, first

    given: Json = {
        "server": {"name": "MBX1", "fqdn": HOST, "keytab": str(kerberos.keytab("MBX1$"))},
        "store": {HOST: "valid", FQDN: None},
        "settings": {**SETTINGS, "directory": kerberos.settings()},
    }
    async with lab.receiver(**given) as receiver:
        async with await secured(receiver) as peer:
            _, other = initiator("a ticket for another host", host="mbx2.contoso.test")
            assert await exchange(peer, "X-EXPS GSSAPI", other, bytes) == DENIED
            _, observed = initiator("a ticket in EXCHANGEAUTH")
            assert await exchange(peer, "X-EXPS EXCHANGEAUTH", b"\x01\x02" + observed, bytes) == FAULT
            taking, taken = initiator("a ticket that is taken")
            assert await exchange(peer, "X-EXPS GSSAPI", taken, taking.answer) == AUTHENTICATED
            await mail(peer)
        async with await secured(receiver) as peer:
            assert await exchange(peer, "X-EXPS GSSAPI", taken, bytes) == DENIED
        during = written(lab, caplog, capfd)
    after = written(lab, caplog, capfd)

    # In front are the names of realm and service, which are no secret.
    secrets = {name: forms_of_token(token[len(token) // 2 :]) for name, token in tokens.items()}
    secrets |= {
        f"key {key[:4]}…": forms_of_token(bytes.fromhex(key)) for key in keys_of(kerberos.keytab("MBX1$"))
    }
    secrets["the password of the reader"] = forms_of_password(kerberos.password(READER))
    names = (b"CONTOSO\\\\MBX2$", b"ExchangeServers", b"replay", b"UnexpectedExchangeAuthBlob")
    assert missed(secrets, [during, after], names) == []


def keys_of(keytab: Path) -> set[str]:
    """Return the keys in a keytab, in hex, as klist shows them."""
    shown = subprocess.run(["klist", "-k", "-K", str(keytab)], capture_output=True, text=True, check=True)
    keys = set(re.findall(r"\(0x([0-9a-f]+)\)", shown.stdout))
    assert keys
    return keys


# -- the search itself


@pytest.mark.parametrize(
    "planted",
    [
        pytest.param("Sesam-öffne-Dich-1".encode(), id="plain"),
        pytest.param(json.dumps("Sesam-öffne-Dich-1").encode(), id="JSON"),
        pytest.param("Sesam-öffne-Dich-1".encode("utf-16-le"), id="UTF-16LE"),
        pytest.param("Sesam-öffne-Dich-1".encode("cp1252"), id="windows-1252"),
        pytest.param("Sesam-öffne-Dich-1".encode().hex().encode(), id="hex"),
        pytest.param(NtHash.of("Sesam-öffne-Dich-1").octets, id="NT hash"),
        pytest.param(
            with_user("", "alice", NtHash.of("Sesam-öffne-Dich-1")).encode(), id="a line of the file"
        ),
        *(
            pytest.param(
                b64encode(before + "Sesam-öffne-Dich-1".encode() + b"behind"), id=f"base64 behind {before!r}"
            )
            for before in (b"", b"\0", b"\0a", b"\0al", b"\0alice\0")
        ),
        pytest.param(b64encode("Sesam-öffne-Dich-1".encode("utf-16-le")), id="base64 of UTF-16LE"),
    ],
)
def test_a_password_would_be_found(planted: bytes) -> None:
    """Whatever form a password is written in, the search finds it, and does not repeat it."""
    places = found(
        {"the password": forms_of_password("Sesam-öffne-Dich-1")},
        {"a file": b"before " + planted + b" behind"},
    )

    assert places
    assert all(place.startswith("a file has the password: ") for place in places)
    assert found({"another": forms_of_password("Sesam-schließe-dich-2")}, {"a file": planted}) == []


def test_a_part_of_a_token_would_be_found() -> None:
    """A token is found by a part of it, as it is, in hex and in base64."""
    token = bytes(range(256))
    forms = {"the token": forms_of_token(token)}

    for planted in (token[40:100], token[40:100].hex().encode(), b64encode(token)[80:140]):
        assert found(forms, {"a file": planted})
