"""``abstractcore adapters``: the LoRA adapters of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..capability import Capability
from ..errors import UnsupportedFeatureError
from .connection import connect, connection

if TYPE_CHECKING:
    from ..providers import VLLMProvider


@click.group()
def adapters() -> None:
    """Lists, loads and unloads the LoRA adapters of a running server."""


@adapters.command("list")
@connection
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_(provider: str | None, model: str | None, base_url: str | None, wait: float | None, as_json: bool) -> None:
    """Lists what is loaded."""
    rows = _connect(provider, model, base_url, wait).list_adapters()
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"schema": "abstractcore.adapters/1", "adapters": rows}).decode())
        return
    if not rows:
        click.echo("no adapter is loaded", err=True)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        missing = f"  missing on {', '.join(row.missing_on)}" if row.missing_on else ""
        click.echo(f"{row.name:<{width}}  {row.path}  adapter of {row.parent}{missing}")


@adapters.command()
@click.argument("name")
@click.argument("path")
@click.option("--replace", is_flag=True, help="Put it in the place of another adapter of this name.")
@connection
def load(
    name: str,
    path: str,
    replace: bool,
    provider: str | None,
    model: str | None,
    base_url: str | None,
    wait: float | None,
) -> None:
    """Loads the adapter at PATH, which is a path on the server's machine or a hub id, under NAME."""
    click.echo(_connect(provider, model, base_url, wait).load_adapter(name, path, replace=replace))


@adapters.command()
@click.argument("name")
@connection
def unload(name: str, provider: str | None, model: str | None, base_url: str | None, wait: float | None) -> None:
    """Unloads an adapter."""
    click.echo(_connect(provider, model, base_url, wait).unload_adapter(name))


def _connect(provider: str | None, model: str | None, base_url: str | None, wait: float | None) -> VLLMProvider:
    from ..providers import VLLMProvider

    llm = connect(provider, model, base_url, wait)
    if not isinstance(llm, VLLMProvider):
        raise UnsupportedFeatureError(
            f"{llm.provider} has no adapters", feature=Capability.MULTI_LORA, provider=llm.provider, hint="-p vllm"
        )
    return llm
