"""``abstractcore models``: what the server serves."""

from __future__ import annotations

import click

from .connection import connect, connection


@click.command()
@connection
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def models(provider: str | None, model: str | None, base_url: str | None, wait: float | None, as_json: bool) -> None:
    """Lists the models and adapters that the server serves, with their context length."""
    llm = connect(provider, model, base_url, wait)
    rows = [llm.model_info(name) for name in llm.list_available_models()]
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"schema": "abstractcore.models/1", "models": rows}).decode())
        return
    width = max((len(row.id) for row in rows), default=0)
    for row in rows:
        context = f"{row.context_length} tokens" if row.context_length else "context unknown"
        click.echo(f"{row.id:<{width}}  {context}" + (f"  adapter of {row.parent}" if row.parent else ""))
