"""The options by which commands say what an answer has to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-s", "--system", help="System prompt."),
    click.option("-t", "--temperature", type=float),
    click.option("--max-tokens", type=click.IntRange(min=1)),
    click.option("--seed", type=int),
    click.option("--guided-json", type=click.Path(path_type=Path), metavar="FILE", help="JSON Schema to hold it to."),
    click.option("--guided-regex", metavar="REGEX", help="Regular expression to hold it to."),
    click.option("--guided-grammar", type=click.Path(path_type=Path), metavar="FILE", help="Grammar, GBNF or Lark."),
    click.option("--guided-choice", multiple=True, metavar="TEXT", help="One of several answers; repeat it."),
    click.option(
        "--on-cut", type=click.Choice(["raise", "trim"]), help="What becomes of a constrained answer cut short."
    ),
    click.option("--timeout", type=float, metavar="SECONDS", help="For the whole answer."),
)


def answering(command: F) -> F:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def answer_options(
    *,
    system: str | None,
    guided_json: Path | None,
    guided_grammar: Path | None,
    guided_choice: tuple[str, ...],
    **others: Any,
) -> dict[str, Any]:
    """The options of ``generate`` that they stand for; files are read."""
    return {
        "system_prompt": system,
        "guided_json": _read(guided_json),
        "guided_grammar": _read(guided_grammar),
        "guided_choice": guided_choice or None,
        **others,
    }


def _read(path: Path | None) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path else None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"can't read {path}: {error}") from error
