"""The elements of a large JSON or XML file: what is kept of each, and where the rest stands."""

import codecs
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO
from xml.etree import ElementTree
from xml.parsers import expat

CHUNK = 1 << 20
"""Characters that are read at a time."""
SPACE = re.compile(r"[ \t\n\r]*")
NUMBER = re.compile(r"[-+.0-9eE]*")
DECODER = json.JSONDecoder()
MARK = "\ufeff"
"""The byte order mark, which is skipped at the start of a file."""
WIDE = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
"""First bytes of an XML file of two bytes a character, with or without a mark."""


@dataclass(frozen=True)
class Element:
    """An element of a file: what is kept of it, and its bytes, from `begin` to before `end`.

    `stamp` is that of the file as it was read; one that was written again is read no more.
    """

    path: Path
    begin: int
    end: int
    encoding: str
    kept: Any
    stamp: tuple[int, int]

    def text(self) -> str:
        """Return the element as it stands in the file, which is read again; or ValueError."""
        with self.path.open("rb") as file:
            if _stamp(file) != self.stamp:
                raise ValueError("the file was written again meanwhile")
            file.seek(self.begin)
            return file.read(self.end - self.begin).decode(self.encoding)

    def json(self) -> Any:
        """Return what the element of a JSON file stands for; ValueError if it is no JSON now."""
        return json.loads(self.text())

    def xml(self) -> ElementTree.Element:
        """Return the element of an XML file; ValueError if it is no XML now."""
        try:
            return ElementTree.fromstring(self.text())
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error


def _stamp(file: IO[Any]) -> tuple[int, int]:
    """Return what changes when a file is written again: its size and its time."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def json_elements(path: Path, keep: Mapping[str, Callable[[Any], Any]]) -> Any:
    """Return what a JSON file holds, with Elements in place of what its large arrays hold.

    Parameters
    ----------
    path
        The file, in UTF-8.
    keep
        The keys of the large arrays in the object that the file is, or "" for the array that it is;
        each with the function that returns what to keep of an element.

    Raises
    ------
    ValueError
        The file is no JSON. What a function of `keep` raises is passed on.
    """
    with path.open(encoding="utf-8", newline="") as file:
        stamp, text = _stamp(file), _Text(file)

        def content(key: str) -> Any:
            if key not in keep or text.next() != "[":
                return text.value()
            found = []
            for begin in text.members("[]"):
                kept = keep[key](text.value())
                found.append(Element(path, begin, text.position, "utf-8", kept, stamp))
            return found

        if text.next() != "{":
            found = content("")
        else:
            found = {}
            for _ in text.members("{}"):
                key = text.key()
                found[key] = content(key)
        text.take("")
    return found


class _Text:
    """A text of JSON, of which a piece is in memory, or one value if that is longer."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self.position = 0
        """Where the next character stands in the file, in bytes."""
        if self.next() == MARK:
            self._go_to(1)

    def next(self) -> str:
        """Return the next character that is no white space; nothing at the end."""
        while True:
            space = SPACE.match(self._text, self._at)
            assert space
            self._go_to(space.end())
            if self._at < len(self._text) or not self._read_on():
                return self._text[self._at : self._at + 1]

    def take(self, signs: str) -> str:
        """Take one of some characters, and return it; without any, only the end may follow."""
        found = self.next()
        if found not in signs or bool(found) != bool(signs):
            wanted = " or ".join(repr(sign) for sign in signs) or "the end"
            raise ValueError(f"{wanted} is missing at byte {self.position}")
        self._go_to(self._at + len(found))
        return found

    def members(self, brackets: str) -> Iterator[int]:
        """Go through an array or an object; yield where each member begins, for it to be read."""
        closing = brackets[1]
        self.take(brackets[0])
        sign = "," if self.next() != closing else self.take(closing)
        while sign != closing:
            self.next()
            yield self.position
            sign = self.take("," + closing)

    def key(self) -> str:
        """Return the next member's key."""
        key = self.value()
        if not isinstance(key, str):
            raise ValueError(f"a key is missing before byte {self.position}")
        self.take(":")
        return key

    def value(self) -> Any:
        """Return the next value."""
        self.next()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._read_on():
                    continue
                self._go_to(error.pos)
                raise ValueError(f"{error.msg} at byte {self.position}") from error
            rest = NUMBER.match(self._text, end)
            assert rest
            if rest.end() < len(self._text) or not self._read_on():  # or else a number may go on
                self._go_to(end)
                return value

    def _read_on(self) -> bool:
        """Read on, as much as there is at least; False at the end, where all stays as it is."""
        more = self._file.read(max(CHUNK, len(self._text) - self._at))
        if more:
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _go_to(self, end: int) -> None:
        self.position += len(self._text[self._at : end].encode())
        self._at = end


def xml_elements(
    path: Path, name: str, keep: Callable[[dict[str, str], list[dict[str, str]]], Any]
) -> list[Element]:
    """Return the elements of a name that stand right below the root of an XML file.

    Parameters
    ----------
    path
        The file.
    name
        The elements' name.
    keep
        Given an element's attributes, and those of each element in it, returns what to keep.

    Raises
    ------
    ValueError
        The file is no XML, or declares a document type: attributes and entities that it defines
        would be missing where an element is read again. What `keep` raises is passed on.
    """
    with path.open("rb") as file:
        found = _Found(file, path, name, keep)
        try:
            found.parser.ParseFile(file)
        except expat.ExpatError as error:
            raise ValueError(str(error)) from error
    return found.elements


class _Found:
    """What the parser has found so far of the elements below the root."""

    def __init__(self, file: IO[bytes], path: Path, name: str, keep: Callable[..., Any]) -> None:
        self.elements: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.XmlDeclHandler = self._declared
        self.parser.StartDoctypeDeclHandler = self._has_type
        self.parser.StartElementHandler = self._begins
        self.parser.EndElementHandler = self._ends
        self._path, self._name, self._keep, self._stamp = path, name, keep, _stamp(file)
        self._encoding = WIDE.get(file.read(2), "utf-8")
        file.seek(0)
        self._depth = 0
        self._inside: list[dict[str, str]] = []
        self._begin = 0
        self._has_ended = False

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and self._encoding not in WIDE.values():
            self._encoding = encoding

    def _has_type(self, *_: object) -> None:
        raise ValueError("it declares a document type, which is not read")

    def _begins(self, name: str, attributes: dict[str, str]) -> None:
        self._complete()
        self._depth += 1
        if self._depth == 2 and name == self._name:
            self._begin, self._inside = self.parser.CurrentByteIndex, []
        if self._depth in (2, 3):
            self._inside.append(attributes)

    def _ends(self, name: str) -> None:
        self._complete()
        self._has_ended = self._depth == 2 and name == self._name
        self._depth -= 1

    def _complete(self) -> None:
        """Add the element that has ended: it reaches to where the next begins or ends."""
        if self._has_ended:
            end = self.parser.CurrentByteIndex
            kept = self._keep(self._inside[0], self._inside[1:])
            place = self._path, self._begin, end, self._encoding
            self.elements.append(Element(*place, kept, self._stamp))
        self._has_ended = False
