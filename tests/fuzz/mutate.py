"""Inputs made of recordings: cut, spliced, and with values where nobody expects them.

Everything follows from the target's name and a number, so that any input can be made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, 5e-324, "", "x", "0", "-1",
    "nan", "1e999", "\u00b2\u00b2\u00b2", "\u0663", "\x00", "\ufffd", "\U0001f600", "a" * 300, "../..", "%s{0}", [], {},
    [[]], [{}], [None], {"": None}, {"error": {}}, {"error": "x"}, [1, "x"], {"type": 5}, "stop", "length", "error",
    "(", "[", "{", '"', "\n\n", "data: x",
)  # fmt: skip
PIECES: Final[tuple[bytes, ...]] = (
    b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xe2\x82", b"\xed\xa0\x80", b'"', b"\\",
    b"\\ud800",
    b"\\u0000", b"{", b"}", b"[", b"]", b":", b",", b"-", b"1e999", b"NaN", b"1" * 400, b"9" * 5000, b"[" * 2000,
    b'{"a":' * 2000, b"null", b"true", b'""', b"{}", b"[]", b"data: ", b"event: error\n", b"#", b"=", b"'", b" " * 50,
)  # fmt: skip
NAMES: Final = ("", "error", "type", "index", "id", "message", "content", "code", "detail", "loc", "msg", "data")
LONGEST: Final = 1 << 16


class Mutator:
    """Makes inputs.

    Args:
        name: The target's name.
        seeds: What they are made of.
        tokens: Further pieces.
    """

    def __init__(self, name: str, seeds: Sequence[bytes], tokens: Sequence[bytes] = ()) -> None:
        self._name = name
        self._seeds = list(seeds) or [b""]
        self._pieces = (*PIECES, *tokens, *tokens)

    def make(self, number: int) -> bytes:
        """The input of a number; the first ones are the seeds as they are."""
        if number < len(self._seeds):
            return self._seeds[number]
        random = Random(f"{self._name}:{number}")
        data = random.choice(self._seeds)
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            data = self.changed(data, random)
        return data[:LONGEST]

    def many(self, count: int) -> Iterator[bytes]:
        """The first inputs."""
        return map(self.make, range(count))

    def changed(self, data: bytes, random: Random) -> bytes:
        """An input with one change."""
        if random.random() < 0.6:
            found = self._in_json(data, random)
            if found is not None:
                return found
        way = random.randrange(7)
        at, to = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        if way == 0:
            return data[:at] + random.choice(self._pieces) + data[at:]
        if way == 1:
            return data[:at] + random.choice(self._pieces) + data[to:]
        if way == 2:
            return data[:at] + data[to:]
        if way == 3:
            return data[:to] + data[at:]  # a part of it twice
        if way == 4:
            other = random.choice(self._seeds)
            return data[:at] + other[random.randint(0, len(other)) :]
        if way == 5 and data:
            return data[: at % len(data)] + bytes([random.randrange(256)]) + data[at % len(data) + 1 :]
        return random.randbytes(random.randint(0, 40)) if way == 6 else data[:at]

    def _in_json(self, data: bytes, random: Random) -> bytes | None:
        """The same with one value of its JSON changed: of a document, or of one line of a stream or a log."""
        lines = data.split(b"\n") if len(data) < LONGEST else [data]
        places = [at for at, line in enumerate(lines) if b"{" in line]
        for start, end, text in ((0, 1, data), *_line(lines, places, random)):
            begin = text.find(b"{")
            try:
                document = json.loads(text[begin:]) if begin >= 0 else None
            except (ValueError, RecursionError):
                continue
            if document is not None:
                written = text[:begin] + json.dumps(_touched(document, random)).encode()
                return written if text is data else b"\n".join((*lines[:start], written, *lines[end:]))
        return None


def _line(lines: list[bytes], places: list[int], random: Random) -> list[tuple[int, int, bytes]]:
    if not places:
        return []
    at = random.choice(places)
    return [(at, at + 1, lines[at])]


def _touched(document: Any, random: Random) -> Any:
    """A document with one value replaced, left out, doubled or renamed; chosen by a walk from the top."""
    if not isinstance(document, dict | list) or not document or random.random() < 0.12:
        return random.choice(VALUES)
    if isinstance(document, list):
        at = random.randrange(len(document))
        way = random.random()
        if way < 0.1:
            return document[:at] + document[at + 1 :]
        if way < 0.2:
            return [*document, document[at]]
        return [*document[:at], _touched(document[at], random), *document[at + 1 :]]
    key = random.choice(list(document))
    way = random.random()
    if way < 0.1:
        return {name: value for name, value in document.items() if name != key}
    if way < 0.2:
        return {random.choice(NAMES) if name == key else name: value for name, value in document.items()}
    if way < 0.25:
        return {**document, random.choice(NAMES): random.choice(VALUES)}
    return {**document, key: _touched(document[key], random)}
