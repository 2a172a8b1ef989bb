"""``abstractcore render``: a deployment written down for another tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .launching import launch, launching, stop_unless_it_fits

if TYPE_CHECKING:
    from ..deploy.container import Deployment

SCHEMA: Final = "abstractcore.render/1"
_NAMES: Final = ("docker", "compose", "podman", "process", "systemd", "apptainer")


@click.command()
@click.argument("target", type=click.Choice(_NAMES), metavar="TARGET")
@launching
@click.option("--json", "as_json", is_flag=True, help="Print the deployment as JSON.")
def render(target: str, as_json: bool, **options: Any) -> None:
    """Writes down what ``up`` would run, for TARGET: docker, compose, podman, process, systemd or apptainer.

    MODEL is a folder or an id on the hub. What stands after -- goes to vLLM itself. Nothing is started or made: where
    the file with the key is missing, the output says how to make it.
    """
    from ..deploy.profiles import deployment
    from ..deploy.render.targets import TARGETS

    plan, launched, warnings = launch(options)
    stop_unless_it_fits(plan)
    made = deployment(plan, launched)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document(target, made)), indent=2).decode())
    else:
        click.echo(TARGETS[target].text(made), nl=False)
    for text in (*made.reasons, *warnings):
        click.echo(f"note: {text}", err=True)
    _explain_key(made)


def document(target: str, made: Deployment) -> dict[str, Any]:
    """The deployment as data, and how the target runs it."""
    from dataclasses import asdict

    from ..deploy.render.targets import TARGETS

    row = TARGETS[target]
    commands = row.commands(made) if row.commands else None
    return {
        "schema": SCHEMA,
        "target": target,
        "commands": commands,
        "file": None if commands else row.text(made),
        "deployment": {**asdict(made), "key_file": str(made.key_file)},
    }


def _explain_key(made: Deployment) -> None:
    from pathlib import Path
    from shlex import quote

    if made.key_file is None or Path(made.key_file).exists():
        return
    folder, file = quote(str(made.key_file.parent)), quote(str(made.key_file))
    owner = made.server.user or ""
    click.echo(
        f"note: the key is not there yet. abstractcore up makes it; by hand, as the user {owner}:\n"
        f"  mkdir -p {folder} && (umask 077 && openssl rand -hex 32 > {file})",
        err=True,
    )
