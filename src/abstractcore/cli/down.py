"""``abstractcore down``: stops what ``up`` started, and removes it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from .deployed import engine_option, project_folder, project_name, project_option, say
from .progress import ProgressLine

if TYPE_CHECKING:
    from ..deploy.lifecycle.down import Ended

SCHEMA: Final = "abstractcore.down/1"


@click.command()
@project_option
@engine_option
@click.option("--volumes", is_flag=True, help="Remove its volumes (caches, downloads) and its key too.")
@click.option("--grace", type=click.IntRange(0), metavar="SECONDS", help="Until it is killed.  [default: as planned]")
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def down(
    project: str | None,
    engine: str | None,
    volumes: bool,
    grace: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Lets the server finish its requests, then removes what carries the deployment's label, and nothing else."""
    from ..deploy.engine import find_engine
    from ..deploy.lifecycle.down import Ended
    from ..deploy.lifecycle.down import down as take_down

    name = project_name(project)
    found = find_engine(engine)
    found.info()
    kinds = ("container", "network", *(("volume",) if volumes else ()))
    ours = {kind: found.labelled(kind, name) for kind in kinds}
    if dry_run:
        planned = Ended(
            project=name,
            containers=ours["container"],
            networks=ours["network"],
            volumes=ours.get("volume", ()),
        )
        _show(planned, as_json=as_json, verb="would remove")
        return
    named = [f"{kind} {entry}" for kind, names in ours.items() for entry in names]
    if named and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"Stop and remove {', '.join(named)}?", default=True, abort=True, err=True)
    with ProgressLine() as progress:
        ended = take_down(found, name, folder=project_folder(name), volumes=volumes, grace=grace, report=progress)
    _show(ended, as_json=as_json, verb="removed")


def _show(ended: Ended, *, as_json: bool, verb: str) -> None:
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **asdict(ended)}, indent=2))
        return
    rows = (("container", ended.containers), ("network", ended.networks), ("volume", ended.volumes))
    for kind, names in rows:
        for name in names:
            click.echo(f"{verb} the {kind} {name}")
    if ended.key:
        click.echo(f"{verb} the key {ended.key}")
    if not any(names for _, names in rows):
        say(f"nothing called {ended.project} was there")
    for name in ended.kept:
        say(f"kept the volume {name}; --volumes removes it too")
    for name in ended.killed:
        say(f"warning: {name} did not end in its time and was killed; --grace SECONDS gives it more")
    if ended.segments:
        say(f"warning: left in the host's shared memory: {', '.join(ended.segments)}")
        say(f"try: rm {' '.join(ended.segments)}")
