"""Why a container or a server does not start, by what an engine or a log says. Pure.

A text is searched for every row of the catalogue; the first row that is found wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .catalogue import CAUSES, Cause

_PREFIX: Final = re.compile(r"^\((?:APIServer|EngineCore|Worker)[^)]*\)\s+(?:ERROR [\d-]+ [\d:]+ \[[^\]]*\]\s*)?")


@dataclass(frozen=True, slots=True)
class Explained:
    """A cause that was found."""

    id: str
    what: str
    matters: str
    cure: str
    words: str
    """The line in which it was found."""


def explain(lines: Iterable[str] | str) -> Explained | None:
    """The cause that a text names, if it is a known one.

    Args:
        lines: What an engine said, or the log of a server.
    """
    rows = lines.splitlines() if isinstance(lines, str) else list(lines)
    plain = [_PREFIX.sub("", row).rstrip() for row in rows]
    for cause in CAUSES:
        pattern = re.compile(cause.text)
        for line in plain:
            if found := pattern.search(line):
                return _filled(cause, [group for group in found.groups() if group is not None], line.strip())
    return None


def _filled(cause: Cause, groups: Sequence[str], line: str) -> Explained:
    def fill(sentence: str) -> str:
        for at, group in enumerate(groups):
            sentence = sentence.replace("{" + str(at) + "}", group)
        return sentence

    return Explained(cause.id, fill(cause.what), fill(cause.matters), fill(cause.cure), line)


_RAISED: Final = re.compile(r"^(?:[\w.]*(?:Error|Exception)|ERROR): .+|^[\w./-]+: error: .+")


def first_error(lines: Iterable[str]) -> str | None:
    """The first error in a log of vLLM: those after it only report that something below them failed."""
    plain = [_PREFIX.sub("", line).rstrip() for line in lines]
    return next((" ".join(_with_detail(plain, at)) for at, line in enumerate(plain) if _RAISED.match(line)), None)


def _with_detail(lines: Sequence[str], at: int) -> Iterator[str]:
    yield lines[at]
    if at + 1 < len(lines) and lines[at + 1][:1].isspace():  # pydantic puts what is wrong below
        yield lines[at + 1].strip()
