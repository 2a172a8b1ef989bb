"""``abstractcore serve``: the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..server.config import GatewayConfig


@click.command()
@click.option("--host", help="Address to serve on.  [default: ABSTRACTCORE_HOST, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on.  [default: 8080]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Backends, aliases, keys and limits, in TOML.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME[=URL,...]",
    help="A provider, and where its servers are if not where its settings say: vllm=http://localhost:8000.",
)
@click.option("--alias", "aliases", multiple=True, metavar="NAME=BACKEND/MODEL", help="A short name for a model.")
@click.option("--keys", help="File with the keys of clients.")
@click.option("--allow-open", is_flag=True, help="Serve without keys beyond this machine.")
@click.option("--quiet", is_flag=True, help="Write no line for each request.")
def serve(
    host: str | None,
    port: int | None,
    file: Path | None,
    backends: tuple[str, ...],
    aliases: tuple[str, ...],
    keys: str | None,
    allow_open: bool,
    quiet: bool,
) -> None:
    """Serve all backends behind one OpenAI-compatible address, with a chat page."""
    from ..server.config import BackendConfig, read_config
    from ..server.serve import serve as run

    config = read_config(file)
    for text in backends:
        name, _, urls = text.partition("=")
        config.backends[name] = BackendConfig(base_url=urls.split(",") if urls else None)
    for text in aliases:
        name, target = _pair(text, "--alias")
        config.aliases[name] = target
    config.host = host or config.host
    config.port = config.port if port is None else port
    config.keys = keys or config.keys
    config.allow_open = allow_open or config.allow_open
    config.quiet = quiet or config.quiet
    _announce(config)
    run(config)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ConfigurationError(f"{option} {text!r} is not of the form NAME=VALUE")
    return name, value


def _announce(config: GatewayConfig) -> None:
    click.echo(f"http://{config.host}:{config.port}/      the chat page", err=True)
    click.echo(f"http://{config.host}:{config.port}/v1    for OpenAI's clients", err=True)
    click.echo(f"http://{config.host}:{config.port}/docs  all endpoints", err=True)
