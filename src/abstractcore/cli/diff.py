"""``abstractcore diff``: what runs against what was planned, flag by flag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from .deployed import NOT_SO, as_row, engine_option, nothing_runs, project_folder, project_name
from .launching import launch, launching

if TYPE_CHECKING:
    from ..deploy.container import Deployment

SCHEMA: Final = "abstractcore.diff/1"


def _optional_model(command: click.Command) -> click.Command:
    """Without MODEL the plan is the one that ``up`` kept."""
    for parameter in command.params:
        if parameter.name == "model":
            parameter.required = False
    return command


@_optional_model
@click.command()
@launching
@engine_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def diff(engine: str | None, as_json: bool, **options: Any) -> None:
    """Compares the containers with what `up` planned, or with what MODEL and options would come to now.

    Exit code 3 means that something differs.
    """
    from ..deploy.engine import find_engine
    from ..deploy.lifecycle.status import compare

    planned = _planned(options)
    found = compare(find_engine(engine), planned)
    if as_json:
        rows = {name: [as_row(difference) for difference in differences] for name, differences in found.items()}
        click.echo(json.dumps({"schema": SCHEMA, "project": planned.project, "containers": rows}, indent=2))
    else:
        for name, differences in found.items():
            for difference in differences:
                click.echo(f"{name}: {difference}")
            if not differences:
                click.echo(f"{name}: as planned")
    if any(found.values()):
        raise click.exceptions.Exit(NOT_SO)


def _planned(options: dict[str, Any]) -> Deployment:
    if options["model"] is not None:
        from ..deploy.profiles import deployment

        plan, launched, _ = launch(options)
        return deployment(plan, launched)
    from ..deploy.lifecycle import record

    project = project_name(options["project"])
    kept = record.load(project_folder(project))
    if kept is None:
        raise nothing_runs(project)
    return kept
