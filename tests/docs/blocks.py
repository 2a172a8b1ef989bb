"""The code blocks of the documentation, and how they are run.

An HTML comment right before a block says where it belongs::

    <!-- test: live -->          runs against a real server, in tests/live
    <!-- test: skip REASON -->   runs nowhere; the reason is part of the page's source

A block without a comment runs offline. What is run: ``python`` blocks, and in ``console`` and ``bash`` blocks the
commands that start with ``abstractcore`` or ``python``; any output shown below a ``console`` command is compared,
``...`` stands for anything. The blocks of a page and tier share their names, as a reader would type them one by one.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.conftest import TESTS

ROOT: Final = TESTS.parent
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

EXAMPLE_MODEL: Final = "Qwen/Qwen2.5-Coder-7B-Instruct"
"""The model that pages name; a live server serves another one in its place."""

_OPENING: Final = re.compile(r"^ {0,3}```(\w*)\s*$")
_MARKER: Final = re.compile(r"^<!--\s*test:\s*(live|skip)\b\s*(.*?)\s*-->$")
_RUNNABLE: Final = re.compile(r"^(abstractcore|python)\b")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    path: Path
    line: int
    """Of its first line of text, counted from 1."""
    language: str
    text: str
    tier: str = "offline"
    """``offline``, ``live`` or ``skip``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a block, with the output shown below it, if any."""

    line: int
    text: str
    output: str = ""


def blocks(path: Path, text: str | None = None) -> Iterator[Block]:
    """Every fenced block of a page, in order.

    Raises:
        ValueError: A marker without a block, a skip without a reason, or a fence that is never closed.
    """
    lines = (path.read_text(encoding="utf-8") if text is None else text).splitlines()
    tier, reason = "offline", ""
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if marker := _MARKER.match(line):
            tier, reason = marker.groups()
            if tier == "skip" and not reason:
                raise ValueError(f"{path.name}:{position}: a skipped block needs a reason")
        elif opening := _OPENING.match(line):
            start = position
            while position < len(lines) and lines[position].strip() != "```":
                position += 1
            if position == len(lines):
                raise ValueError(f"{path.name}:{start}: the block is never closed")
            yield Block(path, start + 1, opening[1], "\n".join(lines[start:position]) + "\n", tier, reason)
            tier, reason = "offline", ""
            position += 1
        elif line.strip() and tier != "offline":
            raise ValueError(f"{path.name}:{position}: a test marker stands right before its block")


def commands(block: Block) -> Iterator[Command]:
    """The commands of a shell block: each line of ``bash``, each ``$ `` line of ``console`` with its output."""
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if block.language == "bash" or line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        text = lines[start].removeprefix("$ ").strip()
        if text and not text.startswith("#"):
            output = "\n".join(lines[start + 1 : end]).strip("\n") if block.language == "console" else ""
            yield Command(block.line + start, text, output)


def is_runnable(command: Command) -> bool:
    """Whether a command is one of this package's own."""
    return _RUNNABLE.match(command.text) is not None


def run(page: Sequence[Block], replace: tuple[str, str] = ("", "")) -> int:
    """Runs blocks in order; the Python ones share their names. Failures point at the line of the page.

    Args:
        page: Blocks of one page.
        replace: A text of the page, and what stands in its place.

    Returns:
        How many blocks and commands were run.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for block in page:
        if block.language == "python":
            source = "\n" * (block.line - 1) + _replaced(block.text, replace)
            exec(compile(source, str(block.path), "exec", dont_inherit=True), names)
            count += 1
        elif block.language in ("bash", "console"):
            for command in filter(is_runnable, commands(block)):
                _run_command(block, command, replace)
                count += 1
    return count


def _replaced(text: str, replace: tuple[str, str]) -> str:
    return text.replace(*replace) if replace[0] else text


def _run_command(block: Block, command: Command, replace: tuple[str, str]) -> None:
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _replaced(command.text, replace)],
        env={**os.environ, "PATH": os.pathsep.join([scripts, os.environ["PATH"]])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    where = f"{block.path.name}:{command.line}: {command.text}"
    assert done.returncode == 0, f"{where}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
    if command.output:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(f"{command.output}\n", done.stdout, options)
        assert same, f"{where}\nthe page shows:\n{command.output}\nit printed:\n{done.stdout}"
