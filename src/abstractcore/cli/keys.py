"""``abstractcore keys``: keys for clients of the gateway."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..server.keys import Key

SCHEMA: Final = "abstractcore.keys.list/1"
_RATE: Final = re.compile(r"(\d+)(?:/min)?")
_SPAN: Final = re.compile(r"(\d+)([hdw])")
_HOURS: Final = {"h": 1, "d": 24, "w": 168}

_FILE = click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="File of the keys.  [default: keys.json beside the user's settings]",
)


@click.group()
def keys() -> None:
    """Make, list and remove keys for clients of the gateway. The file holds no key, only hashes."""


@keys.command()
@click.argument("name")
@click.option(
    "--models", multiple=True, metavar="GLOB", help="Models that it may use, such as 'vllm/*'.  [default: all]"
)
@click.option("--rate", metavar="N/min", help="Requests a minute.  [default: no limit]")
@click.option("--in-flight", type=click.IntRange(min=1), help="Requests at a time.  [default: the gateway's limit]")
@click.option("--adapters", is_flag=True, help="It may load and unload adapters.")
@click.option("--expires", metavar="DATE|30d", help="When it ends: a date in UTC, or so many hours, days, weeks.")
@_FILE
def add(
    name: str,
    models: tuple[str, ...],
    rate: str | None,
    in_flight: int | None,
    adapters: bool,
    expires: str | None,
    file: Path | None,
) -> None:
    """Make a key for NAME. It is printed once, on stdout, and can't be had again."""
    from ..server.keys import Key, default_path, locked_file, make_key, write_keys

    path = file or default_path()
    now = datetime.now(UTC).replace(microsecond=0)
    per_minute, end = _rate(rate), _end(expires, now)
    _check_name(name)
    with locked_file(path):
        rows = _read(path)
        if any(row.name == name for row in rows):
            raise ConfigurationError(f"there is a key {name!r} in {path}", hint=f"abstractcore keys remove {name}")
        made, digest = make_key()
        row = Key(
            name=name, sha256=digest, created=now, models=models, rate=per_minute, in_flight=in_flight,
            adapters=adapters, expires=end,
        )  # fmt: skip
        write_keys(path, [*rows, row])
    click.echo(made)
    click.echo(f"kept in {path} as a hash; a gateway that runs with it knows the key within a second", err=True)
    click.echo("start one: abstractcore serve --keys" + (f" {file}" if file else ""), err=True)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_FILE
def list_(as_json: bool, file: Path | None) -> None:
    """List the keys: names and what they may do."""
    from ..server.keys import default_path

    rows = _read(file or default_path())
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"schema": SCHEMA, "keys": [_shown(row) for row in rows]}).decode())
        return
    if not rows:
        click.echo(f"no keys in {file or default_path()}", err=True)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row.name:<{width}}  {'; '.join(_facts(row))}")


@keys.command()
@click.argument("name")
@_FILE
def remove(name: str, file: Path | None) -> None:
    """Remove the key of NAME: a running gateway refuses it within a second."""
    from ..server.keys import default_path, locked_file, write_keys

    path = file or default_path()
    with locked_file(path):
        rows = _read(path)
        left = [row for row in rows if row.name != name]
        if len(left) == len(rows):
            names = ", ".join(row.name for row in rows) or "none"
            raise ConfigurationError(f"there is no key {name!r} in {path}", why=f"there are: {names}")
        write_keys(path, left)
    click.echo(f"removed {name}", err=True)


def _read(path: Path) -> list[Key]:
    from ..server.keys import read_keys

    return read_keys(path) if path.exists() else []


def _check_name(name: str) -> None:
    from ..server.keys import NAME

    if not re.fullmatch(NAME, name):
        raise click.UsageError(f"{name!r} is no name for a key: letters, digits, and . _ @ - , at most 64")


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    found = _RATE.fullmatch(text)
    if not found or not int(found[1]):
        raise click.UsageError(f"--rate {text!r} is not of the form 60/min")
    return int(found[1])


def _end(text: str | None, now: datetime) -> datetime | None:
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    try:
        end = now + timedelta(hours=int(span[1]) * _HOURS[span[2]]) if span else datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"--expires {text!r} is neither a date such as 2030-12-31 nor a span such as 30d"
        ) from None
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    if end <= now:
        raise click.UsageError(f"--expires {text}: that is over")
    return end


def _shown(row: Key) -> dict[str, Any]:
    return {
        "name": row.name,
        "created": row.created,
        "models": row.models,
        "rate": row.rate,
        "in_flight": row.in_flight,
        "adapters": row.adapters,
        "expires": row.expires,
        "expired": row.has_expired(),
    }


def _facts(row: Key) -> list[str]:
    facts = [f"models {', '.join(row.models)}" if row.models else "all models"]
    facts += [f"{row.rate} requests a minute"] if row.rate else []
    facts += [f"{row.in_flight} at a time"] if row.in_flight else []
    facts += ["may load adapters"] if row.adapters else []
    if row.expires:
        facts.append(f"{'EXPIRED' if row.has_expired() else 'expires'} {row.expires:%Y-%m-%d %H:%M} UTC")
    return [*facts, f"made {row.created:%Y-%m-%d}"]
