"""What the commands about a running deployment share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from ..deploy.differences import Difference
    from ..deploy.lifecycle.checks import Problem

F = TypeVar("F", bound=Callable[..., Any])
NOT_SO: Final = 3
"""Exit code: a check says no."""

engine_option = click.option(
    "--engine", type=click.Choice(["docker", "podman"]), help="Engine of containers.  [default: whichever is here]"
)
project_option = click.option("--project", help="Name of the deployment.  [default: abstractcore]")


def project_folder(project: str) -> Path:
    """Where what is known of a deployment is kept."""
    from ..settings import state_dir

    return state_dir() / project


def project_name(given: str | None) -> str:
    """The deployment's name."""
    from ..deploy.options import PROJECT

    return given or PROJECT


def say(line: str) -> None:
    """Talks to the user; results go to standard output, this does not."""
    click.echo(line, err=True)


def nothing_runs(project: str) -> click.exceptions.Exit:
    """Tells that there is no such deployment."""
    say(f"error: nothing called {project} was started here\ntry: abstractcore up MODEL")
    return click.exceptions.Exit(1)


def as_row(difference: Difference) -> dict[str, str]:
    """A difference as data."""
    return {"flag": difference.flag, "planned": difference.planned, "in_force": difference.in_force}


def say_problems(problems: tuple[Problem, ...]) -> None:
    """Prints all that stands in the way, each with its ways on."""
    from .main import paint

    for problem in problems:
        say(f"{paint('error', 'red')} {problem.what}")
        say(f"{paint('why', 'yellow')} {problem.why}")
        for way in problem.ways:
            say(f"{paint('try', 'cyan')} {way}")
