"""A page taken apart: its elements, and whether each of them ends where it should."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass(frozen=True)
class Element:
    """A start tag."""

    name: str
    attributes: dict[str, str | None]


@dataclass
class Markup(HTMLParser):
    """The elements and the text of a page, and what is wrong with them."""

    elements: list[Element] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    @classmethod
    def of(cls, page: str) -> Markup:
        """Read a page."""
        read = cls()
        read.feed(page)
        read.close()
        read.mistakes += [f"<{name}> is not closed" for name in read._open]
        ids = [each.attributes["id"] for each in read.elements if "id" in each.attributes]
        read.mistakes += [f"id {each} is there twice" for each in set(ids) if ids.count(each) > 1]
        return read

    @property
    def text(self) -> str:
        """The text that is to be read, white space folded."""
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> Iterator[Element]:
        """Yield the elements of one name."""
        return (each for each in self.elements if each.name == name)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.mistakes.append(f"<{tag}> has an attribute twice: {names}")
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that ends at once."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last, which must be this one."""
        if self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            self.mistakes.append(
                f"</{tag}> comes at line {self.getpos()[0]} where {self._open[-3:]} are open"
            )

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.texts.append(data)
