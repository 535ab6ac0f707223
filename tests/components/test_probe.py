"""The probe against scripted peers and openssl: every outcome, its sentence and its exit code."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.client.probe import ProbeOptions, ProbeResult, probe
from smtpd_anontls.client.target import Target
from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.domain.tls_policy import TlsVersion
from tests.components.reply_server import (
    NOW,
    Drip,
    Forward,
    Hear,
    Identity,
    ReplyServer,
    Reset,
    Say,
    Silence,
    Step,
    Take,
    Upgrade,
    make_identity,
    openssl_server,
)

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ProbeOptions(ehlo="edge.contoso.test", timeout=20)

BANNER = Say(
    b"220 mbx1.contoso.test Microsoft ESMTP MAIL Service ready at Sun, 22 Nov 2026 12:00:00 +0000\r\n"
)
EHLO = Say(
    b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250-STARTTLS\r\n250-X-ANONYMOUSTLS\r\n250 CHUNKING\r\n"
)
INSIDE = Say(b"250-mbx1.contoso.test Hello [127.0.0.1]\r\n250-X-EXPS GSSAPI NTLM\r\n250 CHUNKING\r\n")
READY = Say(b"220 2.0.0 SMTP server ready\r\n")
GREETED = (BANNER, Hear("EHLO edge.contoso.test"), EHLO)
ASKED = (*GREETED, Hear("X-ANONYMOUSTLS"))
QUIT = (Hear("QUIT"), Say(b"221 2.0.0 Service closing transmission channel\r\n"))


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents: self-signed, valid at NOW."""
    return make_identity(tmp_path_factory.mktemp("identity"))


def ask(*script: Step, options: ProbeOptions = OPTIONS) -> tuple[ProbeResult, list[str]]:
    """Probe a peer that plays *script*; return the result and what the peer heard."""
    with ReplyServer(script) as server:
        result = probe(server.target, options, NOW)
    return result, server.heard


def upgrade(identity: Identity, *, inside: Say = INSIDE) -> tuple[Step, ...]:
    """Return the script of a healthy server."""
    return (*ASKED, READY, Upgrade(identity.context()), Hear("EHLO edge.contoso.test"), inside, *QUIT)


def test_a_healthy_server_gives_all_facts(identity: Identity) -> None:
    """A session that works is 0, and its JSON has exactly the names of the contract."""
    result, heard = ask(*upgrade(identity))
    shown = result.as_json()

    assert heard == ["EHLO edge.contoso.test", "X-ANONYMOUSTLS", "EHLO edge.contoso.test", "QUIT"]
    assert result.exit_code == 0
    assert shown["banner"].startswith("220 mbx1.contoso.test Microsoft ESMTP")
    assert shown["ehlo"] == [
        "mbx1.contoso.test Hello [127.0.0.1]",
        "STARTTLS",
        "X-ANONYMOUSTLS",
        "CHUNKING",
    ]
    assert shown["ehlo_after_tls"] == [
        "mbx1.contoso.test Hello [127.0.0.1]",
        "X-EXPS GSSAPI NTLM",
        "CHUNKING",
    ]
    assert shown["verb"] == "X-ANONYMOUSTLS"
    assert shown["advertised"] is True
    assert shown["tls"] == {"version": "TLSv1.2", "cipher": "ECDHE-ECDSA-AES256-GCM-SHA384", "bits": 256}
    assert shown["certificate"]["thumbprint"] == identity.thumbprint
    assert shown["certificate"]["self_signed"] is True
    assert shown["verdict"].startswith("X-ANONYMOUSTLS works: TLSv1.2 with ECDHE-ECDSA-AES256-GCM-SHA384")
    assert "self-signed, as is usual for anonymous TLS" in shown["verdict"]
    assert "the TLS verbs are gone after it, as they must be" in shown["verdict"]
    assert shown["exit_code"] == 0
    assert [row["mark"] for row in shown["transcript"]][:3] == ["*", "S", "C"]


def test_rows_tell_it_in_order(identity: Identity) -> None:
    """A person reads the server first and the verdict last."""
    result, _ = ask(*upgrade(identity))
    rows = result.rows()

    assert rows[0][0] == "Server"
    assert rows[-1] == ("Verdict", result.verdict)
    assert ("Thumbprint", identity.thumbprint) in rows
    assert ("X-ANONYMOUSTLS", "advertised") in rows
    assert ("EHLO after TLS", "CHUNKING") in rows


STOPS: dict[str, tuple[tuple[Step, ...], int, tuple[str, ...]]] = {
    "the verb is missing": (
        (
            BANNER,
            Hear("EHLO"),
            Say(b"250-mbx1 Hello [127.0.0.1]\r\n250-STARTTLS\r\n250 X-EXPS NTLM\r\n"),
            *QUIT,
        ),
        1,
        (
            "X-ANONYMOUSTLS is not advertised",
            "451 5.7.3 Cannot achieve Exchange Server authentication",
            "lacks ExchangeServer in AuthMechanism",
            "12013",
            "STARTTLS is advertised",
        ),
    ),
    "another mail server": (
        (Say(b"220 mail.example.test ESMTP Postfix\r\n"), Hear("EHLO"), Say(b"250 mail\r\n"), *QUIT),
        1,
        ("nothing in its greeting or its EHLO reply speaks of Exchange",),
    ),
    "EHLO is masked by a firewall": (
        (BANNER, Hear("EHLO"), Say(b"250-mbx1 Hello\r\n250-XXXXXXXA\r\n250 XXXB\r\n"), *QUIT),
        1,
        ("a firewall masks the EHLO keywords (XXXXXXXA, XXXB)", "no inspect esmtp"),
    ),
    "the banner is masked by a firewall": (
        (Say(b"220 *************************\r\n"), Hear("EHLO"), Say(b"250 mbx1 Hello\r\n"), *QUIT),
        1,
        ("a firewall masks the greeting with asterisks",),
    ),
    "EHLO is not known": (
        (
            BANNER,
            Hear("EHLO"),
            Say(b"500 5.3.3 Unrecognized command\r\n"),
            Hear("HELO"),
            Say(b"250 mbx1\r\n"),
            *QUIT,
        ),
        1,
        ("refuses EHLO and takes HELO alone",),
    ),
    "neither EHLO nor HELO is taken": (
        (
            BANNER,
            Hear("EHLO"),
            Say(b"550 5.7.1 Not you\r\n"),
            Hear("HELO"),
            Say(b"550 5.7.1 Nor so\r\n"),
            *QUIT,
        ),
        1,
        ("refuses EHLO: 550 5.7.1 Not you",),
    ),
    "the verb is refused for now": (
        (*ASKED, Say(b"454 4.7.0 TLS not available due to local problem\r\n"), *QUIT),
        1,
        ("refused with 454 4.7.0 TLS not available", "private key that it cannot load"),
    ),
    "the verb is refused for good": (
        (*ASKED, Say(b"500 5.3.3 Unrecognized command\r\n"), *QUIT),
        1,
        ("refused with 500 5.3.3 Unrecognized command", "may have changed the command"),
    ),
    "the verb is masked on its way": (
        (*ASKED, Say(b"500 5.3.3 Unrecognized command 'XXXXXXXXXXXXXX'\r\n"), *QUIT),
        1,
        ("a firewall masks the command",),
    ),
    "no connector takes the client": (
        (Say(b"421 4.3.2 Service not available\r\n"), *QUIT),
        1,
        ("421 4.3.2 Service not available", "RemoteIPRanges"),
    ),
    "a 554 banner": (
        (Say(b"554 5.7.1 Go away\r\n"), *QUIT),
        1,
        ("refuses the session: 554 5.7.1 Go away",),
    ),
    "a banner that is none": (
        (Say(b"SSH-2.0-OpenSSH_9.2\r\n"), Silence()),
        3,
        ("does not speak SMTP: it sent 'SSH-2.0-OpenSSH_9.2' as its greeting",),
    ),
    "a positive banner that is not 220": (
        (Say(b"250 hello\r\n"), Silence()),
        3,
        ("does not greet as SMTP does: 250 hello",),
    ),
    "control characters in the banner": (
        (Say(b"\x1b[31mroot\xff\r\n"), Silence()),
        3,
        (r"it sent '\x1b[31mroot\xff' as its greeting",),
    ),
    "codes that differ within a reply": (
        (BANNER, Hear("EHLO"), Say(b"250-mbx1\r\n220 CHUNKING\r\n"), Silence()),
        3,
        ("it sent '220 CHUNKING' as the answer to EHLO",),
    ),
    "a drop instead of the banner": ((), 3, ("closed the connection instead of sending its greeting",)),
    "a drop after the verb": (
        ASKED,
        3,
        ("closed the connection instead of sending the answer to X-ANONYMOUSTLS",),
    ),
    "a drop after the 220": (
        (*ASKED, READY),
        3,
        ("the TLS handshake failed", "the certificate's private key"),
    ),
    "a reset after the 220": (
        (*ASKED, READY, Reset()),
        3,
        ("the TLS handshake failed", "the certificate's private key"),
    ),
    "plain text instead of TLS": (
        (*ASKED, READY, Take(), Say(b"500 5.3.3 Unrecognized command\r\n"), Silence()),
        3,
        ("the server went on in plain text, with '500 5.3.3 Unrecognized command'",),
    ),
    "plain text behind the 220": (
        (*ASKED, Say(READY.octets + b"250 injected\r\n"), Silence()),
        3,
        ("plain text behind the 220", "'250 injected'", "ended before TLS"),
    ),
    "an answer that nobody asked for": (
        (Say(BANNER.octets + b"250 eager\r\n"), Silence()),
        3,
        ("spoke out of turn: '250 eager'",),
    ),
    "a line without end": (
        (BANNER, Hear("EHLO"), Say(b"250-" + b"x" * 5000), Silence()),
        3,
        ("a line of more than 4096 octets",),
    ),
    "a reply without end": (
        (BANNER, Hear("EHLO"), Say(b"250-x\r\n" * 201), Silence()),
        3,
        ("more than 200 lines",),
    ),
}


@pytest.mark.parametrize(("script", "exit_code", "said"), STOPS.values(), ids=STOPS.keys())
def test_what_stops_it_is_named(script: tuple[Step, ...], exit_code: int, said: tuple[str, ...]) -> None:
    """Each way to fail before TLS has its exit code and one sentence that says what happened."""
    result, _ = ask(*script)

    assert result.exit_code == exit_code, result.verdict
    assert result.as_json()["tls"] is None
    assert "\n" not in result.verdict
    for words in said:
        assert words in result.verdict


def test_starttls_missing_says_what_that_means() -> None:
    """STARTTLS that is not advertised has causes of its own."""
    lines = Say(b"250-mbx1 Hello\r\n250 X-ANONYMOUSTLS\r\n")
    result, _ = ask(BANNER, Hear("EHLO"), lines, *QUIT, options=replace(OPTIONS, verb=TlsVerb.STARTTLS))

    assert result.exit_code == 1
    assert "451 5.7.3 STARTTLS is required to send mail" in result.verdict
    assert "12014" in result.verdict
    assert "X-ANONYMOUSTLS is advertised" in result.verdict


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (EHLO.octets, "advertises X-ANONYMOUSTLS and STARTTLS"),
        (b"250-mbx1\r\n250 CHUNKING\r\n", "advertises no TLS verb"),
    ],
)
def test_without_a_verb_nothing_is_upgraded(lines: bytes, said: str) -> None:
    """Verb none reads the banner and EHLO, and is content with them."""
    result, heard = ask(BANNER, Hear("EHLO"), Say(lines), *QUIT, options=replace(OPTIONS, verb=None))
    shown = result.as_json()

    assert (result.exit_code, shown["verb"], shown["advertised"], shown["tls"]) == (0, None, None, None)
    assert said in result.verdict
    assert heard == ["EHLO edge.contoso.test", "QUIT"]


def test_a_banner_of_many_lines_is_read_whole(identity: Identity) -> None:
    """A banner may have several lines, ended by LF alone."""
    banner = Say(b"220-mbx1.contoso.test Microsoft ESMTP MAIL\n220-no unsolicited mail\n220 ready\n")
    result, _ = ask(banner, *upgrade(identity)[1:])

    assert result.exit_code == 0
    assert result.banner == "220-mbx1.contoso.test Microsoft ESMTP MAIL\n220-no unsolicited mail\n220 ready"


def test_every_problem_of_the_certificate_is_said(tmp_path: Path) -> None:
    """An expired certificate with another thumbprint than expected is 1, and both are named."""
    expired = make_identity(tmp_path, not_after=NOW - timedelta(days=1))
    expected = "AB" * 20
    result, _ = ask(*upgrade(expired), options=replace(OPTIONS, expect_thumbprint=expected))

    assert result.exit_code == 1
    assert "expired on 2026-11-21T12:00:00Z" in result.verdict
    assert "event 12015" in result.verdict
    assert f"the certificate presented is {expired.thumbprint}, not {expected} as expected" in result.verdict


def test_an_expected_thumbprint_may_be_written_as_windows_shows_it(identity: Identity) -> None:
    """Spaces and case of the expected thumbprint do not matter, and the verdict says that it was met."""
    spaced = " ".join(identity.thumbprint[i : i + 2] for i in range(0, 40, 2)).lower()
    result, _ = ask(*upgrade(identity), options=replace(OPTIONS, expect_thumbprint=spaced))

    assert result.exit_code == 0
    assert ", as expected" in result.verdict


def test_what_is_odd_but_no_failure_is_noted(tmp_path: Path) -> None:
    """A certificate of an authority that is not yet valid, and verbs inside TLS, are told and cost nothing."""
    early = make_identity(tmp_path, not_before=NOW + timedelta(days=1), issuer="Contoso CA")
    result, _ = ask(*upgrade(early, inside=EHLO))

    assert result.exit_code == 0
    assert "issued by CN=Contoso CA" in result.verdict
    assert "valid only from 2026-11-23T12:00:00Z" in result.verdict
    assert "X-ANONYMOUSTLS and STARTTLS are still advertised inside TLS" in result.verdict


def test_a_drop_inside_tls_tells_what_was_seen(tmp_path: Path) -> None:
    """A server that drops at the second EHLO is 3, and its certificate is judged all the same."""
    expired = make_identity(tmp_path, not_after=NOW - timedelta(days=1))
    result, _ = ask(*ASKED, READY, Upgrade(expired.context()), Hear("EHLO"))

    assert result.exit_code == 3
    assert "gave a TLS session" in result.verdict
    assert "closed the connection instead of sending the answer to EHLO" in result.verdict
    assert "expired on" in result.verdict
    assert result.as_json()["certificate"]["thumbprint"] == expired.thumbprint


@pytest.mark.parametrize(
    ("minimum", "maximum", "said"),
    [
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3, "protocol_version"),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, "protocol_version"),
    ],
)
def test_a_version_alert_is_named(
    identity: Identity, minimum: ssl.TLSVersion, maximum: ssl.TLSVersion, said: str
) -> None:
    """A server that wants a newer TLS sends an alert, and the verdict names it with what was offered."""
    options = replace(OPTIONS, tls_min=TlsVersion.TLSv1, tls_max=TlsVersion.TLSv1_1)
    result, _ = ask(*ASKED, READY, Upgrade(identity.context(minimum, maximum), fails=True), options=options)

    assert result.exit_code == 3
    assert f"with the alert {said}" in result.verdict
    assert "(TLSv1 to TLSv1.1)" in result.verdict


def test_another_alert_is_named_with_its_meaning(identity: Identity) -> None:
    """No shared cipher suite is the alert handshake_failure."""
    context = identity.context()
    context.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384")  # The key is ECDSA.
    result, _ = ask(*ASKED, READY, Upgrade(context, fails=True))

    assert result.exit_code == 3
    assert "the TLS alert handshake_failure, that is, no cipher suite" in result.verdict


def test_a_wanted_client_certificate_is_named(identity: Identity) -> None:
    """TLS 1.3 tells of a missing client certificate only after the handshake, and it is named there too."""
    context = identity.context(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    context.load_verify_locations(identity.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    result, _ = ask(*ASKED, READY, Upgrade(context, fails=True))

    assert result.exit_code == 3
    assert "certificate_required, that is, it wants a client certificate" in result.verdict


@pytest.mark.parametrize("name", [None, "mx1.contoso.test"])
def test_sni_is_sent_where_it_is_asked_for(identity: Identity, name: str | None) -> None:
    """The ClientHello names a server only where the options do."""
    named: list[str | None] = []
    context = identity.context()
    context.sni_callback = lambda _socket, server_name, _context: named.append(server_name)
    script = (*ASKED, READY, Upgrade(context), Hear("EHLO"), INSIDE, *QUIT)
    result, _ = ask(*script, options=replace(OPTIONS, server_name=name))

    assert result.exit_code == 0
    assert named == [name]


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_every_version_can_be_met(identity: Identity, version: str) -> None:
    """The probe speaks TLS from 1.0 to 1.3 when a server asks for it, whatever the machine's own bar is."""
    context = identity.context(ssl.TLSVersion[version], ssl.TLSVersion[version])
    script = (*ASKED, READY, Upgrade(context), Hear("EHLO"), INSIDE, *QUIT)
    result, _ = ask(*script)

    assert result.exit_code == 0, result.verdict
    assert result.as_json()["tls"]["version"] == TlsVersion[version].value


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((Silence(),), "did not send its greeting within 0.3 s"),
        ((*ASKED, Silence()), "did not send the answer to X-ANONYMOUSTLS within 0.3 s"),
        ((*ASKED, READY, Silence()), "the TLS handshake was not finished within 0.3 s"),
    ],
)
def test_silence_ends_with_the_deadline(script: tuple[Step, ...], said: str) -> None:
    """A peer that says nothing is given up when the time is over, wherever that is."""
    result, _ = ask(*script, options=replace(OPTIONS, timeout=0.3))

    assert result.exit_code == 3
    assert said in result.verdict


def test_the_deadline_is_for_everything_together() -> None:
    """A peer that sends a little now and then cannot stretch the time-out."""
    result, _ = ask(Drip(b"220-drip\r\n"), options=replace(OPTIONS, timeout=0.3))

    assert result.exit_code == 3
    assert "did not send its greeting within 0.3 s" in result.verdict


def test_nobody_listening_is_said_by_address() -> None:
    """A refused connection is 3 and names the address that refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = probe(Target("127.0.0.1", port), OPTIONS, NOW)
    shown = result.as_json()

    assert result.exit_code == 3
    assert result.verdict == f"no connection to 127.0.0.1:{port}: 127.0.0.1: Connection refused"
    assert (shown["banner"], shown["ehlo"], shown["advertised"]) == (None, [], None)


def test_an_address_that_does_not_answer_is_said() -> None:
    """A host that takes no connection, as one behind a firewall, is 3 when the time is over."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(4):  # Once its queue is full, Linux drops what would connect.
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the socket's own interface.
            filler.connect_ex(listener.getsockname())
        target = Target("127.0.0.1", listener.getsockname()[1])
        result = probe(target, replace(OPTIONS, timeout=0.3), NOW)

    assert result.exit_code == 3
    assert "127.0.0.1 did not answer in time" in result.verdict


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_ipv6_is_spoken(identity: Identity) -> None:
    """A target may be an IPv6 address."""
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with ReplyServer(upgrade(identity), host="::1") as server:
        result = probe(server.target, OPTIONS, NOW)

    assert result.exit_code == 0
    assert dict(result.rows())["Server"].startswith("[::1]:")


def test_the_next_address_of_a_name_is_tried(identity: Identity) -> None:
    """A name with several addresses is reached by the one that answers."""
    with ReplyServer(upgrade(identity)) as server:
        result = probe(Target("localhost", server.target.port), OPTIONS, NOW)

    assert result.exit_code == 0, result.verdict


@pytest.mark.parametrize("name", ["no-such-host.invalid", "label." + "x" * 70 + ".test"])
def test_a_name_that_does_not_resolve_is_said(name: str) -> None:
    """A name that DNS does not know, or cannot hold, is 3 and named."""
    result = probe(Target(name), OPTIONS, NOW)

    assert result.exit_code == 3
    assert name in result.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "exit_code", "said"),
    [
        (["-tls1_2"], 0, "works: TLSv1.2"),
        (["-tls1_3"], 0, "works: TLSv1.3"),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], 0, "works: TLSv1 with"),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"], 3, "the TLS alert handshake_failure"),
        (["-tls1_3", "-Verify", "1"], 3, "the TLS alert certificate_required"),
    ],
)
def test_openssl_is_met_too(identity: Identity, flags: list[str], exit_code: int, said: str) -> None:
    """Handshakes with openssl's own server work and fail as those with our scripts do."""
    with openssl_server(identity, *flags) as server:
        server.say(INSIDE.octets + b"221 2.0.0 Bye\r\n")
        result, _ = ask(*ASKED, READY, Forward(server.port))

    assert result.exit_code == exit_code, result.verdict
    assert said in result.verdict
    if exit_code == 0:
        assert result.as_json()["certificate"]["thumbprint"] == identity.thumbprint
