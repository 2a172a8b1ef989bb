"""How long a pattern becomes when its repetitions are written out, found out without writing them. Pure.

Engines do write them out: ``((a{100}){100}){100}`` is fifteen characters that stand for a million, and compiling or
matching that takes seconds in native code that nobody can stop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

MOST: Final = 50_000
"""Positions that repetitions may add to a pattern: a regex of that length takes 0.1 s, one of a million 4 s."""
_COUNT: Final = re.compile(r"\{(\d*)(?:,(\d*))?\}|~\s*(\d+)(?:\s*\.\.\s*(\d+))?")
_NAMED: Final = re.compile(r"\\[pPxuU]\{[^}]*\}")
_OPENING: Final = re.compile(r"\((?:\?(?:P?<\w+>|[a-zA-Z-]*:?))?")
_VERBOSE: Final = re.compile(r"\(\?[a-zA-Z]*x")
_DEFINITION: Final = re.compile(r"^[?!]?(\w+)(?:\.-?\d+)?(?:\[[^\]]*\])?\s*:(?!:)", re.MULTILINE)
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"i?')
_REGEX: Final = re.compile(r"/(?:[^/\\\n]|\\.)+/[a-z]*")
_NAME: Final = re.compile(r"\w+")
_COMMENT: Final = re.compile(r"(?://|#)[^\n]*")


def regex_size(pattern: str) -> int:
    """Positions of a regular expression, at least; never less where it compiles."""
    if _VERBOSE.search(pattern):  # comments may hide brackets, so every repetition counts as if around all others
        size = len(pattern)
        for found in _COUNT.finditer(pattern):
            size *= max(1, _times(found))
        return size
    return _Sum(pattern, _regex_atom).total()


def grammar_size(text: str) -> int:
    """Positions of the longest part of a Lark grammar; terminals count where they are used."""
    found = list(_DEFINITION.finditer(text))
    ends = [each.start() for each in found[1:]] + [len(text)]
    bodies = {each[1]: text[each.end() : end] for each, end in zip(found, ends, strict=True)}
    known: dict[str, int] = {}

    def size(name: str) -> int:
        if name not in known:
            known[name] = 1  # within itself, or nowhere defined
            if name.isupper() or name not in bodies:
                known[name] = _Sum(bodies[name], atom).total() if name in bodies else 1
        return known[name]

    def atom(text: str, at: int) -> tuple[int, int] | None:
        if quoted := _STRING.match(text, at):
            return quoted.end(), len(quoted[0])
        if skipped := _COMMENT.match(text, at):
            return skipped.end(), 0
        if pattern := _REGEX.match(text, at):
            return pattern.end(), regex_size(pattern[0][1 : pattern[0].rindex("/")])
        named = _NAME.match(text, at)
        return (named.end(), size(named[0])) if named else None

    try:
        return max((_Sum(body, atom).total() for body in bodies.values()), default=0)
    except RecursionError:
        return MOST + 1


def schema_size(schema: Any) -> int:
    """Positions of all patterns of a JSON Schema together."""
    if isinstance(schema, list):
        return sum(map(schema_size, schema))
    if not isinstance(schema, Mapping):
        return 0
    own = regex_size(schema["pattern"]) if isinstance(schema.get("pattern"), str) else 0
    named = schema.get("patternProperties")
    keys = sum(map(regex_size, named)) if isinstance(named, Mapping) else 0
    return own + keys + sum(map(schema_size, schema.values()))


def _times(found: re.Match[str]) -> int:
    """How often a repetition stands there when written out; ``a{3,}`` needs three."""
    digits = [text for text in found.groups() if text]
    return max((int(text) if len(text) < 12 else 10**12 for text in digits), default=1)


def _regex_atom(text: str, at: int) -> tuple[int, int] | None:
    """The end and size of an escape or a class."""
    if text[at] == "\\":
        named = _NAMED.match(text, at)
        return (named.end() if named else at + 2), 1
    if text[at] != "[":
        return None
    depth, place = 0, at
    while place < len(text):
        char = text[place]
        if char == "\\":
            place += 1
        elif char == "[":
            depth += 1
            place += text[place + 1 : place + 2] == "^"
            place += text[place + 1 : place + 2] == "]"
        elif char == "]":
            depth -= 1
            if not depth:
                break
        place += 1
    return place + 1, 1


class _Sum:
    """Adds up what stands in a pattern, group by group."""

    def __init__(self, text: str, atom: Callable[[str, int], tuple[int, int] | None]) -> None:
        self._text = text
        self._atom = atom
        self._open = [0]
        self._last = 0

    def total(self) -> int:
        at = 0
        while at < len(self._text):
            at = self._step(at)
        return sum(self._open)

    def _step(self, at: int) -> int:
        char = self._text[at]
        found = self._atom(self._text, at)
        if found is not None:
            self._add(found[1])
            return found[0]
        if char in "([":
            self._open.append(0)
            opening = _OPENING.match(self._text, at)
            return opening.end() if opening else at + 1
        if char in ")]":
            self._close()
        elif count := _COUNT.match(self._text, at):
            times = max(1, _times(count))
            self._open[-1] += self._last * (times - 1)
            self._last *= times
            return count.end()
        elif (char not in "*+?|" and not char.isspace()) or (char.isspace() and self._atom is _regex_atom):
            self._add(1)
        return at + 1

    def _close(self) -> None:
        inside = self._open.pop()
        if not self._open:  # closed once too often: what follows may be about all of it
            self._open, self._last = [inside], inside
            return
        self._add(inside)

    def _add(self, size: int) -> None:
        self._open[-1] += size
        self._last = size
