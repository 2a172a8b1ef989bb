"""Chooses how to launch: ranks, replicas, and the limits that make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..vllm_facts.gpus import GIB
from ..vllm_facts.sizing import SizingFacts
from .assess import Assessment, assess
from .hardware import Gpu
from .memory import Flags, Measured
from .model_card import ModelCard
from .refusals import derived_length

_NO_HALF = {"gemma2", "gemma3", "gemma3_text", "glm4"}
"""Model types that vLLM does not run in float16, since their numbers overflow."""
_SEQUENCES = 8
_LEAST_CONTEXT = 256
_WHOLE_PROMPTS = 32768
"""Up to this context the old engine takes whole prompts in one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asks for; ``None`` leaves the choice to the plan."""

    context: int | None = None
    concurrency: int | None = None
    adapters: int = 0
    lora_rank: int = 16
    tp: int | None = None
    pp: int | None = None
    replicas: int | None = None
    utilization: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    enforce_eager: bool | None = None
    kv_cache_memory: int | None = None
    as_is: bool = False
    """Judge these flags with vLLM's own defaults for all others; choose nothing."""


def dtype_for(card: ModelCard, gpus: Sequence[Gpu], asked: str | None) -> str:
    """What vLLM runs the model in: ``--dtype``, else the checkpoint's, turned into what the GPU can."""
    if asked and asked != "auto":
        return {"half": "float16", "float": "float32"}.get(asked, asked)
    weakest = min(gpu.capability for gpu in gpus)
    kind = str(card.shape.config.get("model_type"))
    wanted = card.shape.dtype
    if wanted == "float16" or (wanted == "float32" and weakest < (8, 0)):
        wanted = "float16"
    elif wanted == "float32":
        wanted = "bfloat16"
    if wanted == "bfloat16" and weakest < (8, 0):
        wanted = "float16"
    if wanted == "float16" and (kind in _NO_HALF or card.shape.text.get("model_type") in _NO_HALF):
        return "bfloat16" if weakest >= (8, 0) else "float32"
    return wanted


def batch_defaults(gpu: Gpu, ranks: int, length: int) -> tuple[int, int]:
    """Tokens in a step and sequences that the API server takes by default."""
    if gpu.is_cpu:
        tokens, sequences = 2048 * ranks, 128 * ranks
    elif gpu.total >= 160 * GIB:
        tokens, sequences = 16384, 1024
    elif gpu.total >= 70 * GIB and "a100" not in f"{gpu.full_name} {gpu.name}".lower():
        tokens, sequences = 8192, 1024
    else:
        tokens, sequences = 2048, 256
    tokens = min(tokens, sequences * length)
    return tokens, min(sequences, tokens)


def choose(
    card: ModelCard, gpus: Sequence[Gpu], wish: Wish, facts: SizingFacts, measured: Measured | None = None
) -> tuple[Assessment, ...]:
    """All launches that were considered, the best first."""
    search = _Search(card, gpus, wish, facts, measured, derived_length(card, facts))
    found = [search.tuned(tp, pp) for tp, pp in search.divisions()]
    return tuple(sorted(found, key=lambda entry: _rank(entry, wish), reverse=True))


@dataclass(frozen=True, slots=True)
class _Search:
    card: ModelCard
    gpus: Sequence[Gpu]
    wish: Wish
    facts: SizingFacts
    measured: Measured | None
    allowed: int | None
    """The longest context that the model was made for."""

    @property
    def count(self) -> int:
        return 1 if self.gpus[0].is_cpu else len(self.gpus)

    def divisions(self) -> Iterator[tuple[int, int]]:
        """Tensor- and pipeline-parallel sizes to consider; a pipeline only where tensors can't be divided so far."""
        if self.wish.tp is not None or self.wish.pp is not None or self.wish.as_is:
            yield self.wish.tp or 1, self.wish.pp or 1
            return
        legal = [tp for tp in range(1, self.count + 1) if _is_legal(self.card, tp)] or [1]
        yield from ((tp, 1) for tp in legal if tp & (tp - 1) == 0 or tp == self.count)
        widest = max(legal)
        for pp in range(2, min(self.count // widest, self.card.shape.layers) + 1):
            yield widest, pp

    def tuned(self, tp: int, pp: int) -> Assessment:
        """A launch with these ranks, and the other flags as they suit it."""
        if self.wish.as_is:
            return self.assess(self.flags(tp, pp))
        judged = self.judged(self.flags(tp, pp))
        if judged.verdict == "TIGHT" and self.wish.utilization is None:
            for lower in (0.90, 0.88, 0.85, 0.80):
                other = self.judged(replace(self.flags(tp, pp), utilization=lower))
                if lower < judged.flags.utilization and other.verdict == "FIT":
                    judged = other
                    break
        return self.with_sequences(judged)

    def judged(self, flags: Flags) -> Assessment:
        """A launch, with a shorter context if the user left that to the plan."""
        found = self.assess(flags)
        if self.wish.context is None and found.refusals and found.refusals[0].rule == "context":
            for longest in (found.surely, found.longest):
                length = longest // _LEAST_CONTEXT * _LEAST_CONTEXT
                if length >= _LEAST_CONTEXT:
                    return self.assess(replace(flags, max_model_len=length))
        return found

    def assess(self, flags: Flags) -> Assessment:
        return assess(self.card, flags, self.gpus, self.facts, self.measured, longest_allowed=self.allowed)

    def with_sequences(self, judged: Assessment) -> Assessment:
        """No more sequences at once than about twice what the cache holds: each costs memory when sampling."""
        flags = judged.flags
        if self.wish.max_num_seqs is not None or judged.verdict == "REFUSE" or not judged.best.concurrency:
            return judged
        held = ceil(2 * judged.best.concurrency / _SEQUENCES) * _SEQUENCES
        wanted = max(_SEQUENCES, held, ceil((self.wish.concurrency or 1) / flags.replicas))
        if wanted >= flags.max_num_seqs:
            return judged
        other = self.assess(replace(flags, max_num_seqs=wanted))
        return judged if other.verdict == "REFUSE" else other

    def flags(self, tp: int, pp: int) -> Flags:
        """The flags of a launch before anything is tuned."""
        wish, gpu = self.wish, self.gpus[0]
        length = wish.context or self.allowed or 2048
        tokens, sequences = batch_defaults(gpu, tp * pp, length)
        old = self.facts.old_engine and min(card.capability for card in self.gpus) < (8, 0)
        if old and length <= _WHOLE_PROMPTS:
            tokens = max(tokens, length)
        tokens = wish.max_num_batched_tokens or tokens
        fixed = wish.tp is not None or wish.pp is not None or wish.as_is
        given = wish.kv_cache_memory
        return Flags(
            tp=tp,
            pp=pp,
            replicas=wish.replicas or (1 if fixed else max(1, self.count // (tp * pp))),
            utilization=wish.utilization if wish.utilization is not None else self.share(),
            max_model_len=length,
            max_num_seqs=wish.max_num_seqs or min(sequences, tokens),
            max_num_batched_tokens=tokens,
            dtype=dtype_for(self.card, self.gpus, wish.dtype),
            quantization=wish.quantization,
            kv_cache_dtype=wish.kv_cache_dtype or "auto",
            enforce_eager=old if wish.enforce_eager is None else wish.enforce_eager,
            lora_slots=wish.adapters,
            lora_rank=wish.lora_rank,
            kv_cache_memory=given if given or not gpu.is_cpu else 4 * GIB,
        )

    def share(self) -> float:
        """The release's default share of a card, or less if less is free."""
        free = [gpu.free / gpu.total for gpu in self.gpus if gpu.free is not None and gpu.total]
        if free and min(free) < self.facts.utilization and not self.wish.as_is:
            return max(0.1, int((min(free) - 0.02) * 100) / 100)
        return self.facts.utilization


def _is_legal(card: ModelCard, tp: int) -> bool:
    shape = card.shape
    kv, vocab = shape.kv_heads, ceil(shape.vocab / 64) * 64
    if (shape.heads and shape.heads % tp) or vocab % tp:
        return False
    return shape.is_mla or not kv or (kv % tp == 0 if kv > tp else tp % kv == 0)


def _rank(judged: Assessment, wish: Wish) -> tuple[float, ...]:
    """Order of preference: it starts, it holds what is asked for, its context is long, few ranks, much room."""
    starts = {"FIT": 2, "TIGHT": 1, "REFUSE": 0}[judged.verdict]
    holds = judged.requests >= (wish.concurrency or 1)
    room = 0.0 if holds else judged.requests
    length = judged.flags.max_model_len if starts else judged.longest
    return (
        float(starts > 0),
        float(holds),
        float(starts),
        float(length),
        room,
        -float(judged.flags.gpus),
        judged.tokens,
    )
