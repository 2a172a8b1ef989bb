"""A plan as a page for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from ..vllm_facts.gpus import GIB

if TYPE_CHECKING:
    from ..deploy.assess import Assessment
    from ..deploy.memory import Estimate, Rank
    from ..deploy.plan import Plan

_WIDTH: Final = 48
_TERMS: Final = (
    ("weights and tables", "weights"),
    ("activation peak", "activation"),
    ("libraries", "non_torch"),
    ("CUDA graphs", "graphs"),
    ("adapters", "adapters"),
    ("KV cache", "kv"),
    ("beyond the budget", "outside"),
)
_MARKS: Final = (("weights", "W"), ("activation", "a"), ("non_torch", "n"), ("graphs", "g"), ("adapters", "L"))


def page(made: Plan) -> list[str]:
    """The lines of the page."""
    chosen, shape = made.chosen, made.model.shape
    cards = _cards(made)
    lines = [
        f"{made.verdict}  {made.model.name} on {cards}, vLLM {'.'.join(map(str, made.version))}",
        f"       {shape.architecture}, {made.model.size / GIB:.2f} GiB of weights ({made.model.source})",
        "",
    ]
    if chosen.refusals:
        lines += _refusal(made)
    if chosen.ranks:
        lines += [*_bars(chosen), "", *_table(chosen), ""]
    if made.verdict != "REFUSE":
        lines += _launch(made)
    lines += [f"note: {text}" for text in (*chosen.warnings, *made.notes)]
    return [line.rstrip() for line in lines]


def _cards(made: Plan) -> str:
    names = [gpu.name for gpu in made.gpus]
    return ", ".join(f"{names.count(name)}x{name}" for name in dict.fromkeys(names))


def _refusal(made: Plan) -> list[str]:
    lines = []
    for refusal in made.chosen.refusals:
        lines.append(f"vLLM would say: {refusal.phrase or '(an AssertionError without a text)'}")
        lines.append(f"cure:           {refusal.cure}")
    if made.change:
        lines.append(f"least change:   {made.change}")
    if made.chosen.longest:
        lines.append(f"longest context that fits: {made.chosen.longest} tokens")
    return [*lines, ""]


def _bars(chosen: Assessment) -> list[str]:
    lines = []
    for rank in chosen.ranks:
        if not rank.total:
            continue
        name = f"stage {rank.stage}" if len(chosen.ranks) > 1 else "a GPU"
        lines.append(f"{name:<8} [{_bar(rank)}] {rank.total / GIB:.2f} GiB")
    if lines:
        lines.append(
            "         W weights  a activation  n libraries  g graphs  L adapters  K cache  . outside the budget"
        )
    return lines


def _bar(rank: Rank) -> str:
    text = ""
    for name, mark in _MARKS:
        text += mark * round(getattr(rank, name).best / rank.total * _WIDTH)
    text += "K" * round(max(0, rank.kv.best) / rank.total * _WIDTH)
    return text[:_WIDTH].ljust(_WIDTH, ".")


def _table(chosen: Assessment) -> list[str]:
    lines = []
    for rank in chosen.ranks:
        where = f" on each rank of stage {rank.stage}" if len(chosen.ranks) > 1 else " on each rank"
        lines.append(f"{'GiB' + where:<34}{'best':>8}  between")
        lines.append(f"  {'budget':<32}{rank.budget / GIB:>8.2f}")
        for label, name in _TERMS:
            term: Estimate = getattr(rank, name)
            if term.high:
                band = "" if term.is_exact else f"  {term.low / GIB:.2f} and {term.high / GIB:.2f}"
                lines.append(f"  {label:<32}{term.best / GIB:>8.2f}{band}")
    lines.append(f"most goes to: {chosen.binds}")
    return lines


def _launch(made: Plan) -> list[str]:
    chosen, flags = made.chosen, made.chosen.flags
    lines = [f"vLLM will print: {line}" for line in made.log_lines()]
    low, high = chosen.low.tokens, chosen.high.tokens
    if low != high:
        lines.append(f"                 (between {low:,} and {high:,} tokens)")
    if flags.replicas > 1:
        lines.append(
            f"{flags.replicas} replicas: {chosen.requests:.1f} requests of {flags.max_model_len:,} tokens in all"
        )
    lines += ["", made.command(), "", *_containers(made)]
    other = made.runner_up
    if other:
        how = f"{other.flags.replicas} x TP{other.flags.tp}" + (f" PP{other.flags.pp}" if other.flags.pp > 1 else "")
        room = f"{other.requests:.1f} requests of {other.flags.max_model_len:,} tokens"
        lines.append(f"runner-up: {how}, {other.verdict}: {room}")
    return lines


def _containers(made: Plan) -> list[str]:
    from ..deploy.nccl import peer_to_peer

    lines = [
        f"in containers: abstractcore up {shlex.quote(made.model.name)}, with the options above",
        "               --profile private costs 5 µs a request, and shares neither network nor memory with the host",
    ]
    flags = made.chosen.flags
    if flags.tp * flags.pp > 1 and not made.gpus[0].is_cpu:
        lines.append(f"               {peer_to_peer(made, 'auto').reason}")
    return [*lines, ""]
