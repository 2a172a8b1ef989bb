"""Judges one way to launch a server: does it fit, what binds, and what the log will say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from ..vllm_facts import refusals as words
from ..vllm_facts.gpus import GIB
from ..vllm_facts.sizing import SizingFacts
from .hardware import Gpu
from .memory import Flags, Measured, Rank, in_flight, kv_pool, ranks
from .model_card import ModelCard
from .refusals import Refusal, refusals
from .sizing.kv_pool import Pool

Verdict = Literal["FIT", "TIGHT", "REFUSE"]
_SPARE = int(0.5 * GIB)
"""What should be left of a card beyond everything that is accounted for."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The KV cache in the log's terms."""

    blocks: int
    tokens: int
    concurrency: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """What becomes of a launch."""

    flags: Flags
    verdict: Verdict
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...]
    binds: str
    """The term that decides how much fits."""
    ranks: tuple[Rank, ...] = ()
    pool: Pool | None = None
    low: Capacity = Capacity(0, 0, 0.0)
    best: Capacity = Capacity(0, 0, 0.0)
    high: Capacity = Capacity(0, 0, 0.0)
    longest: int = 0
    """The longest request that fits, at most what the model was made for."""
    surely: int = 0
    """The same if the estimates are off by their whole band."""

    @property
    def requests(self) -> float:
        """Requests of full length at once, over all replicas."""
        return self.best.concurrency * self.flags.replicas

    @property
    def tokens(self) -> int:
        """Tokens in the caches of all replicas."""
        return self.best.tokens * self.flags.replicas

    def log_lines(self, facts: SizingFacts, device: str = "GPU") -> tuple[str, ...]:
        """What vLLM will print."""
        if self.verdict == "REFUSE":
            return tuple(refusal.phrase for refusal in self.refusals if refusal.phrase)
        size = f"{device} KV cache size: {self.best.tokens:,} tokens"
        many = f"Maximum concurrency for {self.flags.max_model_len:,} tokens per request: {self.best.concurrency:.2f}x"
        return (f"{size}, {many}",) if facts.counts_requests else (size, many)


def assess(
    card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts, measured: Measured | None = None,
    *, longest_allowed: int | None = None,
) -> Assessment:  # fmt: skip
    """Judges a launch.

    Args:
        card: The model.
        flags: The launch.
        gpus: The machine's cards.
        facts: The release of vLLM.
        measured: Terms from an earlier start, in place of estimates.
        longest_allowed: The longest context that the model was made for.
    """
    broken = refusals(card, flags, gpus, facts)
    if broken:
        return Assessment(flags, "REFUSE", broken, (), broken[0].rule)
    mine = ranks(card, flags, gpus[: flags.gpus] or gpus, facts, measured)
    pool = kv_pool(card, flags, gpus[0])
    moving = in_flight(flags, facts)
    cases = [[getattr(rank.kv, case) for rank in mine] for case in ("low", "best", "high")]
    low, best, high = (_capacity(pool, memory, flags, facts, moving) for memory in cases)
    limit = longest_allowed or flags.max_model_len
    surely, longest = (pool.longest(memory, limit, moving) if pool.groups else limit for memory in cases[:2])
    found = [*_free(gpus[: flags.gpus], flags), *_memory(mine, pool, flags, moving, longest)]
    tight = [] if found else [*_tight(mine, pool, flags, facts, moving), *_known_trouble(card, gpus)]
    verdict: Verdict = "REFUSE" if found else "TIGHT" if tight else "FIT"
    return Assessment(
        flags, verdict, tuple(found), tuple(tight), _binds(mine), mine, pool, low, best, high, longest, surely
    )


def _capacity(pool: Pool, memory: Sequence[int], flags: Flags, facts: SizingFacts, moving: int) -> Capacity:
    blocks = pool.blocks([max(0, size) for size in memory])
    length = flags.max_model_len
    return Capacity(
        blocks, pool.tokens(blocks, length, moving, facts.tokens_of), pool.concurrency(blocks, length, moving)
    )


def _free(gpus: Sequence[Gpu], flags: Flags) -> list[Refusal]:
    for number, gpu in enumerate(gpus):
        wanted = ceil(gpu.total * flags.utilization)
        if gpu.free is not None and not gpu.is_cpu and gpu.free < wanted:
            phrase = words.FREE.format(
                device=f"cuda:{number}", free=_gib(gpu.free), total=_gib(gpu.total), utilization=flags.utilization,
                wanted=_gib(wanted),
            )  # fmt: skip
            share = max(0.0, int(gpu.free / gpu.total * 100) / 100)
            return [
                Refusal(
                    "free memory", phrase, f"stop what holds {gpu.name} {number}, or --gpu-memory-utilization {share}"
                )
            ]
    return []


def _gib(size: float) -> str:
    return str(round(size / GIB, 2))


def _memory(mine: Sequence[Rank], pool: Pool, flags: Flags, moving: int, longest: int) -> list[Refusal]:
    for rank in mine:
        if rank.total and rank.weights.best > rank.total:
            more = f"the weights take {_gib(rank.weights.best)} GiB of {_gib(rank.total)} GiB a GPU: more ranks"
            return [Refusal("weights", words.OUT_OF_MEMORY, f"{more}, or a quantized checkpoint")]
    if not pool.groups:
        return []
    if min(rank.kv.best for rank in mine) <= 0:
        return [
            Refusal(
                "memory", words.NO_MEMORY, "more ranks, a higher --gpu-memory-utilization, or a quantized checkpoint"
            )
        ]
    for rank in mine:
        available = rank.kv.best - pool.bytes_per_block(rank.stage)
        if available <= 0:
            return [Refusal("memory", words.NO_MEMORY, "more ranks, or a quantized checkpoint")]
        needed = pool.needed(flags.max_model_len, moving, rank.stage)
        if needed > available:
            said = words.ONE_REQUEST.format(length=flags.max_model_len, needed=_gib(needed), available=_gib(available))
            phrase = f"{said} {words.LONGEST.format(longest=longest)}" if longest else said
            cure = f"--max-model-len {longest}" if longest else "more ranks, or a quantized checkpoint"
            return [Refusal("context", phrase, cure)]
    return []


def _tight(mine: Sequence[Rank], pool: Pool, flags: Flags, facts: SizingFacts, moving: int) -> list[str]:
    found = []
    for rank in mine:
        if not rank.total:
            continue
        if pool.groups and pool.needed(flags.max_model_len, moving, rank.stage) > rank.kv.low - pool.bytes_per_block(
            rank.stage
        ):
            found.append(f"one request of {flags.max_model_len} tokens fits only if the estimates hold")
        share = 0.5 if facts.sampler_bytes > 20 else 0.25
        wanted = min(_SPARE, rank.total // 32) + int(share * rank.activation.best)
        if flags.kv_cache_memory is None and rank.margin < wanted:
            phrase = words.SAMPLER.format(seqs=flags.max_num_seqs)
            found.append(
                f"{max(0, rank.margin) / GIB:.1f} GiB are left outside the budget, start-up wants {wanted / GIB:.1f}: "
                f"it may end with {phrase!r}; lower --gpu-memory-utilization or --max-num-seqs"
            )
        if found:
            break
    return found


def _known_trouble(card: ModelCard, gpus: Sequence[Gpu]) -> list[str]:
    if card.shape.experts and min(gpu.capability for gpu in gpus) < (7, 5):
        return ["mixtures of experts were seen to fail in Triton on cards like this (vLLM issue 17666)"]
    return []


def _binds(mine: Sequence[Rank]) -> str:
    rank = min(mine, key=lambda entry: entry.kv.best)
    terms = {"weights": rank.weights.best, "activation peak": rank.activation.best, "CUDA graphs": rank.graphs.best,
             "adapters": rank.adapters.best, "KV cache": rank.kv.best}  # fmt: skip
    return max(terms, key=lambda name: terms[name])
