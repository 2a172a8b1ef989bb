"""``abstractcore providers``: which backends there are, which could answer now, and what each can do."""

from __future__ import annotations

from typing import Any, Final

import click

from ..capability import CAPABILITIES, KNOBS, Capability, Support, support

EXAMPLES: Final = """\b
abstractcore providers
abstractcore providers ollama
abstractcore providers --json"""

_SHOWN: Final = 3
"""Most models that a line names."""


@click.command(epilog=EXAMPLES)
@click.argument("names", metavar="[PROVIDER]...", nargs=-1)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="How long each may take; all are asked at the same time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def providers(names: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Says which providers could answer now, and what stands in the way of the others.

    With names, only these, and what each can do.
    """
    from ..providers import get_all_providers_status, get_provider_status

    rows = [get_provider_status(name, timeout) for name in names] or get_all_providers_status(timeout)
    if as_json:
        import msgspec

        shown = [{**row, "capabilities": _capabilities(row["name"]), "knobs": _knobs(row["name"])} for row in rows]
        click.echo(msgspec.json.encode({"schema": "abstractcore.providers/1", "providers": shown}).decode())
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = row["status"].replace("_", " ")
        click.echo(f"{row['name']:<{width}}  {state:<13}  {_detail(row)}".rstrip())
        if names:
            _say_abilities(row["name"])


def _detail(row: dict[str, Any]) -> str:
    """The models, or what is wrong and what to do about it, in one line."""
    if row["error"] is None:
        models = row["models"]
        more = ", ..." if len(models) > _SHOWN else ""
        count = f"{len(models)} model{'s' if len(models) > 1 else ''}"
        return f"{count}: {', '.join(models[:_SHOWN])}{more}" if models else ""
    first, *others = row["error"].splitlines()
    hint = next((line for line in others if line.startswith("try: ")), "")
    return f"{first}; {hint}" if hint else first


def _capabilities(name: str) -> dict[str, str]:
    if name not in CAPABILITIES:
        return {}
    return {str(capability): str(support(name, capability)) for capability in Capability}


def _knobs(name: str) -> list[str]:
    return sorted(KNOBS.get(name, ()))


def _say_abilities(name: str) -> None:
    abilities = _capabilities(name)
    for kind in Support:
        found = [capability for capability, how in abilities.items() if how == kind]
        if found:
            click.echo(f"  {kind:<11}  {', '.join(found)}")
    if _knobs(name):
        click.echo(f"  {'knobs':<11}  {', '.join(_knobs(name))}")
