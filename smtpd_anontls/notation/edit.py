"""Changing one value in a YAML text, and writing the file so that nobody ever reads half of it.

A text that a person wrote stays as it was written.  Dumping the whole document again would
reindent lists, join lines and respace columns, so ruamel.yaml says where the value stands and
writes the new one, and only that stretch of the text is replaced.  What comes out is read back
and compared before anybody gets it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from smtpd_anontls.notation import yaml12
from smtpd_anontls.notation.places import AliasInTheWayError, Kind, Place, place_of_document
from smtpd_anontls.notation.write import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_BYTE_ORDER_MARK = "\ufeff"

_Keys = list[str | int]


class EditError(ValueError):
    """The value cannot be changed in place; the message is one line that says what would do."""


def with_value(text: str, path: Sequence[str | int], value: object) -> str:
    """Return *text* with *value* at *path* and every other character as it was.

    The last keys of *path* may be new: they are appended to the mapping in which they are
    missing.  YamlError where *text* cannot be read, EditError where the change cannot be made.
    """
    document, new = yaml12.load(text), _plain(value)
    wanted = _with_value(document, list(path), new)
    # repr tells 1 from true and from 1.0, and shows the order of keys.
    if repr(wanted) == repr(document):
        return text
    mark = text[: text.startswith(_BYTE_ORDER_MARK)]
    try:
        edited = mark + _edited(text.removeprefix(mark), document, list(path), new)
        if repr(yaml12.load(edited)) == repr(wanted):
            return edited
    except AliasInTheWayError:
        raise _through_an_alias(path) from None
    except (YAMLError, yaml12.YamlError):
        pass  # An anchor that others need, or a layout that only a person can keep.
    raise EditError(f"{_shown(path)} cannot be changed in place; edit the file by hand")


def without_keys(text: str, keys: Collection[str]) -> str:
    """Return *text*, a mapping, without *keys* and with every other line as it was.

    A comment behind a value goes with it; one on a line of its own stays.  YamlError where *text*
    cannot be read, EditError where the change cannot be made.
    """
    document = yaml12.load(text) or {}
    mark = text[: text.startswith(_BYTE_ORDER_MARK)]
    for key in [key for key in document if key in keys]:
        position = list(document).index(key)
        del document[key]
        with contextlib.suppress(YAMLError, yaml12.YamlError):
            body = text.removeprefix(mark)
            start, end = _pair_place(body, position)
            text = mark + body[:start] + body[end:]
            # A mapping on lines of its own that has lost them all is nothing, which means the same.
            if repr(yaml12.load(text) or {}) == repr(document):
                continue
        raise EditError(f"{key} cannot be taken out; edit the file by hand")
    return text


def value_text(text: str, path: Sequence[str | int]) -> str | None:
    """Return how the value at *path* is written in *text*, or None where there is none."""
    document = yaml12.load(text)
    body = text.removeprefix(_BYTE_ORDER_MARK)
    place = place_of_document(body)
    for key in path:
        position = _position(document, key)
        if position is None or place is None:
            return None
        try:
            place, document = place.child(position), document[key]
        except AliasInTheWayError:
            raise _through_an_alias(path) from None
    return None if place is None else body[place.start : place.end]


def write_atomically(path: Path, text: str | bytes) -> None:
    """Write *text* so that a reader, even after a power cut, finds the old file whole or the new one.

    Mode and owner stay; where *path* is a symbolic link, the file that it names is written.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{target.name}.{secrets.token_hex(6)}.new")
    try:
        before = target.stat()
    except FileNotFoundError:
        before = None
    # Nobody else may read it before it has the old file's mode; a first file gets the umask's.
    mode = 0o666 if before is None else 0o600
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            if before is not None:
                # Without the right to give files away the editor becomes the owner, as with any editor.
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, before.st_mode & 0o7777)
            os.fsync(descriptor)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    # The new name lasts only once the folder is on disk too.
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _plain(value: object) -> Any:
    """Return *value* as the reader would give it: lists, dicts and bare scalars."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} has no form in YAML")


def _with_value(document: Any, path: _Keys, value: Any) -> Any:
    """Return a copy of *document* with *value* at *path*."""
    if not path:
        return value
    key, *rest = path
    if isinstance(document, list) and isinstance(key, int) and 0 <= key < len(document):
        return [*document[:key], _with_value(document[key], rest, value), *document[key + 1 :]]
    if isinstance(document, dict) or (document is None and isinstance(key, str)):
        known = document or {}
        return {**known, key: _with_value(known.get(key), rest, value)}
    raise EditError(f"there is no {_shown(path)} that could be changed")


def _position(document: Any, key: str | int) -> int | None:
    """Return the place of *key* among its siblings, or None where it is missing."""
    if isinstance(document, dict):
        return list(document).index(key) if key in document else None
    if isinstance(document, list) and isinstance(key, int) and 0 <= key < len(document):
        return key
    return None


def _through_an_alias(path: Sequence[str | int]) -> EditError:
    return EditError(f"{_shown(path)} is written as an alias; change the value at its anchor, by hand")


def _shown(path: Sequence[str | int]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _edited(text: str, document: Any, path: _Keys, value: Any) -> str:
    """Return *text* with the stretch of the value at *path* written anew."""
    place = place_of_document(text)
    if place is None:
        newline = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{newline}{_pair(path, value)}\n"
    for depth, key in enumerate(path):
        if document is None:
            return _replaced(text, place, None, _nested(path[depth:], value))
        position = _position(document, key)
        if position is None:
            return _appended(text, place, path[depth:], value)
        place, document = place.child(position), document[key]
    return _replaced(text, place, document, value)


def _nested(path: _Keys, value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _pair(path: _Keys, value: Any) -> str:
    return f"{one_line(path[0])}: {one_line(_nested(path[1:], value))}"


def _appended(text: str, place: Place, path: _Keys, value: Any) -> str:
    """Add a key behind the last one of a mapping."""
    pair = _pair(path, value)
    if place.kind is Kind.ALIAS:
        raise AliasInTheWayError
    if not place.children:
        return f"{text[: place.start]}{{{pair}}}{text[place.end :]}"
    end = place.children[-1].end
    if place.kind is Kind.FLOW:
        return f"{text[:end]}, {pair}{text[end:]}"
    # Behind the last value's own line, so that a comment at its end stays with it.
    end = _line_end(text, end)
    return f"{text[:end]}{_newline(text)}{' ' * place.keys[0].column}{pair}{text[end:]}"


def _replaced(text: str, place: Place, before: Any, value: Any) -> str:
    """Write *value* where *place* is, in the style that is there."""
    if isinstance(value, list) and isinstance(before, list) and place.kind in (Kind.BLOCK, Kind.FLOW):
        items = _items(text, place, before, value)
        if place.kind is Kind.BLOCK and items:
            separator = f"{_newline(text)}{' ' * place.column}"
            new = separator.join(f"- {item}" for item in items)
            return text[: place.start] + new + text[place.end :]
        new = f"[{', '.join(items)}]"
    else:
        new = one_line(value, place.quote)
    if place.kind is Kind.BLOCK:
        # A block stands on lines of its own; the new value stands behind the key, and comments
        # between the two stay where they are.
        gap = text[place.behind : place.start].rstrip()
        return f"{text[: place.behind]} {new}{gap}{text[place.end :]}"
    space = " " if place.start == place.end else ""
    return f"{text[: place.start]}{space}{new}{text[place.end :]}"


def _pair_place(text: str, position: int) -> tuple[int, int]:
    """Return where a pair of the whole mapping begins and ends, with what would be left of it alone."""
    place = place_of_document(text)
    assert place is not None
    key, value = place.keys[position], place.children[position]
    if place.kind is Kind.BLOCK:
        end = _line_end(text, value.end)
        return key.start - key.column, end + len(_newline(text)) if end < len(text) else end
    # In brackets one comma goes with it: the one behind it, or where it is the last the one before.
    if position + 1 < len(place.keys):
        return key.start, place.keys[position + 1].start
    return place.children[position - 1].end if position else key.start, value.end


def _items(text: str, place: Place, before: list[Any], value: list[Any]) -> list[str]:
    """Write the items of a list; one that was there already stays as it was written."""
    written = {
        repr(item): text[child.start : child.end]
        for item, child in zip(before, place.children, strict=True)
        if child.kind is Kind.SCALAR and child.style not in ("|", ">")
    }
    quote = place.children[0].quote if place.children else None
    return [written.get(repr(item)) or one_line(item, quote) for item in value]


def _line_end(text: str, start: int) -> int:
    ends = [end for end in (text.find("\r", start), text.find("\n", start)) if end >= 0]
    return min(ends, default=len(text))


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
