"""``abstractcore batch``: a file of prompts in, a file of answers out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from ..errors import ConnectionFailedError
from .answering import answer_options, answering
from .connection import connect, connection

EXAMPLES: Final = """\b
abstractcore batch prompts.jsonl -o answers.jsonl --max-tokens 200
abstractcore batch prompts.jsonl -o answers.jsonl --max-tokens 200 --resume"""


@click.command(epilog=EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where answers go."
)
@click.option("--resume", is_flag=True, help="Go on with OUTPUT: keep its answers, ask what is missing or failed.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Requests in flight.  [default: what the server takes]")
@connection
@answering
def batch(
    file: Path,
    output: Path,
    resume: bool,
    concurrency: int | None,
    provider: str | None,
    model: str | None,
    base_url: str | None,
    wait: float | None,
    **options: Any,
) -> None:
    """Answers all prompts of FILE (- for standard input), many at once.

    Each line is a prompt: a JSON object with "prompt" or "messages" and options for this line only, a JSON list of
    messages, a JSON string, or plain text. OUTPUT gets a JSON line for each as it finishes: "index" (the prompt's
    place, from 0), and "response" or "error".
    """
    if not resume and output.exists() and output.stat().st_size > 0:
        raise click.UsageError(f"{output} exists; --resume goes on with it, or give another OUTPUT")
    lines: Iterable[Any] = PromptFile(file) if str(file) != "-" else _prompts(sys.stdin, "standard input")
    result = connect(provider, model, base_url, wait).generate_batch(
        lines, concurrency=concurrency, resume=output, progress=True, **answer_options(**options)
    )
    failures = result.failures
    if not failures:
        return
    first = failures[0].error
    assert first is not None
    if isinstance(first, ConnectionFailedError) and len(failures) == len(result):
        raise first
    from .main import show

    show(first)
    click.echo(
        f"{len(failures)} of {len(result)} failed; --resume asks them again. This was item {failures[0].index}.",
        err=True,
    )
    raise click.exceptions.Exit(1)


class PromptFile:
    """The prompts of a file, read as they are needed. Its lines are looked at first, so that the last one too is right.

    Raises:
        UsageError: A line is no prompt.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._length = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        with self._path.open(encoding="utf-8-sig") as lines:
            yield from _prompts(lines, str(self._path))


def _prompts(lines: Iterable[str], where: str) -> Iterator[Any]:
    from ..providers.request import check_names

    number = 1
    try:
        for line in lines:
            if line.strip():
                prompt = _prompt(line.strip())
                if isinstance(prompt, dict):
                    check_names({name: value for name, value in prompt.items() if name != "prompt"})
                yield prompt
            number += 1
    except (ValueError, TypeError) as error:
        raise click.UsageError(f"{where}, line {number}: {error}") from error


def _prompt(line: str) -> Any:
    import msgspec

    if line[0] not in '{["':
        return line
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it begins like JSON but is none: {error}") from error
