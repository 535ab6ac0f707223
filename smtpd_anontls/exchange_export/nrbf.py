"""The head of a .NET Remoting binary stream: the members of its root object that stand in it plainly.

Exchange types carry themselves in such a stream as ``SerializationData`` when they are exported, and a
certificate's services and status are nowhere else.  They are numbers at its beginning, so that is all that
is read: arrays and objects further on are passed over unread, and nothing is ever built that the octets do
not hold.  (Libraries for the format follow references and set aside what a stream merely announces.)

Source: [MS-NRBF], sections 2.1 to 2.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Member = None | bool | int | float | str

_MOST_MEMBERS = 200
_DEEPEST = 8
_LONGEST_LENGTH = 5  # Octets of a string's length.


class _Record(IntEnum):
    """RecordTypeEnumeration, section 2.1.2.1, as far as a root's members need it."""

    HEADER = 0
    CLASS_WITH_ID = 1
    SYSTEM_CLASS = 4
    CLASS = 5
    STRING = 6
    TYPED = 8
    REFERENCE = 9
    NULL = 10
    LIBRARY = 12


class _Type(IntEnum):
    """BinaryTypeEnumeration, section 2.1.2.2, where something follows the type."""

    PRIMITIVE = 0
    SYSTEM_CLASS = 3
    CLASS = 4
    PRIMITIVE_ARRAY = 7


# PrimitiveTypeEnumeration, section 2.1.2.3; Char, Decimal and the dates are in none of Exchange's certificates.
_PRIMITIVES = {
    1: struct.Struct("<?"), 2: struct.Struct("<B"), 6: struct.Struct("<d"), 7: struct.Struct("<h"),
    8: struct.Struct("<i"), 9: struct.Struct("<q"), 10: struct.Struct("<b"), 11: struct.Struct("<f"),
    12: struct.Struct("<q"), 13: struct.Struct("<Q"), 14: struct.Struct("<H"), 15: struct.Struct("<I"),
    16: struct.Struct("<Q"),
}  # fmt: skip
_TEXT = 18
_INT32 = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class _Shape:
    """A class as a stream describes it: its members, each with its type and what belongs to that."""

    names: tuple[str, ...]
    types: tuple[tuple[int, int], ...]  # Binary type, and primitive type where it is one.


def root_members(octets: bytes) -> Mapping[str, Member]:
    """Return the members of the root object by name; ValueError where the octets are no such stream.

    An enumeration is its number; what stands further on in the stream, or is an array, is None.
    """
    reader = _Reader(octets)
    if reader.octet() != _Record.HEADER:
        raise ValueError("it does not begin as a .NET binary stream")
    reader.skip(4 * _INT32.size)
    while (record := reader.octet()) == _Record.LIBRARY:
        reader.library()
    if record not in (_Record.CLASS, _Record.SYSTEM_CLASS):
        raise ValueError("its root is no object")
    return reader.object(record, 1)


class _Reader:
    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0
        self._shapes: dict[int, _Shape] = {}

    def octet(self) -> int:
        return self._take(1)[0]

    def skip(self, count: int) -> None:
        self._take(count)

    def library(self) -> None:
        self._int32()
        self._string()

    def object(self, record: int, depth: int) -> dict[str, Member]:
        """Read a ClassWithMembersAndTypes, with or without a library, and its members (section 2.3.2)."""
        identity, shape = self._int32(), self._shape()
        if record == _Record.CLASS:
            self._int32()
        self._shapes[identity] = shape
        return self._members(shape, depth)

    def _shape(self) -> _Shape:
        self._string()  # The class's name.
        count = self._int32()
        if not 0 <= count <= _MOST_MEMBERS:
            raise ValueError(f"an object has {count} members")
        names = tuple(self._string() for _ in range(count))
        kinds = [self.octet() for _ in range(count)]
        return _Shape(names, tuple((kind, self._more(kind)) for kind in kinds))

    def _more(self, kind: int) -> int:
        if kind in (_Type.PRIMITIVE, _Type.PRIMITIVE_ARRAY):
            return self.octet()
        if kind in (_Type.SYSTEM_CLASS, _Type.CLASS):
            self._string()
        if kind == _Type.CLASS:
            self._int32()
        return 0

    def _members(self, shape: _Shape, depth: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for name, (kind, primitive) in zip(shape.names, shape.types, strict=True):
            members[name] = self._primitive(primitive) if kind == _Type.PRIMITIVE else self._value(depth)
        return members

    def _value(self, depth: int) -> Member:
        """Read the record that a member's value is."""
        if depth > _DEEPEST:
            raise ValueError(f"objects stand in one another deeper than {_DEEPEST} levels")
        record = self.octet()
        while record == _Record.LIBRARY:
            self.library()
            record = self.octet()
        match record:
            case _Record.SYSTEM_CLASS | _Record.CLASS:
                return self.object(record, depth + 1).get("value__")
            case _Record.CLASS_WITH_ID:
                self._int32()
                shape = self._shapes.get(self._int32())
                if shape is None:
                    raise ValueError("an object is like one that is not there")
                return self._members(shape, depth + 1).get("value__")
            case _Record.STRING:
                self._int32()
                return self._string()
            case _Record.TYPED:
                return self._primitive(self.octet())
            case _Record.REFERENCE:
                self._int32()
                return None
            case _Record.NULL:
                return None
        raise ValueError(f"record {record} stands where a value must be")

    def _primitive(self, kind: int) -> Member:
        if kind == _TEXT:
            return self._string()
        form = _PRIMITIVES.get(kind)
        if form is None:
            raise ValueError(f"a value is of the unknown type {kind}")
        value: Member = form.unpack(self._take(form.size))[0]
        return value

    def _string(self) -> str:
        """Read a LengthPrefixedString (section 2.1.1.6): seven bits of the length an octet, the lowest first."""
        length = 0
        for position in range(_LONGEST_LENGTH):
            octet = self.octet()
            length |= (octet & 0x7F) << 7 * position
            if octet < 0x80:  # noqa: PLR2004 - the bit that says there is more
                return self._take(length).decode("utf-8")
        raise ValueError("a text has a length that is none")

    def _int32(self) -> int:
        value: int = _INT32.unpack(self._take(_INT32.size))[0]
        return value

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._octets):
            raise ValueError("it is cut off")
        taken = self._octets[self._at : end]
        self._at = end
        return taken
