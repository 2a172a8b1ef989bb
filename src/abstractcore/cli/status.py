"""``abstractcore status``: how a deployment fares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from .deployed import NOT_SO, as_row, engine_option, nothing_runs, project_folder, project_name, project_option

if TYPE_CHECKING:
    from ..deploy.lifecycle.status import Row, Status

SCHEMA: Final = "abstractcore.status/1"


@click.command()
@project_option
@engine_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def status(project: str | None, engine: str | None, as_json: bool) -> None:
    """Says whether the containers run, since when, how often they were restarted, and whether they are as planned.

    Exit code 3 means that one does not run, is unwell, or is not as planned.
    """
    from ..deploy.engine import find_engine
    from ..deploy.lifecycle.status import status as look

    name = project_name(project)
    found = look(find_engine(engine), name, project_folder(name))
    if found is None:
        raise nothing_runs(name)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    else:
        _print(found)
    if not found.runs or any(row.differences for row in found.rows):
        raise click.exceptions.Exit(NOT_SO)


def _document(found: Status) -> dict[str, Any]:
    from dataclasses import asdict

    rows = [
        {
            **asdict(row),
            "differences": None if row.differences is None else [as_row(difference) for difference in row.differences],
        }
        for row in found.rows
    ]
    return {"schema": SCHEMA, **asdict(found), "runs": found.runs, "rows": rows}


def _print(found: Status) -> None:
    click.echo(f"{found.project}: {found.model or '?'} at {found.base_url or '?'} ({found.profile or '?'} profile)")
    for name, value in found.allowed.items():
        click.echo(f"given up: {name}, to {value}")
    width = max((len(row.name) for row in found.rows), default=0) + 2
    for row in found.rows:
        click.echo(f"{row.name:<{width}}{_state(row)}")
        for difference in row.differences or ():
            click.echo(f"{'':<{width}}{difference}")


def _state(row: Row) -> str:
    parts = [row.status if row.status == "running" else f"{row.status}, exit code {row.exit_code}"]
    if row.health:
        parts.append(row.health)
    if row.since:
        parts.append(f"since {row.since.partition('.')[0].removesuffix('Z')}Z")
    parts.append(f"{row.restarts} restarts")
    if row.differences is None:
        parts.append("its plan is not known here")
    else:
        parts.append(f"{len(row.differences)} differences" if row.differences else "as planned")
    return ", ".join(parts)
