"""What vLLM refuses whatever the memory: each rule with vLLM's own words and the change that cures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ..vllm_facts import refusals as words
from ..vllm_facts.sizing import SizingFacts
from .hardware import Gpu
from .memory import Flags
from .model_card import ModelCard
from .sizing.rope import scaling_of


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a launch fails."""

    rule: str
    """``heads``, ``vocabulary``, ``kv heads``, ``length``, ``capability``, ``memory`` ..."""
    phrase: str
    """What vLLM says; empty where it ends without a word."""
    cure: str
    """The change that makes it start."""


Rule = Callable[[ModelCard, Flags, Sequence[Gpu], SizingFacts], Iterator[Refusal]]


def refusals(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> tuple[Refusal, ...]:
    """All rules that a launch breaks, in the order in which vLLM would come upon them."""
    return tuple(found for rule in _RULES for found in rule(card, flags, gpus, facts))


def padded_vocab(card: ModelCard) -> int:
    """Rows of the embedding with vLLM's padding."""
    return ceil(card.shape.vocab / 64) * 64


def _legal_tp(card: ModelCard, below: int) -> int:
    return next((tp for tp in range(below, 0, -1) if card.shape.heads % tp == 0 and padded_vocab(card) % tp == 0), 1)


def _image(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    weakest = min(gpus, key=lambda gpu: gpu.capability)
    if not weakest.is_cpu and weakest.capability < facts.least_capability:
        least = ".".join(map(str, facts.least_capability))
        has = ".".join(map(str, weakest.capability))
        yield Refusal(
            "capability",
            words.NO_KERNEL,
            f"the official image of {_dotted(facts)} needs compute capability {least}, {weakest.name} has {has}: "
            "pin --vllm-version 0.8.5, or use a newer GPU",
        )


def _dotted(facts: SizingFacts) -> str:
    return "vLLM " + ".".join(map(str, facts.version))


def _length(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    longest = derived_length(card, facts)
    if longest is not None and flags.max_model_len > longest:
        phrase = words.TOO_LONG.format(
            asked=flags.max_model_len, key="max_position_embeddings", derived=float(longest)
        )
        yield Refusal("length", phrase, f"--max-model-len {int(longest)}, the most this model was made for")


def derived_length(card: ModelCard, facts: SizingFacts) -> int | None:
    """The longest context that vLLM allows; ``None`` if the model says nothing of one."""
    shape = card.shape
    if shape.max_position is None:
        return None
    longest = float(shape.max_position)
    kind, factor, original = scaling_of(shape)
    if kind == "yarn" and facts.version < (0, 32, 0):
        longest = float(original or longest) * factor
    elif kind not in {"default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "mrope", "proportional"}:
        if "gemma3" not in str(shape.text.get("model_type")):
            longest *= factor
    limit = shape.text.get("model_max_length")
    return int(max(longest, limit) if isinstance(limit, int) else longest)


def _heads(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    heads, tp = card.shape.heads, flags.tp
    if heads and heads % tp:
        phrase = words.HEADS.format(heads=heads, tp=tp)
        yield Refusal("heads", phrase, f"--tensor-parallel-size {_legal_tp(card, tp - 1)}")


def _vocabulary(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    vocab, tp = padded_vocab(card), flags.tp
    if vocab % tp:
        yield Refusal("vocabulary", words.DIVISIBLE.format(number=vocab, tp=tp),
                      f"--tensor-parallel-size {_legal_tp(card, tp - 1)}")  # fmt: skip


def _kv_heads(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    kv, tp = card.shape.kv_heads, flags.tp
    if not kv or card.shape.is_mla or card.shape.heads % tp:
        return
    if (kv > tp and kv % tp) or (kv <= tp and tp % kv):
        legal = next((n for n in range(tp - 1, 0, -1) if not (kv % n if kv > n else n % kv) and not card.shape.heads % n), 1)
        yield Refusal("kv heads", "", f"--tensor-parallel-size {legal}: {kv} key and value heads can't be shared by {tp}")


def _widths(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    shape, tp, scheme = card.shape, flags.tp, card.shape.scheme
    inner = shape.intermediate
    if shape.anatomy and shape.anatomy.attention != "none" and inner % tp and not shape.experts:
        yield Refusal("width", words.DIVISIBLE.format(number=inner, tp=tp), f"--tensor-parallel-size {_legal_tp(card, tp - 1)}")
    if scheme.group <= 0 or scheme.only_experts or scheme.floating or scheme.bits >= 16:
        return
    if shape.experts and scheme.method == "compressed-tensors" and shape.expert_size // tp % scheme.group:
        phrase = words.EXPERT_GROUPS.format(width=shape.expert_size // tp, group=scheme.group)
        yield Refusal("quantization groups", phrase, "a smaller --tensor-parallel-size")
    elif not shape.experts and (inner // tp) % scheme.group and tp > 1:
        yield Refusal("quantization groups", words.UNALIGNED, "a smaller --tensor-parallel-size")


def _world(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    if gpus[0].is_cpu:
        return
    if flags.gpus > len(gpus):
        phrase = words.WORLD.format(world=flags.gpus, gpus=len(gpus))
        yield Refusal("world size", phrase, f"use at most {len(gpus)} ranks, or give more GPUs")
    elif flags.gpus * flags.replicas > len(gpus):
        yield Refusal("world size", words.DATA_PARALLEL.format(rank=len(gpus) // flags.gpus),
                      f"at most {len(gpus) // flags.gpus} replicas")  # fmt: skip
    if flags.pp > card.shape.layers:
        yield Refusal("pipeline", f"pipeline stages ({flags.pp}) exceed the layers", f"--pipeline-parallel-size 1")


def _dtype(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    weakest = min(gpus, key=lambda gpu: gpu.capability)
    if flags.dtype == "bfloat16" and weakest.capability < (8, 0):
        yield Refusal("dtype", words.BFLOAT, "--dtype half")


def _quantization(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    scheme = card.shape.scheme
    weakest = min(gpus, key=lambda gpu: gpu.capability)
    if scheme.method is None or weakest.is_cpu:
        return
    if facts.version >= (0, 30, 0):
        if scheme.method == "gptq" and scheme.order:
            yield Refusal("quantization", words.ACT_ORDER, "a checkpoint without desc_act")
        if scheme.method == "compressed-tensors" and scheme.order:
            yield Refusal("quantization", words.COMPRESSED_ORDER, "a checkpoint with static activation ordering")
        if scheme.method == "bitsandbytes":
            phrase = words.UNKNOWN_METHOD.format(method="bitsandbytes")
            yield Refusal("quantization", phrase, "an AWQ, GPTQ or FP8 checkpoint of the model")
    least = least_capability(card)
    if weakest.number < least:
        phrase = words.QUANTIZATION.format(method=scheme.method, least=least, number=weakest.number)
        yield Refusal("quantization", phrase, "the unquantized model, or one quantized for this GPU")


def least_capability(card: ModelCard) -> int:
    """The compute capability that a model's quantization needs at least."""
    return words.LEAST_CAPABILITY.get(card.shape.scheme.method or "", 0)


def _cache_dtype(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    weakest = min(gpus, key=lambda gpu: gpu.capability)
    asks = flags.kv_cache_dtype.startswith("fp8") or (
        flags.kv_cache_dtype == "auto" and card.shape.scheme.cache_bits == 8
    )
    if asks and weakest.number < 80:
        yield Refusal("kv cache dtype", words.FP8_CACHE, "--kv-cache-dtype auto")


def _lora(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> Iterator[Refusal]:
    if flags.lora_slots and flags.lora_rank not in words.LORA_RANKS:
        allowed = ", ".join(map(str, words.LORA_RANKS))
        yield Refusal("lora rank", f"max_lora_rank ({flags.lora_rank}) must be one of ({allowed}).",
                      f"--max-lora-rank {next((r for r in words.LORA_RANKS if r >= flags.lora_rank), 512)}")  # fmt: skip


_RULES: tuple[Rule, ...] = (
    _image, _length, _quantization, _dtype, _heads, _world, _vocabulary, _kv_heads, _widths, _cache_dtype, _lora,
)  # fmt: skip
