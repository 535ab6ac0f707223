"""What is asked of a property of a dump, in every form that PowerShell writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smtpd_anontls.exchange_export.dumped import (
    Dumped,
    boolean,
    limit,
    listed,
    seconds,
    shown,
    size,
    text_of,
    whole_number,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from smtpd_anontls.exchange_export.dumped import Value

FLAGS = Dumped(text="Tls, ExchangeServer", number=17)
LIST = Dumped(items=("a", Dumped(text="b"), None))


@pytest.mark.parametrize(
    ("ask", "value", "answer"),
    [
        (text_of, "", None),
        (text_of, None, None),
        (text_of, "a", "a"),
        (text_of, True, "true"),
        (text_of, 3, "3"),
        (text_of, b"octets", None),
        (text_of, FLAGS, "Tls, ExchangeServer"),
        (boolean, True, True),
        (boolean, "False", False),
        (whole_number, 5, 5),
        (whole_number, "5", 5),
        (whole_number, FLAGS, 17),
        (limit, "Unlimited", None),
        (limit, Dumped(text="Unlimited"), None),
        (limit, Dumped(text="5000"), 5000),
        (size, Dumped(text="36 MB (37,748,736 bytes)"), 37748736),
        (size, "256 KB (262.144 bytes)", 262144),
        (size, "256 KB (262\u202f144 bytes)", 262144),
        (size, 1024, 1024),
        (seconds, "00:10:00", 600.0),
        (seconds, Dumped(text="1.00:00:05"), 86405.0),
        (seconds, "00:00:00.5000000", 0.5),
        (seconds, 2.5, 2.5),
        (words, FLAGS, ["Tls", "ExchangeServer"]),
        (words, LIST, ["a", "b"]),
        (words, None, []),
        (listed, LIST, LIST.items),
        (listed, "a", ("a",)),
        (listed, None, ()),
        (shown, LIST, "a, b, "),
        (shown, b"octets", "6 octets"),
        (shown, "x" * 100, "x" * 80 + "…"),
        (shown, None, ""),
    ],
)
def test_a_question_and_its_answer(ask: Callable[[Value], object], value: Value, answer: object) -> None:
    """The same answer, however the session that exported it wrote it."""
    assert ask(value) == answer


@pytest.mark.parametrize(
    ("ask", "value"),
    [
        (boolean, "perhaps"),
        (boolean, None),
        (whole_number, True),
        (whole_number, "five"),
        (limit, None),
        (size, "36 MB (no bytes)"),
        (seconds, "soon"),
        (seconds, True),
        (seconds, "10:00"),
    ],
)
def test_what_is_no_answer(ask: Callable[[Value], object], value: Value) -> None:
    """ValueError says what it was."""
    with pytest.raises(ValueError, match=r"^'.*' is "):
        ask(value)


@pytest.mark.parametrize("prefix", ["", "Deserialized.", "Selected.", "Deserialized.Selected."])
def test_a_type_is_known_by_its_last_word(prefix: str) -> None:
    """Whatever PowerShell has put before it."""
    one = Dumped(types=(f"{prefix}Microsoft.Exchange.Data.ReceiveConnector", "System.Object"))

    assert (one.kind, one.type_name) == ("ReceiveConnector", "Microsoft.Exchange.Data.ReceiveConnector")
    assert Dumped().kind == Dumped().type_name == ""
