"""The memory of one rank, term by term: integers where vLLM is deterministic, bands where it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from ..vllm_facts.gpus import GIB
from ..vllm_facts.sizing import SizingFacts
from .hardware import Gpu
from .model_card import ModelCard
from .sizing import experts, lora
from .sizing.kv_layout import Cache, layout
from .sizing.kv_pool import Pool, pool
from .sizing.tensors import stage_bytes, stages


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes: at least, most likely, at most."""

    low: int
    best: int
    high: int

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.low + other.low, self.best + other.best, self.high + other.high)

    @property
    def is_exact(self) -> bool:
        """Whether there is no band."""
        return self.low == self.high


def exact(size: float) -> Estimate:
    """A term without a band."""
    return Estimate(int(size), int(size), int(size))


def gib(low: float, best: float, high: float) -> Estimate:
    """A band given in GiB."""
    return Estimate(int(low * GIB), int(best * GIB), int(high * GIB))


NOTHING = exact(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """One way to launch a server."""

    tp: int = 1
    pp: int = 1
    replicas: int = 1
    utilization: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    dtype: str
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    enforce_eager: bool = False
    lora_slots: int = 0
    lora_rank: int = 16
    kv_cache_memory: int | None = None
    """``--kv-cache-memory-bytes``: given, not measured."""
    block: int | None = None
    prefix_caching: bool = True
    hybrid_cache: bool = True
    """Layers with a window free what they no longer need; else all layers keep all tokens."""

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tp * self.pp


@dataclass(frozen=True, slots=True)
class Measured:
    """Terms that a start-up log of this model, GPU and version gave."""

    weights: int | None = None
    activation: int | None = None
    non_torch: int | None = None
    graphs: int | None = None
    used: int | None = None
    """What of the budget did not go to the cache."""
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0

    def of(self, flags: Flags) -> Measured:
        """What holds for a launch: its peak only with the same limits of a step."""
        same = (flags.max_num_seqs, flags.max_num_batched_tokens) == (self.max_num_seqs, self.max_num_batched_tokens)
        return self if same else replace(self, activation=None, used=None)


@dataclass(frozen=True, slots=True)
class Rank:
    """The memory of the ranks of one pipeline stage."""

    stage: int
    total: int
    budget: int
    weights: Estimate
    activation: Estimate
    non_torch: Estimate
    graphs: Estimate
    adapters: Estimate
    outside: Estimate
    """What the process takes beyond its budget."""
    kv: Estimate
    """What is left for the cache; ``low`` is the least."""

    @property
    def margin(self) -> int:
        """Bytes of the card that are left outside the budget when all has been started."""
        return self.total - self.budget - self.outside.best


def bytes_per_number(dtype: str, kv_cache_dtype: str, card: ModelCard) -> int:
    """Bytes of one number in the KV cache."""
    if kv_cache_dtype.startswith(("fp8", "int8")):
        return 1
    if kv_cache_dtype == "auto" and card.shape.scheme.cache_bits == 8:
        return 1
    named = kv_cache_dtype if kv_cache_dtype != "auto" else dtype
    return 4 if named in {"float32", "float"} else 2


def kv_pool(card: ModelCard, flags: Flags, gpu: Gpu) -> Pool:
    """The block pool of a launch."""
    cache = Cache(
        tp=flags.tp,
        block=flags.block or default_block(card, gpu),
        bytes_per_number=bytes_per_number(flags.dtype, flags.kv_cache_dtype, card),
        dtype=flags.dtype,
        prefix_caching=flags.prefix_caching,
    )
    return pool(layout(card.shape, cache), total_layers=card.shape.layers, pp=flags.pp, hybrid=flags.hybrid_cache)


def default_block(card: ModelCard, gpu: Gpu) -> int:
    """Tokens in a block, as the attention backend of this GPU prefers it."""
    if gpu.is_cpu:
        return 128
    is_wide = card.shape.head_dim >= 256 and card.shape.decoder.startswith("Gemma")
    return 128 if gpu.capability[0] == 10 and (card.shape.is_mla or is_wide) else 16


def in_flight(flags: Flags, facts: SizingFacts) -> int:
    """Tokens that are scheduled and not yet settled."""
    batches = flags.pp + 1 if facts.async_scheduling and (flags.pp == 1 or facts.version >= (0, 32, 0)) else flags.pp
    return batches * flags.max_num_batched_tokens


def weights(card: ModelCard, flags: Flags, stage: int) -> Estimate:
    """Weights and computed tables of a rank."""
    shape = card.shape
    tensors = card.tensors_for(flags.dtype, flags.quantization)
    size = stage_bytes(
        tensors, tp=flags.tp, stage=stage, pp=flags.pp, layers=shape.layers, kv_heads=max(1, shape.kv_heads)
    )
    mine = stages(shape.layers, flags.pp)[stage]
    size += experts.padding(shape, flags.tp, sum(shape.has_experts(layer) for layer in mine))
    if shape.is_mla:  # two of its matrices are kept a second time, multiplied into what decoding needs
        value = int(shape.text.get("v_head_dim") or shape.head_dim)
        both = int(shape.text["qk_nope_head_dim"]) + value
        size += len(mine) * shape.heads // flags.tp * both * int(shape.text["kv_lora_rank"]) * 2 * 4 // 3
    if shape.scheme.method == "bitsandbytes":
        size += int(size * 0.03)
    band = 0.001 if card.from_weights or card.is_known else 0.04
    return Estimate(int(size * (1 - band)), size, int(size * (1 + band)))


def activation(card: ModelCard, flags: Flags, facts: SizingFacts, stage: int) -> Estimate:
    """The peak of the profile run: logits and their sorting on the last stage, else the widest layer."""
    shape, tokens = card.shape, flags.max_num_batched_tokens
    number = 4 if flags.dtype == "float32" else 2
    vocab = ceil(shape.vocab / 64) * 64
    hidden = number * tokens * shape.hidden
    moe = 0
    if shape.experts and not shape.scheme.only_experts:
        width = shape.expert_size // flags.tp
        moe = number * tokens * shape.experts_per_token * (max(2 * width, shape.hidden) + width)
    layer = (
        moe + 4 * hidden if shape.experts else number * tokens * (3 * shape.intermediate // flags.tp + 4 * shape.hidden)
    )
    if shape.scheme.activations and not moe:
        layer += tokens * shape.intermediate // flags.tp
    vision = int(0.12 * GIB) if shape.config.get("vision_config") else 0
    is_last = stage == flags.pp - 1
    sampler = facts.sampler_bytes * flags.max_num_seqs * vocab if is_last else 0
    if flags.pp > 1 and not is_last:
        layer += 2 * hidden
    best = int(max(sampler + hidden + moe, layer) + vision)
    least = best
    if facts.version >= (0, 32, 0) and is_last:  # this runner leaves sorting out of its profile run
        least = int(max(2 * flags.max_num_seqs * vocab + hidden + moe, layer) + vision)
    return Estimate(min(least, int(best * 0.95)), best, int(best * 1.08) + int(0.05 * GIB))


def non_torch(flags: Flags, gpu: Gpu) -> Estimate:
    """What NCCL and libraries take inside the budget."""
    if gpu.is_cpu:
        return NOTHING
    if flags.tp > 1:
        return gib(1.9, 2.1, 2.3) if gpu.link == "nvlink" and gpu.capability >= (9, 0) else gib(0.3, 0.6, 1.1)
    return gib(0.05, 0.07, 0.3) if flags.pp > 1 else gib(0.2, 0.25, 0.32)


def graphs(flags: Flags, gpu: Gpu, card: ModelCard) -> Estimate:
    """Captured CUDA graphs."""
    if flags.enforce_eager or gpu.is_cpu:
        return NOTHING
    many = card.shape.decoder == "GptOssForCausalLM"  # captures 83 sizes instead of 51
    if gpu.total >= 60 * GIB:
        return gib(0.8, 1.6, 2.0) if many else gib(0.5, 1.0, 1.85)
    return gib(0.3, 0.6, 0.8)


def rank(
    card: ModelCard, flags: Flags, gpu: Gpu, facts: SizingFacts, *, stage: int = 0, measured: Measured | None = None
) -> Rank:
    """All terms of a rank of one stage."""
    known = measured.of(flags) if measured else Measured()
    budget = ceil(gpu.total * flags.utilization)
    parts = {
        "weights": weights(card, flags, stage) if known.weights is None else exact(known.weights),
        "activation": activation(card, flags, facts, stage) if known.activation is None else exact(known.activation),
        "non_torch": non_torch(flags, gpu) if known.non_torch is None else exact(known.non_torch),
        "graphs": graphs(flags, gpu, card) if known.graphs is None else exact(known.graphs),
        "adapters": exact(flags.lora_slots * lora.slot_bytes(card.shape, rank=flags.lora_rank, tp=flags.tp)),
    }
    counted = parts["graphs"] if facts.graphs_counted else NOTHING
    needed = parts["weights"] + parts["activation"] + parts["non_torch"] + parts["adapters"] + counted
    outside = _outside(flags, gpu, facts, card) + (NOTHING if facts.graphs_counted else parts["graphs"])
    if flags.kv_cache_memory is not None:
        kv = exact(flags.kv_cache_memory)
    elif known.used is not None:
        kv = exact(budget - known.used)
    else:
        kv = Estimate(budget - needed.high, budget - needed.best, budget - needed.low)
    return Rank(stage, gpu.total, budget, outside=outside, kv=kv, **parts)


def _outside(flags: Flags, gpu: Gpu, facts: SizingFacts, card: ModelCard) -> Estimate:
    if gpu.is_cpu:
        return NOTHING
    context = exact(facts.context)
    if flags.gpus > 1:
        context = exact(facts.context_many) if gpu.link == "nvlink" else exact(1.0 * GIB)
    elif gpu.total < 30 * GIB:
        context = gib(0.3, 0.4, 0.51)
    if card.shape.scheme.method == "mxfp4":  # repacking leaves holes that nothing else fits into
        context += gib(0.5, 1.6, 1.8)
    return context


def ranks(
    card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts, measured: Measured | None = None
) -> tuple[Rank, ...]:
    """One entry a stage, for the smallest GPU that it is given."""
    smallest = min(gpus, key=lambda gpu: gpu.total)
    return tuple(rank(card, flags, smallest, facts, stage=stage, measured=measured) for stage in range(flags.pp))
