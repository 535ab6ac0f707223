"""A selection as the flow chart of its document, with the path that was taken.

The questions are those of "Selection of Inbound Anonymous TLS Certificates" and "Selection of Inbound
STARTTLS Certificates", in their order; answers and sentences come from the trace.  The chart is a list:
what a person sees as boxes and lines is read aloud as a list of questions with their answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from smtpd_anontls.domain.records import TlsVerb
from smtpd_anontls.web.pages.rendering import words

if TYPE_CHECKING:
    from smtpd_anontls.domain.records import Json

_NOTHING = "Not advertised. No certificate is loaded."
_NOTHING_WITH = "Not advertised; event {}."
_ALL_THE_SAME = "Advertised all the same; event {}."


@dataclass(frozen=True, slots=True)
class Offer:
    """Whether a verb was offered, and if not, which step decided it."""

    verb: str
    offered: bool
    used: bool
    reason: str


class Answer(StrEnum):
    """What became of a question."""

    YES = "yes"
    NO = "no"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class _Question:
    step: str
    text: str
    otherwise: str  # What follows from a no.


@dataclass(frozen=True, slots=True)
class Box:
    """One question of the chart."""

    number: int
    step: str
    question: str
    answer: Answer
    detail: str  # The sentence of the trace; empty where the question was not asked.
    otherwise: str

    @property
    def name(self) -> str:
        """The step as a person reads it."""
        return words(self.step)


@dataclass(frozen=True, slots=True)
class Chart:
    """The flow chart of one verb."""

    verb: str
    server: str
    connector: str
    advertised: bool
    boxes: tuple[Box, ...]
    certificate: Json | None
    event_ids: tuple[int, ...]
    duration_ms: float

    @classmethod
    def of(cls, selection: Json) -> Chart:
        """Draw a selection object."""
        asked = {step["step"]: step for step in selection["steps"]}
        boxes = [
            Box(
                number,
                question.step,
                question.text,
                _answer(asked.get(question.step)),
                asked[question.step]["detail"] if question.step in asked else "",
                question.otherwise,
            )
            for number, question in enumerate(_questions(selection["verb"], asked), 1)
        ]
        return cls(
            selection["verb"],
            selection["server"],
            selection["connector"],
            selection["advertised"],
            tuple(boxes),
            selection["certificate"],
            tuple(selection["event_ids"]),
            selection["duration_ms"],
        )

    def offer(self, used: str | None = None) -> Offer:
        """Return what became of the verb, where *used* is the verb that the peer used."""
        return Offer(self.verb, self.advertised, self.verb == used, "" if self.advertised else self.ended_at)

    @property
    def slug(self) -> str:
        """The verb as part of an id in a page."""
        return self.verb.lower()

    @property
    def ended_at(self) -> str:
        """The name of the step that decided."""
        return next((box.name for box in reversed(self.boxes) if box.answer is not Answer.NOT_ASKED), "")


_ANONYMOUS_TLS = (
    _Question("auth_mechanism", "Is ExchangeServer enabled in AuthMechanism?", _NOTHING),
    _Question("suppression", "May the connector advertise it (SuppressXAnonymousTls is false)?", _NOTHING),
    _Question(
        "directory",
        "Does msExchServerInternalTLSCert of the server object name a certificate?",
        "Not advertised; event 12012 at service start.",
    ),
    _Question(
        "certificate_store",
        "Does the local computer store hold it, with its private key?",
        _NOTHING_WITH.format(12013),
    ),
    _Question("validity", "Is now within Valid from and Valid to?", _ALL_THE_SAME.format(12015)),
)
_BY_NAME = (
    _Question("auth_mechanism", "Is Tls enabled in AuthMechanism?", _NOTHING),
    _Question(
        "certificate_name",
        "Is there a name to look for: TlsCertificateName, else the FQDN?",
        _NOTHING_WITH.format(12014),
    ),
    _Question(
        "certificate_store", "Does a certificate in the store carry that name?", _NOTHING_WITH.format(12014)
    ),
    _Question(
        "eligibility",
        "Is one X.509 v3, with a private key, enabled for SMTP?",
        _NOTHING_WITH.format(12014),
    ),
    _Question("preference", "Is one preferred: the newest valid one of an authority, else self-signed?", ""),
    _Question("validity", "Is now within Valid from and Valid to?", _ALL_THE_SAME.format(12016)),
)
_INTERNAL_TRANSPORT = (
    _Question("auth_mechanism", "Is Tls enabled in AuthMechanism?", _NOTHING),
    _Question(
        "directory",
        "Does msExchServerInternalTLSCert of the server object name a certificate?",
        _NOTHING_WITH.format(12014),
    ),
    _Question(
        "certificate_store",
        "Does the local computer store hold it, with its private key?",
        _NOTHING_WITH.format(12014),
    ),
    _Question("validity", "Is now within Valid from and Valid to?", _ALL_THE_SAME.format(12016)),
)


def _questions(verb: str, asked: dict[str, Json]) -> tuple[_Question, ...]:
    """Return the questions of the procedure that *asked* steps of."""
    if verb == TlsVerb.X_ANONYMOUSTLS:
        return _ANONYMOUS_TLS
    return _INTERNAL_TRANSPORT if "directory" in asked else _BY_NAME


def _answer(step: Json | None) -> Answer:
    if step is None:
        return Answer.NOT_ASKED
    return Answer.YES if step["passed"] else Answer.NO
