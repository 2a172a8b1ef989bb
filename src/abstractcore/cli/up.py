"""``abstractcore up``: a server and its client in containers, checked, started and proved."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from .deployed import NOT_SO, engine_option, project_folder, say, say_problems
from .launching import launch, launching
from .progress import ProgressLine
from .signals import signals_interrupt

if TYPE_CHECKING:
    from ..deploy.container import Deployment
    from ..deploy.engine import Engine
    from ..deploy.lifecycle.checks import Problem
    from ..deploy.lifecycle.up import Outcome, Wishes
    from ..deploy.plan import Plan

SCHEMA: Final = "abstractcore.up/1"
EXAMPLES: Final = """\b
abstractcore up Qwen/Qwen2.5-Coder-7B-Instruct
abstractcore up ./my-model --profile private --context 8192
abstractcore up ./my-model --allow memlock=8MiB --dry-run"""


@click.command(epilog=EXAMPLES)
@launching
@engine_option
@click.option("--replace", is_flag=True, help="Take down what runs under this name with another plan.")
@click.option("--keep", is_flag=True, help="If the start fails, leave the containers for inspection.")
@click.option("--timeout", type=click.FloatRange(min=1), default=1800, show_default=True, metavar="SECONDS",
              help="Until the server has to answer.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check everything and print the commands; start nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def up(
    engine: str | None,
    replace: bool,
    keep: bool,
    timeout: float,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Starts MODEL in a container, with a client beside it, and returns when both are proved to work.

    Everything that stands in the way is said at once, before anything is made. What runs already is proved again. If
    the start fails, its cause is said, and nothing half-started stays. Exit code 3 means that a check says no.
    """
    from ..deploy.engine import find_engine
    from ..deploy.lifecycle.checks import PreflightError
    from ..deploy.lifecycle.up import Wishes
    from ..deploy.profiles import deployment

    plan, launched, warnings = launch(options)
    planned = deployment(plan, launched)
    for line in (*warnings, *plan.chosen.warnings):
        say(f"warning: {line}")
    _refuse(plan)
    wishes = Wishes(
        folder=project_folder(planned.project),
        replace=replace,
        keep=keep,
        limit=timeout,
        download=0 if launched.weights else plan.model.size,
    )
    found = find_engine(engine)
    try:
        with signals_interrupt():
            if dry_run:
                _rehearse(found, planned, wishes, as_json=as_json)
            else:
                _bring_up(found, planned, wishes, ask=not yes, as_json=as_json)
    except PreflightError as error:
        if as_json:
            click.echo(json.dumps(_document(planned, problems=error.problems), indent=2))
        say_problems(error.problems)
        raise click.exceptions.Exit(NOT_SO) from None


def _refuse(plan: Plan) -> None:
    """A plan that says no is not tried."""
    if plan.verdict != "REFUSE":
        return
    for refusal in plan.chosen.refusals:
        say(f"error: vLLM would refuse: {refusal.phrase or 'an empty AssertionError'}\ntry: {refusal.cure}")
    if plan.change:
        say(f"try: the least change that makes it fit: {plan.change}")
    raise click.exceptions.Exit(NOT_SO)


def _rehearse(engine: Engine, planned: Deployment, wishes: Wishes, *, as_json: bool) -> None:
    from ..deploy.lifecycle.up import look
    from ..deploy.render import docker, podman

    argvs = podman.commands(planned) if engine.name == "podman" else docker.commands(planned)
    with ProgressLine() as progress:
        problems = look(engine, planned, wishes, progress)
    if as_json:
        click.echo(json.dumps(_document(planned, problems=problems, commands=argvs), indent=2))
    else:
        for argv in argvs:
            click.echo(shlex.join(argv))
        for reason in planned.reasons:
            say(f"because: {reason}")
    if problems:
        say_problems(problems)
        raise click.exceptions.Exit(NOT_SO)


def _bring_up(engine: Engine, planned: Deployment, wishes: Wishes, *, ask: bool, as_json: bool) -> None:
    from ..deploy.lifecycle.up import up as bring_up

    for reason in planned.reasons:
        say(f"because: {reason}")
    if ask and sys.stdin.isatty() and sys.stderr.isatty():
        names = " and ".join(spec.name for spec in planned.containers)
        click.confirm(f"Start {names} ({planned.profile} profile)?", default=True, abort=True, err=True)
    with ProgressLine() as progress:
        outcome = bring_up(engine, planned, wishes, progress)
    if as_json:
        click.echo(json.dumps(_document(planned, outcome=outcome), indent=2))
    else:
        _say_where_next(engine, outcome)


def _document(
    planned: Deployment,
    *,
    outcome: Outcome | None = None,
    problems: tuple[Problem, ...] = (),
    commands: list[list[str]] | None = None,
) -> dict[str, Any]:
    from dataclasses import asdict

    found: dict[str, Any] = {
        "schema": SCHEMA,
        "project": planned.project,
        "profile": planned.profile,
        "containers": [spec.name for spec in planned.containers],
        "base_url": planned.base_url,
        "model": planned.served_name,
        "key_file": str(planned.key_file) if planned.key_file else None,
        "allowed": dict(planned.allowed),
        "reasons": list(planned.reasons),
        "problems": [asdict(problem) for problem in problems],
    }
    if commands is not None:
        found["commands"] = commands
    if outcome:
        found |= {
            "ran_already": outcome.ran_already,
            "seconds": outcome.seconds,
            "canary": asdict(outcome.canary),
            "completion": asdict(outcome.completion) if outcome.completion else None,
        }
    return found


def _say_where_next(engine: Engine, outcome: Outcome) -> None:
    planned = outcome.deployment
    project = "" if planned.project == "abstractcore" else f" --project {planned.project}"
    state = "ran already, and is proved again" if outcome.ran_already else f"is up, in {outcome.seconds:.0f} s"
    click.echo(f"{planned.served_name} {state}: {planned.base_url} ({planned.profile} profile)")
    rows = [("in force", "every flag as planned, by inspect")]
    rows.append(("server", f"gave a token in {outcome.canary.seconds:.1f} s"))
    if outcome.completion and planned.client:
        said = " ".join(outcome.completion.content.split())[:60]
        rows.append(("client", f"got an answer in {outcome.completion.seconds:.1f} s: {said!r}"))
    rows += [("given up", f"{name}, to {value}") for name, value in planned.allowed.items()]
    if planned.client:
        rows.append(("ask it", f'{engine.name} exec {planned.client.name} abstractcore ask "Why is the sky blue?"'))
    if planned.server.network == "host":
        place = f"VLLM_BASE_URL={planned.base_url} VLLM_API_KEY_FILE={shlex.quote(str(planned.key_file))}"
        rows.append(("from here", f'{place} abstractcore ask "Why is the sky blue?"'))
    rows += [("its log", f"abstractcore logs{project} --follow"), ("stop it", f"abstractcore down{project}")]
    for label, text in rows:
        click.echo(f"{label + ':':<11}{text}")
