"""The XML of Export-Clixml, from octets that anybody may have written, to plain values.

defusedxml parses, under limits of depth and number that hold while it does; psrpcore then says what
the elements mean.  Whatever the octets are, the answer is values or a DumpError of one line.
"""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from smtpd_anontls.domain.printable import printable
from smtpd_anontls.exchange_export.dumped import Dumped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smtpd_anontls.exchange_export.dumped import Value

# A connector has 60 KB in 500 elements: there is room for those of eighty servers.
LARGEST = 32 * 1024**2
_DEEPEST = 64
_MOST_ELEMENTS = 200_000
# A connector has 70, and psrpcore looks through an object's properties for each one that it adds.
_MOST_PROPERTIES = 300
_LONGEST_TEXT = 1024**2  # Characters of one value; a connector's longest has 32,000.
_MOST_ATTRIBUTES = 8

_NAMESPACE = "{http://schemas.microsoft.com/powershell/2004/04}"
_PROPERTIES = ("Props", "MS")


class DumpError(Exception):
    """The octets are not a dump that can be read; one clause says why, and what would do."""


def read_clixml(octets: bytes) -> list[Dumped]:
    """Return the objects of a dump, those of a list that was exported whole one by one."""
    root = _parsed(octets)
    if root.tag != "Objs":
        raise DumpError("is XML, but not what Export-Clixml writes; remove it from the folder")
    objects: list[Dumped] = []
    for value in _meaning(root):
        found = value.items if isinstance(value, Dumped) and value.items is not None else (value,)
        objects += (each if isinstance(each, Dumped) else Dumped(text=str(each)) for each in found)
    return objects


class _Builder(TreeBuilder):
    """Builds the tree without PowerShell's namespace, and stops where it grows past the limits."""

    def __init__(self) -> None:
        super().__init__()
        self._left = _MOST_ELEMENTS
        self._children: list[int] = []  # Of each element that is open.
        self._length = 0  # Of the text since the last tag.

    def start(self, tag: Any, attrs: Any) -> Element:
        self._left -= 1
        if self._left < 0:
            raise DumpError(f"has more than {_MOST_ELEMENTS} elements; export fewer objects")
        if len(self._children) >= _DEEPEST:
            raise DumpError(f"is nested deeper than {_DEEPEST} levels; export without -Depth")
        if len(attrs) > _MOST_ATTRIBUTES:
            raise DumpError("has an element with more attributes than Export-Clixml writes")
        if self._children:
            self._children[-1] += 1
        self._children.append(0)
        self._length = 0
        return super().start(tag.removeprefix(_NAMESPACE), attrs)

    def end(self, tag: Any) -> Element:
        if self._children.pop() > _MOST_PROPERTIES and tag.removeprefix(_NAMESPACE) in _PROPERTIES:
            raise DumpError(f"has an object with more than {_MOST_PROPERTIES} properties")
        self._length = 0
        return super().end(tag.removeprefix(_NAMESPACE))

    def data(self, data: Any) -> None:
        self._length += len(data)
        if self._length > _LONGEST_TEXT:
            raise DumpError(f"has a value longer than {_LONGEST_TEXT} characters")
        super().data(data)


def _parsed(octets: bytes) -> Element:
    # Here, since no other command needs it.
    from defusedxml.common import DefusedXmlException  # noqa: PLC0415
    from defusedxml.ElementTree import DefusedXMLParser  # noqa: PLC0415

    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
    try:
        parser.feed(octets)
        root: Element = parser.close()
    except DefusedXmlException:
        raise DumpError("has a document type, which Export-Clixml never writes; it is not read") from None
    except ParseError as error:
        line = error.position[0]
        raise DumpError(f"is cut off, or not well-formed XML (line {line}); export it again") from None
    except (ValueError, LookupError):
        raise DumpError(
            "is in an encoding that is not known; Export-Clixml writes UTF-16 by itself"
        ) from None
    return root


def _meaning(root: Element) -> tuple[Value, ...]:
    """Return what the elements of *root* mean, as psrpcore reads them."""
    # Here, since psrpcore takes its time to load and no other command needs it.
    from psrpcore.types import PSCryptoProvider, deserialize  # noqa: PLC0415

    # One list, so that an object can refer to a type or an object of an earlier one.
    everything = Element("Obj")
    everything.append(Element("LST"))
    everything[0].extend(root)
    try:
        read = deserialize(everything, PSCryptoProvider())
        found = _Plain().of(read)
    except DumpError:
        raise
    except Exception as error:
        # It raises whatever its conversions raise: KeyError for a reference to nothing, and others.
        raise DumpError(f"is not what Export-Clixml writes ({_why(error)}); export it again") from error
    assert isinstance(found, Dumped)
    assert found.items is not None
    return found.items


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return "something refers to what is not there"
    return printable(str(error).partition("\n")[0])[:100] or type(error).__name__


class _Plain:
    """psrpcore's objects to ours, each object once: references may meet, but not lead back."""

    def __init__(self) -> None:
        self._known: dict[int, Dumped] = {}
        self._under_way: set[int] = set()

    def of(self, value: Any) -> Value:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, timedelta):
            return value.total_seconds()
        kept = getattr(value, "PSObject", None)
        if isinstance(value, str) and not (kept and kept.to_string and str(kept.to_string) != str(value)):
            return str(value)
        if id(value) in self._known:
            return self._known[id(value)]
        if id(value) in self._under_way:
            raise DumpError("has an object that holds itself; export it again")
        self._under_way.add(id(value))
        self._known[id(value)] = plain = self._object(value, kept)
        self._under_way.remove(id(value))
        return plain

    def _object(self, value: Any, kept: Any) -> Dumped:
        items = None
        if isinstance(value, list):
            items = tuple(self.of(item) for item in value)
        text = getattr(kept, "to_string", None)
        if text is None and not isinstance(value, list | dict):
            text = str(value)
        return Dumped(
            types=tuple(map(str, getattr(kept, "type_names", ()))),
            text=None if text is None or items is not None else str(text),
            number=int(value) if isinstance(value, int) else None,
            items=items,
            properties=MappingProxyType(self._properties(value, kept)),
        )

    def _properties(self, value: Any, kept: Any) -> Mapping[str, Value]:
        every = [*getattr(kept, "adapted_properties", ()), *getattr(kept, "extended_properties", ())]
        return {str(each.name): self.of(each.get_value(value)) for each in every}
