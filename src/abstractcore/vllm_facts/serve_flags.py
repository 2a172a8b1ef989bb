"""Which arguments ``vllm serve`` takes, release by release.

The table beside this file was written by vLLM's own parsers (``scripts/vllm_flags.py``). vLLM ends with a usage message
when it meets an argument that it doesn't know, minutes after a container was started; here that is found out before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast

from ..errors import ConfigurationError
from .versions import Version, parse_version

Takes: TypeAlias = Literal["switch", "value", "values", "optional"]
TABLE: Final = Path(__file__).with_suffix(".tsv")

REPLACED: Final[Mapping[str, str]] = {
    "--swap-space": "leave it out: nothing is swapped any more; --kv-offloading-size GIB keeps cache in main memory",
    "--guided-decoding-backend": "--structured-outputs-config.backend NAME",
    "--disable-log-requests": "leave it out: requests are not logged unless --enable-log-requests is given",
    "--device": "leave it out: each build of vLLM knows one kind of device",
    "--task": "--runner and --convert",
    "--enable-reasoning": "--reasoning-parser NAME is enough",
    "--rope-scaling": "--hf-overrides JSON",
    "--rope-theta": "--hf-overrides JSON",
    "--max-seq-len-to-capture": "--max-cudagraph-capture-size NUMBER",
    "--cuda-graph-sizes": "--cudagraph-capture-sizes NUMBER ...",
    "--num-scheduler-steps": "leave it out: the scheduler runs beside the model by itself",
    "--use-v2-block-manager": "leave it out: it is the only one",
    "--preemption-mode": "leave it out: what is preempted is computed again",
}
"""Flags that are gone and still much advised, and what to write instead in a new release."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag in one span of releases."""

    name: str
    takes: Takes
    first: Version
    last: Version | None
    """``None``: the newest release of the table still has it."""

    def is_in(self, release: Version) -> bool:
        """Whether a release has it."""
        return self.first <= release and (self.last is None or release <= self.last)


@dataclass(frozen=True, slots=True)
class FlagTable:
    """The whole table."""

    releases: tuple[Version, ...]
    flags: Mapping[str, tuple[Flag, ...]]

    def of(self, release: Version) -> dict[str, Flag]:
        """The flags of one release of the table."""
        return {name: flag for name, spans in self.flags.items() for flag in spans if flag.is_in(release)}

    def around(self, version: Version) -> tuple[Version, ...]:
        """The release itself, or those of the table on both sides of it."""
        if version in self.releases:
            return (version,)
        before = [release for release in self.releases if release < version][-1:]
        return (*before, *[release for release in self.releases if release > version][:1])


@cache
def flag_table() -> FlagTable:
    """Reads the table."""
    head, _, *lines = TABLE.read_text(encoding="utf-8").splitlines()
    releases = tuple(_version(word) for word in head.partition(":")[2].split())
    flags: dict[str, list[Flag]] = {}
    for line in lines:
        name, takes, first, last = line.split("\t")
        span = Flag(name, cast("Takes", takes), _version(first), _version(last) if last else None)
        flags.setdefault(name, []).append(span)
    return FlagTable(releases, {name: tuple(spans) for name, spans in flags.items()})


def _version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None, text
    return found


def has_flag(version: Version, name: str) -> bool:
    """Whether a release has a flag; of two neighbours in the table, both must."""
    return all(name in flag_table().of(release) for release in flag_table().around(version))


def flag_name(word: str) -> str:
    """The name of the flag in an argument, as vLLM reads it: dashes for underscores, without value and inner keys."""
    name = word.partition("=")[0].partition(".")[0]
    return name.replace("_", "-") if name.startswith("--") else name


def flag_names(arguments: Sequence[str]) -> list[str]:
    """The names of all flags in a list of arguments."""
    return [flag_name(word) for word in arguments if _is_flag(word)]


def check_flags(version: Version, arguments: Sequence[str]) -> tuple[str, ...]:
    """Checks the arguments of a server against its release.

    Args:
        version: The release of vLLM.
        arguments: What stands after ``vllm serve MODEL``.

    Returns:
        What remains unsure, one sentence each: the release lies between those of the table, or outside of it.

    Raises:
        ConfigurationError: The release has no such flag, or a flag lacks its value or has one too many.
    """
    table = flag_table()
    around = table.around(version)
    known = [table.of(release) for release in around]
    is_newer = version > table.releases[-1]
    unsure = [_unsure(version, around)] if version not in table.releases else []
    for word, values in _grouped(arguments, known):
        name = flag_name(word)
        found = [flags[name] for flags in known if name in flags]
        if not found and is_newer:
            unsure.append(f"{name} is not in the newest release that is known, {dotted(around[0])}")
            continue
        if not found:
            raise _unknown(version, name, table)
        if len(found) < len(known):
            having = dotted(next(release for release, flags in zip(around, known, strict=True) if name in flags))
            unsure.append(f"{name} is in {having}, but not in its neighbour in the table")
        _check_values(found[-1], word, values)
    return tuple(unsure)


def dotted(version: Version) -> str:
    """A release as people write it."""
    return ".".join(map(str, version))


def _is_flag(word: str) -> bool:
    return word.startswith("--") or (len(word) > 1 and word[0] == "-" and word[1].isalpha())


def _grouped(arguments: Sequence[str], known: Sequence[Mapping[str, Flag]]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with the words after it that are none."""
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not _is_flag(word) or word == "--":
            raise ConfigurationError(
                f"the argument {word!r} belongs to no flag", why="vLLM would refuse it", hint="write it as --flag value"
            )
        values = []
        if word.startswith("-O"):  # -O3, which argparse doesn't know
            level = word[2:].removeprefix("=")
            word = _LEVEL if any(_LEVEL in flags for flags in known) else "-O"
            words[:0] = [level] if level else []
        while words and not _is_flag(words[0]):
            values.append(words.pop(0))
            if not any(flags.get(flag_name(word), _LONE).takes == "values" for flags in known):
                break
        yield word, values


_LEVEL: Final = "--optimization-level"
_LONE: Final = Flag("", "value", (0, 0, 0), None)


def _check_values(flag: Flag, word: str, values: Sequence[str]) -> None:
    given = len(values) + ("=" in word)
    if flag.takes == "switch" and given:
        raise ConfigurationError(
            f"{flag.name} takes no value",
            why=f"{(word.partition('=')[2] or values[0])!r} stands after it",
            hint=f"write {flag.name}, or leave it out",
        )
    if flag.takes in {"value", "values"} and not given:
        raise ConfigurationError(f"{flag.name} needs a value", hint=f"{flag.name} VALUE")


def _unknown(version: Version, name: str, table: FlagTable) -> ConfigurationError:
    spans = table.flags.get(name, ())
    near = difflib.get_close_matches(name, table.of(table.around(version)[-1]), 1, 0.6)
    hint = REPLACED.get(name) or (f"did you mean {near[0]}?" if near else "leave it out")
    if not spans:
        why = "no release that is known has it"
    elif spans[0].first > version:
        why, hint = f"it came with {dotted(spans[0].first)}", f"plan for a later release, or {hint}"
    else:
        last = max(span.last for span in spans if span.last)
        why = f"the last release to have it was {dotted(last)}"
    return ConfigurationError(f"vLLM {dotted(version)} has no flag {name}", why=why, hint=hint)


def _unsure(version: Version, around: Sequence[Version]) -> str:
    if len(around) == 2:
        return f"the flags of {dotted(version)} are taken from {dotted(around[0])} and {dotted(around[1])}"
    return f"the flags of {dotted(version)} are not known; those of {dotted(around[0])} are taken"
