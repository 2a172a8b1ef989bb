"""``abstractcore "prompt"``: one answer on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from ..types import GenerateResponse
from .answering import answer_options, answering
from .connection import connect, connection
from .proved import proof_line

EXAMPLES: Final = """\b
abstractcore "Why is the sky blue?"
abstractcore "A date" --guided-regex '\\d{4}-\\d{2}-\\d{2}'"""


@click.command(epilog=EXAMPLES)
@click.argument("prompt", nargs=-1)
@connection
@click.option("--stream/--no-stream", default=None, help="Print while it is generated.  [default: on a terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON; one line a chunk when streamed.")
@answering
def ask(
    prompt: tuple[str, ...],
    provider: str | None,
    model: str | None,
    base_url: str | None,
    wait: float | None,
    stream: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Answers PROMPT.

    Standard input, if piped, follows the prompt. The answer goes to standard output; a constraint's proof and errors go
    to standard error.
    """
    llm = connect(provider, model, base_url, wait)
    live = sys.stdout.isatty() and not as_json if stream is None else stream
    answer = llm.generate(_prompt(prompt), stream=live, **answer_options(**options))
    if isinstance(answer, Iterator):
        _print_stream(answer, as_json=as_json)
    else:
        _print_whole(answer, as_json=as_json)


def _prompt(words: tuple[str, ...]) -> str:
    parts = [" ".join(words)]
    if not sys.stdin.isatty():
        parts.append(sys.stdin.read())
    text = "\n\n".join(part for part in parts if part.strip())
    if not text:
        raise click.UsageError("there is no prompt: give one as an argument or on standard input")
    return text


def _print_whole(answer: GenerateResponse, *, as_json: bool) -> None:
    if as_json:
        click.echo(_as_json("abstractcore.answer/1", answer))
        return
    click.echo(answer.content)
    _say_proof(answer)


def _print_stream(chunks: Iterator[GenerateResponse], *, as_json: bool) -> None:
    last = None
    for last in chunks:
        if as_json:
            click.echo(_as_json("abstractcore.chunk/1", last))
        elif last.index == 0:
            click.echo(last.content, nl=False)
    if last is not None and not as_json:
        click.echo()
        _say_proof(last)


def _as_json(schema: str, answer: GenerateResponse) -> str:
    import msgspec

    fields = {"schema": schema, **msgspec.structs.asdict(answer)}
    del fields["raw_body"]
    return msgspec.json.encode(fields).decode()


def _say_proof(answer: GenerateResponse) -> None:
    proof = proof_line(answer)
    if proof:
        click.echo(proof, err=True)
