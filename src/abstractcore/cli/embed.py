"""``abstractcore embed``: texts to vectors."""

from __future__ import annotations

import sys

import click

from .connection import connect, connection


@click.command(epilog='\b\nabstractcore embed "a text" "another"\nabstractcore embed < texts.txt > vectors.jsonl')
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@connection
def embed(
    texts: tuple[str, ...], provider: str | None, model: str | None, base_url: str | None, wait: float | None
) -> None:
    """Prints one vector a line, as JSON, for each TEXT, or for each line of the standard input."""
    asked = list(texts) if texts or sys.stdin.isatty() else sys.stdin.read().splitlines()
    if not asked:
        raise click.UsageError("there is no text: name some, or pipe one a line")
    import msgspec

    for vector in connect(provider, model, base_url, wait).embed(asked):
        click.echo(msgspec.json.encode(vector))
