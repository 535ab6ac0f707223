"""The probe sends a message: by BDAT or DATA, with the parameters that it needs, and what a server refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.client.logon import LogonOptions
from smtpd_anontls.client.outgoing import MAX_OCTETS, Outgoing
from smtpd_anontls.client.probe import ProbeOptions, ProbeResult, probe
from smtpd_anontls.domain.authentication import Mechanism
from tests.command import call
from tests.components.reply_server import (
    NOW,
    Hear,
    HearChunk,
    HearMessage,
    Identity,
    ReplyServer,
    Say,
    Step,
    Upgrade,
    make_identity,
)

if TYPE_CHECKING:
    from pathlib import Path

BANNER = Say(b"220 mbx1.contoso.test Microsoft ESMTP MAIL Service ready\r\n")
QUIT = (Hear("QUIT"), Say(b"221 2.0.0 Service closing transmission channel\r\n"))
SENDER_OK = Say(b"250 2.1.0 Sender OK\r\n")
RECIPIENT_OK = Say(b"250 2.1.5 Recipient OK\r\n")
START = Say(b"354 Start mail input; end with <CRLF>.<CRLF>\r\n")
QUEUED = Say(b"250 2.6.0 <1@contoso.test> [InternalId=7, Hostname=mbx1] Queued mail for delivery\r\n")
MESSAGE = b"Message-ID: <1@contoso.test>\r\nSubject: one\r\n\r\nbody\r\n"
EVERYTHING = ("SIZE 37748736", "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
OLD = ("SIZE", "8BITMIME")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """Return what the server presents."""
    return make_identity(tmp_path_factory.mktemp("identity"))


def outgoing(content: bytes = MESSAGE, *recipients: str, sender: str = "a@contoso.test") -> Outgoing:
    """Return a message on its way to *recipients*."""
    return Outgoing(sender, recipients or ("b@contoso.test",), content)


def greeted(*keywords: str) -> tuple[Step, ...]:
    """Return the beginning of a session in the clear, with these lines of EHLO."""
    lines = [f"250-{line}\r\n" for line in ("mbx1 Hello [127.0.0.1]", *keywords)]
    lines[-1] = lines[-1].replace("250-", "250 ")
    return (BANNER, Hear("EHLO edge.contoso.test"), Say("".join(lines).encode()))


def send(message: Outgoing, *script: Step) -> tuple[ProbeResult, ReplyServer]:
    """Send *message* in the clear to a peer that plays *script*."""
    options = ProbeOptions(ehlo="edge.contoso.test", verb=None, timeout=20, outgoing=message)
    with ReplyServer(script) as server:
        result = probe(server.target, options, NOW)
    return result, server


def by_bdat(*keywords: str, mail: str) -> tuple[Step, ...]:
    """Return a server that takes a message by BDAT after this MAIL."""
    return (
        *(*greeted(*keywords), Hear(mail), SENDER_OK),
        *(Hear("RCPT TO:<b@contoso.test>"), RECIPIENT_OK, HearChunk(), QUEUED, *QUIT),
    )


def by_data(*keywords: str, mail: str) -> tuple[Step, ...]:
    """Return a server that takes a message by DATA after this MAIL."""
    return (
        *(*greeted(*keywords), Hear(mail), SENDER_OK),
        *(Hear("RCPT TO:<b@contoso.test>"), RECIPIENT_OK, Hear("DATA"), START, HearMessage(), QUEUED, *QUIT),
    )


# -- how it goes over the wire


def test_bdat_carries_the_octets_as_they_are(identity: Identity) -> None:
    """Inside TLS, one chunk, without dot-stuffing; the server's last reply is told."""
    content = MESSAGE + b".\r\n..two\r\n"
    script = by_bdat(*EVERYTHING, mail=f"MAIL FROM:<a@contoso.test> SIZE={len(content)}")
    upgrade = (Hear("X-ANONYMOUSTLS"), Say(b"220 Go\r\n"), Upgrade(identity.context()))
    options = ProbeOptions(ehlo="edge.contoso.test", timeout=20, outgoing=outgoing(content))
    with ReplyServer((*greeted("X-ANONYMOUSTLS"), *upgrade, *script[1:])) as server:
        result = probe(server.target, options, NOW)

    assert result.exit_code == 0, result.verdict
    assert bytes(server.received) == content
    assert result.verdict.endswith(
        "; the message was taken: 250 2.6.0 <1@contoso.test> [InternalId=7, Hostname=mbx1] Queued mail for delivery"
    )
    assert result.as_json()["sent"] == {
        "reply": "250 2.6.0 <1@contoso.test> [InternalId=7, Hostname=mbx1] Queued mail for delivery",
        "message_id": "<1@contoso.test>",
        "accepted": True,
    }
    assert result.rows()[-2][0] == "Message"
    assert f"BDAT {len(content)} LAST <{len(content)} octets of the message>" in [
        row.text for row in result.transcript
    ]


@pytest.mark.parametrize(
    ("content", "heard"),
    [
        (b".\r\n..\r\na.\r\n", ["..", "...", "a."]),
        (b"no end of line", ["no end of line"]),
        (b"", []),
        (b"\r\n.\r\n", ["", ".."]),
    ],
)
def test_data_is_dot_stuffed(content: bytes, heard: list[str]) -> None:
    """RFC 5321 section 4.5.2: each line that begins with a dot gets one more, and the last line its end."""
    script = by_data("8BITMIME", mail="MAIL FROM:<a@contoso.test>")
    result, server = send(outgoing(content), *script)

    assert result.exit_code == 0, result.verdict
    assert server.heard[4:-1] == heard


def test_a_large_message_arrives_whole() -> None:
    """Megabytes go in pieces that TLS and the socket take."""
    content = MESSAGE + b"x" * 8_000_000
    result, server = send(outgoing(content), *by_bdat("CHUNKING", mail="MAIL FROM:<a@contoso.test>"))

    assert result.exit_code == 0
    assert bytes(server.received) == content


@pytest.mark.parametrize(
    ("content", "keywords", "mail"),
    [
        (MESSAGE, ("CHUNKING",), "MAIL FROM:<a@contoso.test>"),
        (MESSAGE, ("SIZE", "CHUNKING"), f"MAIL FROM:<a@contoso.test> SIZE={len(MESSAGE)}"),
        (b"\xfc\r\n", EVERYTHING, "MAIL FROM:<a@contoso.test> SIZE=3 BODY=8BITMIME"),
        (b"a\n", EVERYTHING, "MAIL FROM:<a@contoso.test> SIZE=2 BODY=BINARYMIME"),
        (b"a\0\r\n", EVERYTHING, "MAIL FROM:<a@contoso.test> SIZE=4 BODY=BINARYMIME"),
        (b"a\rb\r\n", EVERYTHING, "MAIL FROM:<a@contoso.test> SIZE=5 BODY=BINARYMIME"),
        (b"a\n", ("CHUNKING",), "MAIL FROM:<a@contoso.test>"),
        (b"\xfc\n", ("CHUNKING", "8BITMIME"), "MAIL FROM:<a@contoso.test> BODY=8BITMIME"),
    ],
)
def test_parameters_say_what_the_message_needs(content: bytes, keywords: tuple[str, ...], mail: str) -> None:
    """SIZE where it is offered, BODY where the octets need it and it is offered."""
    result, server = send(outgoing(content), *by_bdat(*keywords, mail=mail))

    assert result.exit_code == 0, result.verdict
    assert server.heard[1] == mail
    assert bytes(server.received) == content


def test_eight_bits_go_by_data_too() -> None:
    """What 8BITMIME needs is no chunking; the lines stay as they are."""
    script = by_data(*OLD, mail="MAIL FROM:<a@contoso.test> SIZE=17 BODY=8BITMIME")
    result, server = send(outgoing("Subject: \u00fc\r\n\r\n\u00fc".encode()), *script)

    assert result.exit_code == 0, result.verdict
    assert server.heard[4:-1] == ["Subject: \u00fc", "", "\u00fc"]


def test_addresses_beyond_ascii_say_so() -> None:
    """RFC 6531: SMTPUTF8 stands in MAIL where an address of either side needs it."""
    script = (
        *(*greeted(*EVERYTHING), Hear("MAIL FROM:<a@contoso.test>"), SENDER_OK),
        *(Hear("RCPT TO:<"), RECIPIENT_OK, Hear("RCPT TO:<"), RECIPIENT_OK, HearChunk(), QUEUED, *QUIT),
    )
    result, server = send(outgoing(MESSAGE, "b@contoso.test", "j\u00fcrgen@contoso.test"), *script)

    assert result.exit_code == 0, result.verdict
    assert server.heard[1] == f"MAIL FROM:<a@contoso.test> SIZE={len(MESSAGE)} SMTPUTF8"
    assert server.heard[2:4] == ["RCPT TO:<b@contoso.test>", "RCPT TO:<j\u00fcrgen@contoso.test>"]


def test_a_bounce_has_the_null_sender() -> None:
    """Nobody is written <>."""
    result, server = send(outgoing(sender="<>"), *by_bdat("CHUNKING", mail="MAIL FROM:<>"))

    assert result.exit_code == 0
    assert server.heard[1] == "MAIL FROM:<>"


def test_the_server_names_a_message_that_has_no_name() -> None:
    """Without a Message-ID it is the one that stands in the reply."""
    result, _ = send(outgoing(b"\r\nbody\r\n"), *by_bdat("CHUNKING", mail="MAIL"))
    nameless, _ = send(
        outgoing(b"\r\nbody\r\n"), *by_bdat("CHUNKING", mail="MAIL")[:-3], Say(b"250 OK\r\n"), *QUIT
    )

    assert result.as_json()["sent"]["message_id"] == "<1@contoso.test>"
    assert nameless.as_json()["sent"]["message_id"] is None


# -- what is not sent


@pytest.mark.parametrize(
    ("message", "keywords", "said"),
    [
        (
            outgoing(b"a\n"),
            OLD,
            "only BDAT can carry, and the server does not offer CHUNKING; Exchange would not",
        ),
        (outgoing(b"a\0\r\n"), OLD, "only BDAT can carry"),
        (outgoing(b"\xfc\r\n"), ("SIZE",), "octets above 127, and the server does not offer 8BITMIME"),
        (
            outgoing(MESSAGE, "\u00fc@contoso.test"),
            OLD,
            "beyond ASCII, and the server does not offer SMTPUTF8",
        ),
    ],
)
def test_what_the_server_cannot_take_is_not_sent(
    message: Outgoing, keywords: tuple[str, ...], said: str
) -> None:
    """It is exit code 1 with what would do, and MAIL is not said."""
    result, server = send(message, *greeted(*keywords), *QUIT)

    assert result.exit_code == 1
    assert said in result.verdict
    assert server.heard[1:] == ["QUIT"]
    assert result.as_json()["sent"] is None


MAIL = Hear("MAIL FROM:<a@contoso.test>")
REFUSALS: dict[str, tuple[tuple[Step, ...], str]] = {
    "the sender": (
        (MAIL, Say(b"530 5.7.57 Client not authenticated to send mail\r\n"), *QUIT),
        "MAIL FROM:<a@contoso.test> was refused with 530 5.7.57 Client not authenticated to send mail: AnonymousUsers",
    ),
    "a recipient": (
        (MAIL, SENDER_OK, Hear("RCPT"), Say(b"550 5.7.54 SMTP; Unable to relay\r\n"), *QUIT),
        "RCPT TO:<b@contoso.test> was refused with 550 5.7.54 SMTP; Unable to relay: the recipient's domain",
    ),
    "DATA": (
        (MAIL, SENDER_OK, Hear("RCPT"), RECIPIENT_OK, Hear("DATA"), Say(b"451 4.3.0 Later\r\n"), *QUIT),
        "DATA was refused with 451 4.3.0 Later",
    ),
    "the message": (
        (
            *(MAIL, SENDER_OK, Hear("RCPT"), RECIPIENT_OK, Hear("DATA"), START, HearMessage()),
            *(Say(b"552 5.3.4 Message size exceeds fixed maximum\r\n"), *QUIT),
        ),
        "the message was refused with 552 5.3.4 Message size exceeds fixed maximum: the message is larger",
    ),
}


@pytest.mark.parametrize(("script", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_the_server_refuses_is_told(script: tuple[Step, ...], said: str) -> None:
    """It is exit code 1 with the command, the reply, and what it means where that is known."""
    result, _ = send(outgoing(), *greeted(), *script)
    sent = result.as_json()["sent"]

    assert result.exit_code == 1
    assert result.verdict.startswith(said)
    assert (sent["accepted"], sent["message_id"]) == (False, "<1@contoso.test>")
    assert sent["reply"] in result.verdict
    assert result.rows()[-2] == ("Last reply", sent["reply"])


def test_a_refused_chunk_is_told() -> None:
    """The answer to BDAT comes after all its octets."""
    script = (
        *(*greeted("CHUNKING"), MAIL, SENDER_OK, Hear("RCPT"), RECIPIENT_OK),
        *(HearChunk(), Say(b"550 5.7.1 Not this one\r\n"), *QUIT),
    )
    result, server = send(outgoing(), *script)

    assert result.exit_code == 1
    assert result.verdict.startswith(
        "the message was refused with 550 5.7.1 Not this one: the sender has not"
    )
    assert bytes(server.received) == MESSAGE


def test_a_drop_while_sending() -> None:
    """It is exit code 3, and the last reply is that to RCPT."""
    script = (*greeted(), MAIL, SENDER_OK, Hear("RCPT"), RECIPIENT_OK, Hear("DATA"))
    result, _ = send(outgoing(), *script)

    assert result.exit_code == 3
    assert "closed the connection instead of sending the answer to DATA" in result.verdict
    assert result.as_json()["sent"]["reply"] == "250 2.1.5 Recipient OK"


def test_what_succeeded_before_a_refusal_is_said() -> None:
    """A sender that is known and may not send is told apart from one that is not known."""
    logon = LogonOptions(mechanism=Mechanism.LOGIN, user="alice", password="secret", allow_clear=True)  # noqa: S106
    options = ProbeOptions(ehlo="edge.contoso.test", verb=None, timeout=20, logon=logon, outgoing=outgoing())
    login = (
        *(Hear("AUTH LOGIN"), Say(b"334 VXNlcm5hbWU6\r\n"), Hear("YWxpY2U="), Say(b"334 UGFzc3dvcmQ6\r\n")),
        *(Hear("c2VjcmV0"), Say(b"235 2.7.0 Authentication successful\r\n")),
    )
    refusal = (MAIL, Say(b"550 5.7.60 SMTP; Client does not have permissions to send as this sender\r\n"))
    with ReplyServer((*greeted("AUTH LOGIN"), *login, *refusal, *QUIT)) as server:
        result = probe(server.target, options, NOW)

    assert result.exit_code == 1
    assert result.verdict.endswith(
        "this sender may not send as that address; AUTH LOGIN had succeeded before"
    )
    assert result.as_json()["authentication"]["succeeded"] is True


# -- as a command


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_the_command_sends_a_file(tmp_path: Path, way: str) -> None:
    """The file's octets, or those of standard input, from probe@ and the name of EHLO."""
    (tmp_path / "message.eml").write_bytes(MESSAGE)
    file = "-" if way == "stdin" else str(tmp_path / "message.eml")
    script = by_bdat("CHUNKING", mail="MAIL FROM:<probe@edge.contoso.test>")
    with ReplyServer(script) as server:
        words = ("--verb", "none", "--ehlo", "edge.contoso.test", "--send", file, "--to", "b@contoso.test")
        answer = call("probe", str(server.target), *words, "--json", said=MESSAGE.decode())

    assert (answer.code, answer.stderr) == (0, "")
    assert answer.document["sent"]["accepted"] is True
    assert bytes(server.received) == MESSAGE


BAD_USAGE = [
    (("--send", "{file}"), "a message needs a recipient; say --to b@contoso.test"),
    (("--to", "b@contoso.test"), "--from and --to belong to --send; say which message to send"),
    (("--from", "a@contoso.test"), "--from and --to belong to --send"),
    (("--send", "/nowhere", "--to", "b@contoso.test"), "the message cannot be read: /nowhere: no such file"),
    (("--send", "/", "--to", "b@contoso.test"), "the message cannot be read: /: is a directory"),
    (("--send", "{file}", "--to", "b"), "'b' is not an address; write a@contoso.test"),
    (("--send", "{file}", "--to", "<>"), "'<>' is not an address"),
    (("--send", "{file}", "--to", "b@contoso.test SIZE=1"), "is not an address"),
    (("--send", "{file}", "--to", "b@contoso.test", "--from", "a b@c"), "'a b@c' is not an address"),
    (("--send", "{file}", "--to", "b@contoso.test", "--ehlo", "[1]"), "'probe@[1]' is not an address"),
]


@pytest.mark.parametrize(("words", "said"), BAD_USAGE)
def test_options_that_cannot_be_are_bad_usage(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit code 2 with what would do, before any connection."""
    file = tmp_path / "message.eml"
    file.write_bytes(MESSAGE)
    answer = call("probe", "127.0.0.1:9", *(word.format(file=file) for word in words))

    assert (answer.code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())


def test_a_file_that_is_too_large_is_bad_usage(tmp_path: Path) -> None:
    """150 MB are the most."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_OCTETS + 1)
    answer = call("probe", "127.0.0.1:9", "--send", tmp_path / "large", "--to", "b@contoso.test")

    assert answer.code == 2
    assert "is larger than 150 MB, which is the most that is sent" in " ".join(answer.stderr.split())


def test_so_many_recipients_are_too_many() -> None:
    """A thousand go with a message at a time."""
    many = tuple(f"{number}@contoso.test" for number in range(1001))

    assert replace(outgoing(), recipients=many[:1000]).recipients == many[:1000]
    with pytest.raises(ValueError, match="at most 1000 recipients"):
        outgoing(MESSAGE, *many)
