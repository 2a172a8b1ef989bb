"""``abstractcore plan``: what fits, before anything is launched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ..deploy.choose import Wish
    from ..deploy.hardware import Gpu
    from ..deploy.model_card import ModelCard
    from ..deploy.plan import Plan

SCHEMA: Final = "abstractcore.plan/1"
REFUSED: Final = 3
_PASSED = ("context", "concurrency", "adapters", "lora_rank", "tp", "pp", "replicas", "utilization", "max_num_seqs",
           "max_num_batched_tokens", "dtype", "quantization", "kv_cache_dtype", "enforce_eager", "as_is")  # fmt: skip


@click.command()
@click.argument("model")
@click.option(
    "--gpus", help="GPUs such as 4xL4, 2xV100-16GB, cpu, or by hand 2xNAME@47.5GiB/9.0; this machine's when left out."
)
@click.option("--context", type=click.IntRange(1), help="Tokens of the longest request; the model's own when left out.")
@click.option("--concurrency", type=click.IntRange(1), help="Requests of that length at once.")
@click.option("--adapters", type=click.IntRange(0), default=0, help="LoRA adapters held at once.")
@click.option("--lora-rank", type=click.IntRange(1), default=16, show_default=True, help="Largest rank of an adapter.")
@click.option("--vllm-version", help="Release to plan for, such as 0.19.0.")
@click.option("--tp", type=click.IntRange(1), help="Fix the tensor-parallel size.")
@click.option("--pp", type=click.IntRange(1), help="Fix the pipeline-parallel size.")
@click.option("--replicas", type=click.IntRange(1), help="Fix the number of replicas.")
@click.option("--utilization", type=click.FloatRange(0.01, 1.0), help="Fix --gpu-memory-utilization.")
@click.option("--max-num-seqs", type=click.IntRange(1), help="Fix the sequences at once.")
@click.option("--max-num-batched-tokens", type=click.IntRange(1), help="Fix the tokens of a step.")
@click.option("--dtype", type=click.Choice(["auto", "half", "float16", "bfloat16", "float32"]), help="Fix the dtype.")
@click.option("--quantization", type=click.Choice(["fp8"]), help="Quantize the weights at start.")
@click.option(
    "--kv-cache-dtype", type=click.Choice(["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bfloat16"]), help="Of the cache."
)
@click.option("--as-is", is_flag=True, help="Judge these flags with vLLM's defaults for all others; choose nothing.")
@click.option("--enforce-eager/--no-enforce-eager", default=None, help="Without or with CUDA graphs.")
@click.option(
    "--kv-memory",
    type=click.FloatRange(min=0.01),
    metavar="GIB",
    help="Memory of the cache, given instead of measured.",
)
@click.option("--free", type=click.FloatRange(min=0), metavar="GIB", help="What is free on each GPU.")
@click.option(
    "--learn",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take measurements from a start-up log.",
)
@click.option("--command", "as_command", is_flag=True, help="Print the command to launch, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(model: str, gpus: str | None, vllm_version: str | None, kv_memory: float | None, free: float | None,
         learn: Path | None, as_command: bool, as_json: bool, **wished: Any) -> None:  # fmt: skip
    """Says whether MODEL fits on some GPUs, how to launch it, and what vLLM will print or refuse.

    MODEL is a folder, an entry of the Hugging Face cache, or an id on the hub (its weights are not downloaded).
    Exit code 3 means that it does not fit.
    """
    from ..deploy.choose import Wish
    from ..deploy.model_files import find_model
    from ..vllm_facts.gpus import GIB

    card = find_model(model)
    cards, warnings = _cards(gpus, free)
    held = int(kv_memory * GIB) if kv_memory else None
    wish = Wish(kv_cache_memory=held, **{name: wished[name] for name in _PASSED})
    made = _make(card, cards, wish, _version(vllm_version), learn)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(document(made, warnings)), indent=2).decode())
    elif as_command:
        click.echo(made.command() if made.verdict != "REFUSE" else "", nl=made.verdict != "REFUSE")
        _explain_refusal(made)
    else:
        from .plan_page import page

        click.echo("\n".join([*page(made), *(f"warning: {text}" for text in warnings)]))
    if made.verdict == "REFUSE":
        raise click.exceptions.Exit(REFUSED)


def _explain_refusal(made: Plan) -> None:
    for refusal in made.chosen.refusals:
        click.echo(f"error: vLLM refuses: {refusal.phrase or 'an empty AssertionError'}\ntry: {refusal.cure}", err=True)


def _cards(text: str | None, free: float | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    from dataclasses import replace

    from ..deploy.hardware import parse_gpus
    from ..deploy.preflight import probe
    from ..vllm_facts.gpus import GIB

    if text:
        cards, warnings = parse_gpus(text), tuple[str, ...]()
    else:
        machine = probe()
        cards, warnings = machine.gpus, machine.warnings(len(machine.gpus))
    if free is not None:
        cards = tuple(replace(card, free=int(free * GIB)) for card in cards)
    return cards, warnings


def _version(text: str | None) -> tuple[int, int, int] | None:
    from ..errors import ConfigurationError
    from ..vllm_facts import parse_version

    if text is None:
        return None
    found = parse_version(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is no release of vLLM", hint="--vllm-version 0.32.0")
    return found


def _make(
    card: ModelCard, cards: tuple[Gpu, ...], wish: Wish, version: tuple[int, int, int] | None, log: Path | None
) -> Plan:
    from ..deploy import startup_log
    from ..deploy.plan import make_plan
    from ..settings import cache_dir

    if log is not None:
        return _learn(card, cards, wish, version, log)
    made = make_plan(card, cards, wish, version=version)
    path = startup_log.record_path(cache_dir(), card.name, cards[0].name, _release(made))
    known = startup_log.load(path, made.chosen.flags)
    return make_plan(card, cards, wish, version=version, measured=known) if known else made


def _learn(
    card: ModelCard, cards: tuple[Gpu, ...], wish: Wish, version: tuple[int, int, int] | None, log: Path
) -> Plan:
    from math import ceil

    from ..deploy import startup_log
    from ..deploy.plan import make_plan
    from ..settings import cache_dir
    from ..vllm_facts import parse_version

    text = log.read_text(encoding="utf-8", errors="replace")
    found = startup_log.read_log(text)
    wrote = startup_log.version_in(text)
    release = version or (parse_version(wrote) if wrote else None)
    launched = make_plan(card, cards, startup_log.wish_in(text, wish) or wish, version=release)
    flags = launched.chosen.flags
    budget = ceil(min(gpu.total for gpu in cards) * flags.utilization)
    measured = startup_log.as_measured(found, flags, budget)
    path = startup_log.record_path(cache_dir(), card.name, cards[0].name, _release(launched))
    startup_log.save(path, flags, measured)
    click.echo(f"learned from {log}: {', '.join(f'{name} {value:g}' for name, value in found.items())}", err=True)
    return make_plan(card, cards, wish, version=release, measured=measured)


def _release(made: Plan) -> str:
    return ".".join(map(str, made.version))


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
