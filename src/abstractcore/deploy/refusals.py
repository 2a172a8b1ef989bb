"""What vLLM refuses whatever the memory: each rule with vLLM's own words and the change that cures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ..vllm_facts import refusals as words
from ..vllm_facts.anatomy import SINCE
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


@dataclass(frozen=True, slots=True)
class Launch:
    """What the rules look at."""

    card: ModelCard
    flags: Flags
    gpus: Sequence[Gpu]
    facts: SizingFacts

    @property
    def weakest(self) -> Gpu:
        """The card with the lowest compute capability."""
        return min(self.gpus, key=lambda gpu: gpu.capability)


Rule = Callable[[Launch], Iterator[Refusal]]


def refusals(card: ModelCard, flags: Flags, gpus: Sequence[Gpu], facts: SizingFacts) -> tuple[Refusal, ...]:
    """All rules that a launch breaks, in the order in which vLLM would come upon them."""
    launch = Launch(card, flags, gpus, facts)
    return tuple(found for rule in _RULES for found in rule(launch))


def padded_vocab(card: ModelCard) -> int:
    """Rows of the embedding with vLLM's padding."""
    return ceil(card.shape.vocab / 64) * 64


def _legal_tp(card: ModelCard, below: int) -> int:
    return next((tp for tp in range(below, 0, -1) if card.shape.heads % tp == 0 and padded_vocab(card) % tp == 0), 1)


def _image(launch: Launch) -> Iterator[Refusal]:
    weakest = min(launch.gpus, key=lambda gpu: gpu.capability)
    if not weakest.is_cpu and weakest.capability < launch.facts.least_capability:
        least = ".".join(map(str, launch.facts.least_capability))
        has = ".".join(map(str, weakest.capability))
        yield Refusal(
            "capability",
            words.NO_KERNEL,
            f"the image of {_dotted(launch.facts)} needs compute capability {least}, {weakest.name} has {has}: "
            "pin --vllm-version 0.8.5, or use a newer GPU",
        )


def _dotted(facts: SizingFacts) -> str:
    return "vLLM " + ".".join(map(str, facts.version))


def _release(launch: Launch) -> Iterator[Refusal]:
    first = SINCE.get(launch.card.shape.architecture)
    if first and launch.facts.version < first:
        phrase = words.ARCHITECTURE.format(name=launch.card.shape.architecture)
        yield Refusal("architecture", phrase, f"vLLM {'.'.join(map(str, first))} or newer, and a GPU that it runs on")


def _length(launch: Launch) -> Iterator[Refusal]:
    longest = derived_length(launch.card, launch.facts)
    if longest is not None and launch.flags.max_model_len > longest:
        phrase = words.TOO_LONG.format(
            asked=launch.flags.max_model_len, key="max_position_embeddings", derived=float(longest)
        )
        yield Refusal("length", phrase, f"--max-model-len {int(longest)}, the most this model was made for")


_LASTING = {"default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "mrope", "proportional"}
"""Kinds of scaling after which the configuration already names the longer context."""


def derived_length(card: ModelCard, facts: SizingFacts) -> int | None:
    """The longest context that vLLM allows; ``None`` if the model says nothing of one."""
    shape = card.shape
    if shape.max_position is None:
        return None
    longest = float(shape.max_position)
    kind, factor, original = scaling_of(shape)
    if kind == "yarn" and facts.version < (0, 32, 0):
        longest = float(original or longest) * factor
    elif kind not in _LASTING and "gemma3" not in str(shape.text.get("model_type")):
        longest *= factor
    limit = shape.text.get("model_max_length")
    return int(max(longest, limit) if isinstance(limit, int) else longest)


def _heads(launch: Launch) -> Iterator[Refusal]:
    heads, tp = launch.card.shape.heads, launch.flags.tp
    if heads and heads % tp:
        phrase = words.HEADS.format(heads=heads, tp=tp)
        yield Refusal("heads", phrase, f"--tensor-parallel-size {_legal_tp(launch.card, tp - 1)}")


def _vocabulary(launch: Launch) -> Iterator[Refusal]:
    vocab, tp = padded_vocab(launch.card), launch.flags.tp
    if vocab % tp:
        yield Refusal("vocabulary", words.DIVISIBLE.format(number=vocab, tp=tp),
                      f"--tensor-parallel-size {_legal_tp(launch.card, tp - 1)}")  # fmt: skip


def _kv_heads(launch: Launch) -> Iterator[Refusal]:
    kv, tp = launch.card.shape.kv_heads, launch.flags.tp
    if not kv or launch.card.shape.is_mla or launch.card.shape.heads % tp:
        return
    if (kv > tp and kv % tp) or (kv <= tp and tp % kv):
        legal = next(
            (n for n in range(tp - 1, 0, -1) if not (kv % n if kv > n else n % kv) and not launch.card.shape.heads % n),
            1,
        )
        yield Refusal(
            "kv heads", "", f"--tensor-parallel-size {legal}: {kv} key and value heads can't be shared by {tp}"
        )


def _widths(launch: Launch) -> Iterator[Refusal]:
    shape, tp, scheme = launch.card.shape, launch.flags.tp, launch.card.shape.scheme
    inner = shape.intermediate
    if shape.anatomy and inner % tp and not shape.experts:
        yield Refusal(
            "width",
            words.DIVISIBLE.format(number=inner, tp=tp),
            f"--tensor-parallel-size {_legal_tp(launch.card, tp - 1)}",
        )
    if scheme.group <= 0 or scheme.only_experts or scheme.floating or scheme.bits >= 16:
        return
    if shape.experts and scheme.method == "compressed-tensors" and shape.expert_size // tp % scheme.group:
        phrase = words.EXPERT_GROUPS.format(width=shape.expert_size // tp, group=scheme.group)
        yield Refusal("quantization groups", phrase, "a smaller --tensor-parallel-size")
    elif not shape.experts and (inner // tp) % scheme.group and tp > 1:
        yield Refusal("quantization groups", words.UNALIGNED, "a smaller --tensor-parallel-size")


def _world(launch: Launch) -> Iterator[Refusal]:
    if launch.gpus[0].is_cpu:
        return
    if launch.flags.gpus > len(launch.gpus):
        phrase = words.WORLD.format(world=launch.flags.gpus, gpus=len(launch.gpus))
        yield Refusal("world size", phrase, f"use at most {len(launch.gpus)} ranks, or give more GPUs")
    elif launch.flags.gpus * launch.flags.replicas > len(launch.gpus):
        yield Refusal("world size", words.DATA_PARALLEL.format(rank=len(launch.gpus) // launch.flags.gpus),
                      f"at most {len(launch.gpus) // launch.flags.gpus} replicas")  # fmt: skip
    if launch.flags.pp > launch.card.shape.layers:
        yield Refusal(
            "pipeline", f"pipeline stages ({launch.flags.pp}) exceed the layers", "--pipeline-parallel-size 1"
        )


def _dtype(launch: Launch) -> Iterator[Refusal]:
    weakest = min(launch.gpus, key=lambda gpu: gpu.capability)
    if launch.flags.dtype == "bfloat16" and weakest.capability < (8, 0):
        yield Refusal("dtype", words.BFLOAT, "--dtype half")


def _quantization(launch: Launch) -> Iterator[Refusal]:
    scheme = launch.card.shape.scheme
    weakest = min(launch.gpus, key=lambda gpu: gpu.capability)
    if scheme.method is None or weakest.is_cpu:
        return
    if launch.facts.version >= (0, 30, 0):
        if scheme.method == "gptq" and scheme.order:
            yield Refusal("quantization", words.ACT_ORDER, "a checkpoint without desc_act")
        if scheme.method == "compressed-tensors" and scheme.order:
            yield Refusal("quantization", words.COMPRESSED_ORDER, "a checkpoint with static activation ordering")
        if scheme.method == "bitsandbytes":
            phrase = words.UNKNOWN_METHOD.format(method="bitsandbytes")
            yield Refusal("quantization", phrase, "an AWQ, GPTQ or FP8 checkpoint of the model")
    least = least_capability(launch.card)
    if weakest.number < least:
        phrase = _too_old(launch.card, least, weakest.number)
        yield Refusal("quantization", phrase, "the unquantized model, or one quantized for this GPU")


def _too_old(card: ModelCard, least: int, number: int) -> str:
    scheme = card.shape.scheme
    if scheme.method == "compressed-tensors":
        return words.SCHEME.format(least=least, number=number)
    if scheme.method == "gptq":
        kind = {4: "uint4b8", 8: "uint8b128"}.get(scheme.bits, f"{scheme.bits}")
        return words.MARLIN.format(kind=kind, group=scheme.group or -1, number=number)
    return words.QUANTIZATION.format(
        method=words.METHOD_NAMES.get(scheme.method or "", scheme.method), least=least, number=number
    )


def least_capability(card: ModelCard) -> int:
    """The compute capability that a model's quantization needs at least."""
    return words.LEAST_CAPABILITY.get(card.shape.scheme.method or "", 0)


def _cache_dtype(launch: Launch) -> Iterator[Refusal]:
    weakest = min(launch.gpus, key=lambda gpu: gpu.capability)
    asks = launch.flags.kv_cache_dtype.startswith("fp8") or (
        launch.flags.kv_cache_dtype == "auto" and launch.card.shape.scheme.cache_bits == 8
    )
    if asks and weakest.number < 89:
        phrase = words.FP8_CACHE.format(
            device=weakest.full_name or weakest.name,
            capability=".".join(map(str, weakest.capability)),
            dtype=launch.flags.dtype,
        )
        yield Refusal("kv cache dtype", phrase, "--kv-cache-dtype auto")


def _lora(launch: Launch) -> Iterator[Refusal]:
    if launch.flags.lora_slots and launch.flags.lora_rank not in words.LORA_RANKS:
        larger = next((rank for rank in words.LORA_RANKS if rank >= launch.flags.lora_rank), 512)
        yield Refusal("lora rank", words.LORA_RANK,
                      f"--max-lora-rank {larger}")  # fmt: skip


_RULES: tuple[Rule, ...] = (
    _image, _release, _length, _quantization, _dtype, _heads, _world, _vocabulary, _kv_heads, _widths, _cache_dtype,
    _lora,
)  # fmt: skip
