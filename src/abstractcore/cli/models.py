"""``abstractcore models``: what a provider has."""

from __future__ import annotations

import click

from .connection import connect, connection


@click.command()
@connection
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(provider: str | None, model: str | None, base_url: str | None, wait: float | None, as_json: bool) -> None:
    """Lists the models and adapters that the provider has, with their context length where it says it."""
    llm = connect(provider, model, base_url, wait)
    rows = llm.list_models()
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"schema": "abstractcore.models/1", "models": rows}).decode())
        return
    width = max((len(row.id) for row in rows), default=0)
    for row in rows:
        context = f"{row.context_length} tokens" if row.context_length else "context unknown"
        notes = [f"adapter of {row.parent}"] if row.parent else []
        notes += ["loaded"] if row.loaded else []
        notes += [", ".join(row.capabilities)] if row.capabilities else []
        click.echo("  ".join((f"{row.id:<{width}}", context, *notes)))
