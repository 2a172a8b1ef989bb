"""``abstractcore check``: everything that is promised, tried on a live server and through a gateway."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import DeployError
from .connection import connect, connection
from .signals import signals_interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..selftest.step import Outcome
    from ..selftest.subject import Subject

SCHEMA: Final = "abstractcore.check/1"
REFUSED: Final = 3
UNREACHABLE: Final = 4
_MARKS: Final = {"passed": ("ok", "green"), "failed": ("FAIL", "red"), "not tried": ("--", "cyan")}


@click.command()
@connection
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME=PATH",
    help="A LoRA adapter to load, ask and unload; the path is one on the server's machine. Repeat it.",
)
@click.option("--no-gateway", is_flag=True, help="Try the library only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the gateway.  [default: 8080, or the next free]")
@click.option("--keep", is_flag=True, help="Leave the gateway running until Ctrl-C, and print requests to paste.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcomes as JSON.")
def check(
    *,
    provider: str | None,
    model: str | None,
    base_url: str | None,
    wait: float | None,
    adapters: tuple[str, ...],
    no_gateway: bool,
    port: int | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Tries a live server: plain and streamed answers, guided decoding, adapters, beam search, and a gateway.

    Starts a gateway of its own in front of the server and tries that too. Changes nothing on the server: an adapter
    that it loads, it unloads. Exit code 3 means that something does not work, 4 that the server can't be reached.
    """
    from ..selftest.subject import Subject

    subject = Subject(connect(provider, model, base_url, wait), adapters=dict(_pair(text) for text in adapters))
    report = _silent if as_json else _Report()
    with signals_interrupt(), ExitStack() as stack:
        outcomes = _library(subject, report)
        if not no_gateway and subject.model:
            outcomes += _gateway(subject, port, stack, report)
        if as_json:
            import msgspec

            click.echo(msgspec.json.format(msgspec.json.encode(document(outcomes)), indent=2).decode())
        else:
            click.echo(f"\n{summary(outcomes)}")
        if keep and subject.gateway:
            _stay(subject)
    code = exit_code(outcomes)
    if code:
        raise click.exceptions.Exit(code)


def _library(subject: Subject, report: Any) -> list[Outcome]:
    from ..selftest.library import LIBRARY
    from ..selftest.step import perform

    outcomes = []
    for outcome in perform(LIBRARY, subject):
        outcomes.append(outcome)
        report(outcome)
    return outcomes


def _gateway(subject: Subject, port: int | None, stack: ExitStack, report: Any) -> list[Outcome]:
    from ..selftest.gateway import GATEWAY
    from ..selftest.running import gateway
    from ..selftest.step import Outcome, Verdict, perform

    outcomes: list[Outcome] = []
    started = time.monotonic()
    try:
        subject.gateway = stack.enter_context(gateway(subject.llm, port))
    except DeployError as error:
        outcome = Outcome(
            id="gateway.start", title="it starts", verdict=Verdict.FAILED,
            measured=error.message, why=error.why, cure=error.hint,
        )  # fmt: skip
        report(outcome)
        return [outcome]
    seconds = time.monotonic() - started
    measured = f"{subject.gateway} after {seconds:.1f} s"
    outcomes.append(
        Outcome(id="gateway.start", title="it starts", verdict=Verdict.PASSED, measured=measured, seconds=seconds)
    )
    report(outcomes[0])
    for outcome in perform(GATEWAY, subject):
        outcomes.append(outcome)
        report(outcome)
    return outcomes


def _stay(subject: Subject) -> None:
    from ..selftest.curl import curl
    from ..selftest.gateway import examples

    click.echo(
        f"\nThe gateway stays at {subject.gateway} until Ctrl-C. In a browser: / to chat, /docs for the interface."
    )
    click.echo("To paste:\n")
    for call in examples(subject):
        click.echo(f"  {curl(call)}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("\nthe gateway is stopped", err=True)


class _Report:
    """Prints each outcome as it comes."""

    def __init__(self) -> None:
        self._family = ""

    def __call__(self, outcome: Outcome) -> None:
        family = outcome.id.partition(".")[0]
        if family != self._family:
            click.echo(("\n" if self._family else "") + click.style(family, bold=True))
            self._family = family
        for line in lines(outcome):
            click.echo(line)


def _silent(_: Outcome) -> None:
    pass


def lines(outcome: Outcome) -> list[str]:
    """An outcome for a terminal."""
    mark, color = _MARKS[str(outcome.verdict)]
    first = f"  {click.style(f'{mark:<4}', fg=color)} {outcome.title}: {outcome.measured}"
    more = [(label, text) for label, text in (("why", outcome.why), ("try", outcome.cure)) if text]
    return [first, *(f"         {label + ':':<5} {line}" for label, text in more for line in text.splitlines())]


def summary(outcomes: Sequence[Outcome]) -> str:
    """How it came out, in one line."""
    counts = {word: sum(str(outcome.verdict) == word for outcome in outcomes) for word in _MARKS}
    return ", ".join(f"{number} {word}" for word, number in counts.items() if number)


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The outcomes as JSON."""
    from ..selftest.step import fails

    return {"schema": SCHEMA, "ok": not fails(outcomes), "outcomes": list(outcomes)}


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 if all that was tried works, 4 if the server can't be reached, else 3."""
    from ..selftest.step import fails

    if not fails(outcomes):
        return 0
    return UNREACHABLE if any(outcome.unreachable for outcome in outcomes) else REFUSED


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise click.UsageError(f"--adapter {text!r} is not of the form NAME=PATH")
    return name, path
