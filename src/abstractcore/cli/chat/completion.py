"""What Tab offers. Pure: the names come from outside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

ANY: Final = "*"
"""In a key of ``Arguments``: whatever word stands there."""


class Source(Enum):
    """Where names come from that are not known beforehand."""

    COMMANDS = auto()
    MODELS = auto()
    ADAPTERS = auto()
    FILES = auto()


Arguments: TypeAlias = Mapping[tuple[str, ...], tuple[str, ...] | Source]
"""What may follow, by the words that stand before it."""
Names: TypeAlias = Callable[[Source, str], Iterable[str]]
"""Gives the names of a source that begin with a text."""


class Offer(NamedTuple):
    """A word to complete to."""

    text: str
    replaced: int
    """How many characters before the cursor it stands for."""


def complete(text: str, commands: Mapping[str, Arguments], names: Names) -> list[Offer]:
    """The offers for a line that was typed so far.

    Args:
        text: The line up to the cursor.
        commands: Which arguments each command takes.
        names: Finds models, adapters and files.
    """
    if not text.startswith("/"):
        return []
    name, space, rest = text[1:].partition(" ")
    if not space:
        fitting = [known for known in commands if known.startswith(name.lower())]
        return [Offer(f"/{known} " if commands[known] else f"/{known}", len(text)) for known in fitting]
    return _argument(rest.lstrip(), commands.get(name.lower(), {}), names)


def _argument(rest: str, arguments: Arguments, names: Names) -> list[Offer]:
    before: tuple[str, ...] = ()
    while True:
        known = arguments.get(before) or arguments.get((*before[:-1], ANY) if before else before)
        if known is Source.FILES:  # a path may have spaces in it
            return [Offer(found, len(rest)) for found in names(known, rest)]
        word, space, behind = rest.partition(" ")
        if not space:
            found = names(known, word) if isinstance(known, Source) else known or ()
            fitting = [each for each in found if each.startswith(word)]
            return [Offer(f"{each} " if _goes_on((*before, each), arguments) else each, len(word)) for each in fitting]
        before, rest = (*before, word), behind.lstrip()


def _goes_on(words: tuple[str, ...], arguments: Arguments) -> bool:
    """Whether something may follow these words."""
    return any(key[: len(words)] == words for key in arguments)


def files(begun: str) -> list[str]:
    """The paths that begin so, folders with a slash; hidden ones only if a dot was typed."""
    folder, _, name = begun.rpartition("/")
    place = Path(f"{folder}/").expanduser() if "/" in begun else Path()
    try:
        with os.scandir(place) as entries:
            rows = sorted((entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        return []
    head = f"{folder}/" if "/" in begun else ""
    return [
        f"{head}{found}{'/' if is_folder else ''}"
        for found, is_folder in rows
        if found.startswith(name) and (name or not found.startswith("."))
    ]
