"""YAML 1.2, core schema: the only way in which this program reads YAML.

PyYAML scans and parses; what a word means is decided here, because PyYAML follows YAML 1.1:
there `off` is false, `1:30` is 90 and `2026-11-22` a date.  The words of the core schema are
those of YAML 1.2.2 section 10.3.2.  PyYAML's own tables are left alone.

Whatever the text is, the answer is a value or a YamlError of one line.
"""

from __future__ import annotations

import codecs
import math
import re
from typing import Any

import yaml

from smtpd_anontls.domain.printable import printable

_DEEPEST = 64
_FREE_NODES = 10_000  # That a text may yield beyond its own length, through aliases.

_TAG = "tag:yaml.org,2002:"
_STR, _NULL, _BOOL, _INT, _FLOAT = (_TAG + name for name in ("str", "null", "bool", "int", "float"))
_SEQUENCE, _MAPPING = _TAG + "seq", _TAG + "map"

_WORDS = (
    # A thumbprint stands bare behind msExchServerInternalTLSCert.  All its digits may be decimal,
    # or decimal around one E: as a number it would lose leading zeros, or become infinity.
    (_STR, r"[0-9A-Fa-f]{40}"),
    (_NULL, r"null|Null|NULL|~|"),
    (_BOOL, r"true|True|TRUE|false|False|FALSE"),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
)

# What YAML forbids in a text (section 5.1), and three characters that YAML 1.1 takes for line
# breaks and YAML 1.2 does not: nobody sees them, so nobody would find the mistake they make.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_PLAINER = (
    (
        r"found character '\\t' that cannot start any token",
        "a tab stands where YAML wants spaces; replace it",
    ),
    (r"found a tab character.*", "a tab stands where YAML wants spaces; replace it"),
    (
        r"mapping values are not allowed here",
        "a ':' too many, or a wrong indentation; put text with ': ' in quotes",
    ),
    (r"could not find expected ':'", "there is no ':' behind the key"),
    (r"expected <block end>, but found '.*'", "the indentation, or a quote or bracket before it, is wrong"),
    (
        r"found character '(.)' that cannot start any token",
        r"text cannot begin with \1 unless it stands in quotes",
    ),
    (r"found unexpected end of stream", "a quote is not closed"),
    (r"expected ',' or '([\]}])', but got '.*'", r"a ',' or a '\1' is missing"),
    (r"expected the node content, but found '.*'", "a value is missing, or an indicator stands in its place"),
    (r"but found another document", "a second document begins; a file has one"),
    (r"expected '<document start>', but found '.*'", "something stands behind the end of the document"),
    (r"found undefined alias '(.*)'", r"*\1 has no anchor &\1 before it"),
    (r"second occurrence", "an anchor has this name already; rename one"),
)


class YamlError(ValueError):
    """The text cannot be read; its message is one line: the line's number, what is wrong, what would do."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {printable(problem)}")
        self.line = line
        self.problem = printable(problem)


def decode(octets: bytes) -> str:
    """Return the text of a file, which must be UTF-8 with or without a byte order mark."""
    if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise YamlError(1, "this is UTF-16; save the file as UTF-8")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise YamlError(
            line, f"octet 0x{octets[error.start]:02X} is not UTF-8; save the file as UTF-8"
        ) from None


def load(text: str) -> Any:
    """Return the one document in *text* as dict, list, str, int, float, bool and None, or raise YamlError."""
    if found := _FORBIDDEN.search(text.removeprefix("\ufeff")):
        line = len(re.findall(r"\r\n|\r|\n", text[: found.start()])) + 1
        raise YamlError(line, f"the character U+{ord(found[0]):04X} cannot stand here; remove it")
    reader = _Reader(text)
    try:
        node = reader.get_single_node()
        return None if node is None else _Values(len(text)).of(node)
    except yaml.MarkedYAMLError as error:
        raise _explained(error) from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, YamlError):
            raise
        # PyYAML itself turns "\UFFFFFFFF" and a %YAML directive with endless digits into numbers.
        raise YamlError(reader.get_mark().line + 1, "a number or an escape is out of range") from None
    finally:
        reader.dispose()


class _Reader(yaml.SafeLoader):
    """PyYAML up to nodes: words resolved by the core schema, depth bounded."""

    # The key None is PyYAML's own for "whatever the first character is".
    yaml_implicit_resolvers = {None: [(tag, re.compile(rf"(?:{words})\Z")) for tag, words in _WORDS]}  # noqa: RUF012 - as PyYAML declares it
    _depth = 0

    @classmethod
    def meaning(cls, word: str) -> str:
        """Return the tag of the plain scalar *word*."""
        return next((tag for tag, words in cls.yaml_implicit_resolvers[None] if words.match(word)), _STR)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise YamlError(self.get_mark().line + 1, f"nested deeper than {_DEEPEST} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Values:
    """Nodes to values.  An alias yields a copy, so their number is bounded by the length of the text."""

    def __init__(self, length: int) -> None:
        self._left = length + _FREE_NODES

    def of(self, node: yaml.Node, depth: int = 1) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _at(node, "aliases repeat too much; write the values out")
        # Anchors inside anchors, or an alias to what it stands in, go deeper than the text does.
        if depth > _DEEPEST:
            raise _at(node, f"aliases nest deeper than {_DEEPEST} levels")
        match node:
            case yaml.ScalarNode():
                return _scalar(node)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self.of(item, depth + 1) for item in node.value]
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, depth)
        raise _unknown_tag(node)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        lines: dict[Any, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _at(key_node, "a list or a mapping stands where a key must be; put the key in quotes")
            key = self.of(key_node, depth + 1)
            if key in values:
                raise _at(
                    key_node,
                    f"the key {key_node.value!r} is already on line {lines[key]}; remove one of them",
                )
            values[key] = self.of(value_node, depth + 1)
            lines[key] = key_node.start_mark.line + 1
        return values


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    word: str = node.value
    if node.tag == _STR:
        if _SURROGATE.search(word):
            raise _at(
                node, r"an escape names half of a surrogate pair; write the character or \U and 8 digits"
            )
        return word
    if node.tag not in (_NULL, _BOOL, _INT, _FLOAT):
        raise _unknown_tag(node)
    # A tag can be written out: !!int abc.
    meaning = _Reader.meaning(word)
    if meaning != node.tag and (node.tag, meaning) != (_FLOAT, _INT):
        raise _at(node, f"{word!r} is not of the type {_short(node.tag)}")
    try:
        return _number(word) if node.tag == _INT else _other(node.tag, word)
    except ValueError:
        # Python reads at most 4,300 decimal digits.
        raise _at(node, "the number has too many digits") from None


def _number(word: str) -> int:
    return int(word, 0) if word[:2] in ("0o", "0x") else int(word)


def _other(tag: str, word: str) -> float | bool | None:
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return word.lower() == "true"
    if word.endswith(("inf", "Inf", "INF")):
        return -math.inf if word[0] == "-" else math.inf
    return math.nan if word in (".nan", ".NaN", ".NAN") else float(word)


def _unknown_tag(node: yaml.Node) -> YamlError:
    return _at(node, f"the tag {_short(node.tag)} means nothing here; remove it")


def _short(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag


def _at(node: yaml.Node, problem: str) -> YamlError:
    return YamlError(node.start_mark.line + 1, problem)


def _explained(error: yaml.MarkedYAMLError) -> YamlError:
    """Say in plain words what PyYAML found."""
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    problem = str(error.problem)
    for found, plainer in _PLAINER:
        if match := re.fullmatch(found, problem, re.DOTALL):
            problem = match.expand(plainer)
            break
    began = error.context_mark
    if began is not None and began.line + 1 != line:
        problem += f" (it began on line {began.line + 1})"
    return YamlError(line, problem)
