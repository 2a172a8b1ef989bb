"""``abstractcore plan``: what fits, before anything is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from .planning import planned, planning

if TYPE_CHECKING:
    from ..deploy.plan import Plan

SCHEMA: Final = "abstractcore.plan/1"
REFUSED: Final = 3


@click.command()
@click.argument("model")
@planning
@click.option("--command", "as_command", is_flag=True, help="Print the command to launch, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(model: str, as_command: bool, as_json: bool, **options: Any) -> None:
    """Says whether MODEL fits on some GPUs, how to launch it, and what vLLM will print or refuse.

    MODEL is a folder, an entry of the Hugging Face cache, or an id on the hub (its weights are not downloaded).
    Exit code 3 means that it does not fit.
    """
    made, warnings = planned(model, options)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document(made, warnings)), indent=2).decode())
    elif as_command:
        click.echo(made.command() if made.verdict != "REFUSE" else "", nl=made.verdict != "REFUSE")
        explain_refusal(made)
    else:
        from .plan_page import page

        click.echo("\n".join([*page(made), *(f"warning: {text}" for text in warnings)]))
    if made.verdict == "REFUSE":
        raise click.exceptions.Exit(REFUSED)


def explain_refusal(made: Plan) -> None:
    """Says why vLLM would not start, and what would mend it."""
    for refusal in made.chosen.refusals:
        click.echo(f"error: vLLM refuses: {refusal.phrase or 'an empty AssertionError'}\ntry: {refusal.cure}", err=True)


def document(made: Plan, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """The plan as data."""
    chosen, flags = made.chosen, made.chosen.flags
    return {
        "schema": SCHEMA,
        "model": {"name": made.model.name, "architecture": made.model.shape.architecture, "source": made.model.source,
                  "weight_bytes": made.model.size, "from_weights": made.model.from_weights},
        "gpus": [{"name": g.name, "total": g.total, "free": g.free, "capability": list(g.capability), "link": g.link}
                 for g in made.gpus],
        "vllm_version": ".".join(map(str, made.version)),
        "version_match": made.match,
        "measured": made.measured,
        "verdict": made.verdict,
        "binds": chosen.binds,
        "refusals": [{"rule": r.rule, "phrase": r.phrase, "cure": r.cure} for r in chosen.refusals],
        "change": made.change,
        "longest_context": chosen.longest,
        "flags": _flag_rows(flags),
        "command": made.command(),
        "environment": made.env,
        "log_lines": list(made.log_lines()),
        "kv_cache": {case: _capacity(getattr(chosen, case)) for case in ("low", "best", "high")},
        "bytes_per_block": chosen.pool.bytes_per_block() if chosen.pool else 0,
        "ranks": [_rank_row(rank) for rank in chosen.ranks],
        "requests": round(chosen.requests, 2),
        "runner_up": _other(made),
        "notes": list(made.notes),
        "warnings": [*chosen.warnings, *warnings],
    }  # fmt: skip


def _flag_rows(flags: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(flags)


def _capacity(found: Any) -> dict[str, Any]:
    return {"blocks": found.blocks, "tokens": found.tokens, "concurrency": round(found.concurrency, 4)}


def _rank_row(rank: Any) -> dict[str, Any]:
    names = ("weights", "activation", "non_torch", "graphs", "adapters", "outside", "kv")
    terms = {name: [getattr(rank, name).low, getattr(rank, name).best, getattr(rank, name).high] for name in names}
    return {"stage": rank.stage, "total": rank.total, "budget": rank.budget} | terms


def _other(made: Plan) -> dict[str, Any] | None:
    other = made.runner_up
    if other is None:
        return None
    return {
        "verdict": other.verdict,
        "flags": _flag_rows(other.flags),
        "requests": round(other.requests, 2),
        "tokens": other.tokens,
    }
