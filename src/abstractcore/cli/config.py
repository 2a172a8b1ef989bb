"""``abstractcore config``: what is set, and where each value came from."""

from __future__ import annotations

import click

from ..settings import PROJECT_FILE, SETTINGS, SYSTEM_FILE, Setting, Value, resolve, user_file


@click.group()
def config() -> None:
    """Shows the settings of this folder, user and machine."""


@config.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--origin", is_flag=True, help="Say where each value came from.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(names: tuple[str, ...], origin: bool, as_json: bool) -> None:
    """Prints all settings, or those that are named. Keys are never printed, only whether there is one.

    A later one wins: default, /etc/abstractcore/config.toml, the user's config.toml, the abstractcore.toml of this
    folder, the environment.
    """
    rows = [(row, resolve(row.name)) for row in _chosen(names)]
    if as_json:
        import msgspec

        values = {row.name: {"value": _printed(value), "origin": value.origin} for row, value in rows}
        click.echo(msgspec.json.encode({"schema": "abstractcore.config/1", "settings": values}).decode())
        return
    width = max(len(row.name) for row, _ in rows)
    for row, value in rows:
        click.echo(f"{row.name:<{width}}  {value.shown()}" + (f"  ({_named(row, value)})" if origin else ""))


@config.command()
def files() -> None:
    """Prints the files that may hold settings, strongest first, and which of them exist."""
    for path in (PROJECT_FILE.absolute(), user_file(), SYSTEM_FILE):
        click.echo(f"{path}  ({'exists' if path.exists() else 'none'})")


def _chosen(names: tuple[str, ...]) -> list[Setting]:
    """The rows of these names; a part before the dot names all of its rows."""
    rows = [row for row in SETTINGS if not names or row.name in names or row.name.partition(".")[0] in names]
    known = {row.name for row in rows} | {row.name.partition(".")[0] for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"there is no setting {unknown[0]}; abstractcore config show lists all")
    return rows


def _printed(value: Value) -> str | None:
    return None if value.value is None else value.shown()


def _named(row: Setting, value: Value) -> str:
    return "default; set " + " or ".join(row.env) if value.origin == "default" and row.env else value.origin
