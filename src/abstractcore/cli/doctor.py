"""``abstractcore doctor``: what is wrong with a machine, its containers and a server, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..doctor.check import Check, Result

SCHEMA: Final = "abstractcore.doctor/1"
REFUSED: Final = 3
_MARKS: Final = {
    "ok": ("ok", "green"),
    "warning": ("warn", "yellow"),
    "error": ("FAIL", "red"),
    "crashed": ("FAIL", "red"),
    "unknown": ("?", "cyan"),
}


@click.command()
@click.option("--server", metavar="NAME", help="The server's container, whoever started it.  [default: vllm-server]")
@click.option("--client", metavar="NAME", help="The client's container.  [default: chatbot-main-gpu-agent]")
@click.option("--base-url", metavar="URL", help="A server's address, with or without containers.")
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False), help="File that holds the server's key.")
@click.option("--engine", type=click.Choice(["docker", "podman"]), help="What runs the containers.")
@click.option("--only", metavar="IDS", help="Checks or families, with commas: gpu,server.regex")
@click.option("--list", "as_list", is_flag=True, help="Name all checks, and ask none.")
@click.option("--fix", is_flag=True, help="Mend what can be mended without risk, after showing it.")
@click.option("--yes", is_flag=True, help="Don't ask before mending.")
@click.option("--verbose", is_flag=True, help="Show what is well, too.")
@click.option("--debug", is_flag=True, help="Let a check that crashes show where.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(
    server: str | None,
    client: str | None,
    base_url: str | None,
    key_file: str | None,
    engine: str | None,
    only: str | None,
    as_list: bool,
    fix: bool,
    yes: bool,
    verbose: bool,
    debug: bool,
    as_json: bool,
) -> None:
    """Examines the host, the GPUs, the containers, the server and the way to it. Changes nothing.

    Works on containers that abstractcore did not start, and with --base-url on any vLLM server. Exit code 3 means that
    something does not work.
    """
    from ..doctor import CHECKS, chosen, examine, fails
    from ..doctor.gather import gather

    checks = chosen(CHECKS, only)
    if as_list:
        _list(checks)
        return
    facts = gather(server=server, client=client, base_url=base_url, key_file=key_file, engine=engine)
    results = list(examine(checks, facts, debug=debug))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document(results)), indent=2).decode())
    else:
        for line in page(results, verbose=verbose):
            click.echo(line)
    if fix:
        _mend(results, yes=yes)
    if fails(results):
        raise click.exceptions.Exit(REFUSED)


def _list(checks: Sequence[Check]) -> None:
    width = max(len(check.id) for check in checks)
    for check in checks:
        click.echo(f"{check.id:<{width}}  {check.title}")


def document(results: Sequence[Result]) -> dict[str, Any]:
    """The findings as JSON."""
    from ..doctor import fails

    rows = []
    for result in results:
        found = result.finding
        rows.append(
            {
                "id": result.id,
                "title": result.title,
                "verdict": str(found.verdict),
                "subject": found.subject or None,
                "measured": found.measured,
                "expected": found.expected or None,
                "why": found.why or None,
                "cure": found.cure or None,
                "fixable": found.fix is not None,
            }
        )
    return {"schema": SCHEMA, "ok": not fails(results), "findings": rows}


def page(results: Sequence[Result], *, verbose: bool) -> list[str]:
    """The findings for a terminal: what is wrong first in each family, with why and what to do."""
    lines: list[str] = []
    family = ""
    for result in results:
        found = result.finding
        kind = str(found.verdict)
        if kind == "ok" and not verbose:
            continue
        if result.id.partition(".")[0] != family:
            family = result.id.partition(".")[0]
            lines += ["", click.style(family, bold=True)] if lines else [click.style(family, bold=True)]
        mark, color = _MARKS[kind]
        about = f"{found.subject}: " if found.subject else ""
        lines.append(f"  {click.style(f'{mark:<4}', fg=color)} {about}{found.measured}  ({result.id})")
        for label, text in (("expected", found.expected), ("why", found.why), ("try", found.cure)):
            if text:
                lines.append(f"         {label + ':':<9} {text}")
    return [*lines, *([""] if lines else []), _summary(results)]


def _summary(results: Sequence[Result]) -> str:
    counts = {mark: 0 for mark, _ in _MARKS.values()}
    for result in results:
        counts[_MARKS[str(result.finding.verdict)][0]] += 1
    words = {"ok": "well", "warn": "to look at", "FAIL": "broken", "?": "not measurable from here"}
    return ", ".join(f"{number} {words[mark]}" for mark, number in counts.items() if number) or "nothing to examine"


def _mend(results: Sequence[Result], *, yes: bool) -> None:
    fixes = [result.finding.fix for result in results if result.finding.fix]
    if not fixes:
        click.echo("nothing here can be mended without risk; see the lines that begin with try:", err=True)
        return
    click.echo("would do:", err=True)
    for fix in fixes:
        click.echo(f"  {fix.command}", err=True)
    if not yes and not click.confirm("do it?", err=True):
        return
    for fix in fixes:
        fix.apply()
        click.echo(f"done: {fix.command}", err=True)
