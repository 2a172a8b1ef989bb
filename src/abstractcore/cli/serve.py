"""``abstractcore serve``: the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import AbstractCoreError, ConfigurationError
from .greeting import Greeting

if TYPE_CHECKING:
    from ..server.config import GatewayConfig
    from ..server.loading import Given

WRONG: Final = 2
REFUSED: Final = 3


@click.command()
@click.option("--host", help="Address to serve on.  [default: ABSTRACTCORE_HOST, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on; 0 for a free one.  [default: 8080]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="Backends, aliases, keys and limits, in TOML.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME[=URL,...]",
    help="A provider, and where its servers are if not where its settings say: vllm=http://localhost:8000. "
    "[default: all that answer]",
)
@click.option("--alias", "aliases", multiple=True, metavar="NAME=BACKEND/MODEL", help="A short name for a model.")
@click.option(
    "--keys",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Ask clients for keys, those of this file; of `abstractcore keys` when no file is named.",
)
@click.option("--allow-open", is_flag=True, help="Serve without keys beyond this machine.")
@click.option(
    "--allow-adapters",
    multiple=True,
    metavar="FOLDER",
    help="Let clients load and unload adapters that lie below this folder of the servers; may be repeated.",
)
@click.option("--cors-origin", "origins", multiple=True, metavar="URL", help="Let pages of this origin call.")
@click.option("--host-name", "names", multiple=True, metavar="NAME", help="A name under which clients may call.")
@click.option("--local", is_flag=True, help="Serve a small model in this process too. Fetched once, 93 MB.")
@click.option("--yes", is_flag=True, help="Don't ask before downloading.")
@click.option("--quiet", is_flag=True, help="Write no line for each request.")
@click.option("--check", "--dry-run", "check", is_flag=True, help="Print what is in force and from where, and end.")
@click.option("--show-data-plane", "show_routers", is_flag=True, help="Print the routers' command lines, and end.")
def serve(file: Path | None, local: bool, yes: bool, check: bool, show_routers: bool, **flags: Any) -> None:
    """Serve all backends behind one OpenAI-compatible address, with a chat page.

    Stderr says what is open and what answers, then a line for each request. A script can wait for the line that begins
    with "listening on".
    """
    from ..server.loading import load
    from ..server.serve import serve as run
    from . import local as small

    if local and not check:
        small.prepare(yes=yes)
    given = list(_given(**flags, local=local))
    if check:
        _check(file, given)
        return
    config = load(file, given).config
    if show_routers:
        _show_routers(config)
        return
    run(config, Greeting(config))


def _given(
    *,
    host: str | None,
    port: int | None,
    backends: Sequence[str],
    aliases: Sequence[str],
    keys: str | None,
    allow_open: bool,
    allow_adapters: Sequence[str],
    origins: Sequence[str],
    names: Sequence[str],
    quiet: bool,
    local: bool,
) -> Iterator[Given]:
    """The flags that were given, as parts of a configuration."""
    from ..server.keys import default_path
    from ..server.loading import Given

    for name, value in (("host", host), ("port", port)):
        if value is not None:
            yield Given((name,), value, f"--{name}")
    if keys is not None:
        yield Given(("keys",), keys or str(default_path()), "--keys")
    for name, flag in (("allow_open", allow_open), ("quiet", quiet)):
        if flag:
            yield Given((name,), True, f"--{name.replace('_', '-')}")
    for name, option, values in (("cors_origins", "--cors-origin", origins), ("hosts", "--host-name", names)):
        if values:
            yield Given((name,), list(values), option)
    for text in aliases:
        name, target = _pair(text, "--alias")
        yield Given(("aliases", name), target, "--alias")
    yield from _given_backends(backends, local=local, allow_adapters=allow_adapters)


def _given_backends(backends: Sequence[str], *, local: bool, allow_adapters: Sequence[str]) -> Iterator[Given]:
    from ..server.loading import Given
    from . import local as small

    if local:
        yield Given(("backends", "local", "provider"), small.PROVIDER, "--local")
        yield Given(("backends", "local", "model"), small.MODEL, "--local")
    for text in backends:
        name, _, urls = text.partition("=")
        yield Given(("backends", name), {}, "--backend")
        if urls:
            yield Given(("backends", name, "base_url"), urls.split(","), "--backend")
        if allow_adapters:
            yield Given(("backends", name, "allow_adapters"), True, "--allow-adapters")
            yield Given(("backends", name, "adapter_folders"), list(allow_adapters), "--allow-adapters")


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise click.UsageError(f"{option} {text!r} is not of the form NAME=VALUE")
    return name, value


def _show_routers(config: GatewayConfig) -> None:
    """Prints what starts the routers elsewhere."""
    import shlex

    from ..server.backend import Backend
    from ..server.data_plane import command_of

    routed = {name: row for name, row in config.backends.items() if row.data_plane is not None}
    if not routed:
        raise ConfigurationError(
            "no backend has a data plane of its own", hint='data_plane = "vllm-router" below [backends.NAME]'
        )
    for name, row in routed.items():
        click.echo(shlex.join(command_of(Backend(name, row))))


def _check(file: Path | None, given: Sequence[Given]) -> None:
    """Prints the configuration; ends with 2 if it makes no sense, with 3 if the gateway would not start with it."""
    from ..server.config import check_config
    from ..server.gateway import Gateway
    from ..server.loading import load
    from .main import show

    context = click.get_current_context()
    try:
        loaded = load(file, given)
    except ConfigurationError as error:
        show(error)
        context.exit(WRONG)
    click.echo(loaded.text(), nl=False)
    try:
        check_config(loaded.config)
        Gateway(loaded.config).close()
    except AbstractCoreError as error:
        show(error)
        context.exit(REFUSED)
