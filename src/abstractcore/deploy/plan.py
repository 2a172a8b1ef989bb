"""The plan: what to launch for a model on these GPUs, whether it fits, and why. Pure: nothing is asked or started."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import ConfigurationError
from ..vllm_facts.gpus import GIB
from ..vllm_facts.sizing import NEWEST, SizingFacts, sizing_for
from ..vllm_facts.versions import Match, Version
from .assess import Assessment
from .choose import Wish, choose
from .hardware import Gpu
from .memory import Measured
from .model_card import ModelCard
from .refusals import derived_length

_OLD_CARD = (7, 5)
"""Below this compute capability only an old, pinned image runs."""
_PINNED: Version = (0, 8, 5)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to launch."""

    model: ModelCard
    gpus: tuple[Gpu, ...]
    facts: SizingFacts
    version: Version
    match: Match
    """How well the release is known: ``exact``, ``between``, ``newer`` or ``older``; the last two are extrapolated."""
    chosen: Assessment
    runner_up: Assessment | None
    change: str | None
    """For REFUSE: the smallest change that makes it fit."""
    notes: tuple[str, ...]
    measured: bool = False

    @property
    def verdict(self) -> str:
        """``FIT``, ``TIGHT`` or ``REFUSE``."""
        return self.chosen.verdict

    @property
    def env(self) -> dict[str, str]:
        """Environment variables of the server."""
        found = {"VLLM_USE_V1": "0"} if self.facts.old_engine and _oldest(self.gpus) < (8, 0) else {}
        flags = self.chosen.flags
        if self._cache_by_environment and flags.kv_cache_memory:
            found["VLLM_CPU_KVCACHE_SPACE"] = str(flags.kv_cache_memory // GIB)
        if self.gpus[0].is_cpu and flags.tp * flags.pp > 1:
            # Each rank wants a NUMA node of its own otherwise: "Not enough allowed NUMA nodes".
            found["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        if flags.lora_slots:
            found["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        return found

    @property
    def _cache_by_environment(self) -> bool:
        """All releases take the size of a CPU's cache from the environment, but only in whole GiB."""
        size = self.chosen.flags.kv_cache_memory
        return self.gpus[0].is_cpu and size is not None and size % GIB == 0

    def arguments(self) -> tuple[str, ...]:
        """The arguments of ``vllm serve`` after the model."""
        flags = self.chosen.flags
        found = ["--dtype", flags.dtype, "--max-model-len", str(flags.max_model_len)]
        found += ["--max-num-seqs", str(flags.max_num_seqs)]
        found += ["--max-num-batched-tokens", str(flags.max_num_batched_tokens)]
        if not self.gpus[0].is_cpu:
            found += ["--gpu-memory-utilization", f"{flags.utilization:g}"]
        for name, value in (("tensor", flags.tp), ("pipeline", flags.pp), ("data", flags.replicas)):
            if value > 1:
                found += [f"--{name}-parallel-size", str(value)]
        if flags.quantization:
            found += ["--quantization", flags.quantization]
        if flags.kv_cache_dtype != "auto":
            found += ["--kv-cache-dtype", flags.kv_cache_dtype]
        if flags.kv_cache_memory is not None and not self._cache_by_environment:
            found += ["--kv-cache-memory-bytes", str(flags.kv_cache_memory)]
        if flags.enforce_eager:
            found.append("--enforce-eager")
        if flags.lora_slots:
            found += ["--enable-lora", "--max-loras", str(flags.lora_slots), "--max-lora-rank", str(flags.lora_rank)]
        return tuple(found)

    def command(self) -> str:
        """The line that launches the server."""
        words = ["vllm", "serve", self.model.name, *self.arguments()]
        return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.env.items()), shlex.join(words)])

    def log_lines(self) -> tuple[str, ...]:
        """What vLLM will print of its cache, or its words when it refuses."""
        return self.chosen.log_lines(self.facts, "CPU" if self.gpus[0].is_cpu else "GPU")


def _oldest(gpus: Sequence[Gpu]) -> tuple[int, int]:
    return min(gpu.capability for gpu in gpus)


def make_plan(
    card: ModelCard,
    gpus: Sequence[Gpu],
    wish: Wish | None = None,
    *,
    version: Version | None = None,
    measured: Measured | None = None,
) -> Plan:
    """Plans a launch.

    Args:
        card: The model.
        gpus: The machine's cards.
        wish: What is asked for.
        version: The release of vLLM; by default the newest one known, and a pinned old one for old cards.
        measured: Terms from an earlier start-up log.

    Raises:
        ConfigurationError: There are no GPUs, or the model can't be planned at all.
    """
    if not gpus:
        raise ConfigurationError(
            "there are no GPUs to plan for", why="no NVIDIA driver was found here", hint="name them: --gpus 4xL4"
        )
    wish = wish or Wish()
    chosen_version = version or (_PINNED if _oldest(gpus) < _OLD_CARD else NEWEST.version)
    facts, match = sizing_for(chosen_version)
    _check_architecture(card)
    considered = choose(card, gpus, wish, facts, measured)
    chosen = considered[0]
    others = [entry for entry in considered[1:] if entry.verdict != "REFUSE"]
    change = _smallest_change(card, gpus, wish, facts, chosen) if chosen.verdict == "REFUSE" else None
    return Plan(
        card, tuple(gpus), facts, chosen_version, match, chosen, others[0] if others else None, change,
        _notes(card, gpus, facts, match, chosen), measured is not None,
    )  # fmt: skip


def _check_architecture(card: ModelCard) -> None:
    if card.is_known:
        return
    if not card.from_weights:
        card.tensors_for(card.shape.dtype)  # says what is missing
    text = card.shape.text
    odd = [key for key in ("kv_lora_rank", "ssm_state_size", "mamba_d_state", "state_size", "linear_num_value_heads",
                           "index_topk", "attention_chunk_size") if text.get(key)]  # fmt: skip
    odd += sorted({str(kind) for kind in text.get("layer_types") or ()} - {"full_attention", "sliding_attention"})
    if odd or not card.shape.heads:
        raise ConfigurationError(
            f"the architecture {card.shape.architecture} can't be planned",
            why=f"it is not known here, and its attention is not plain: config.json has {', '.join(odd) or 'no heads'}",
            hint="start it once by hand, then: abstractcore plan MODEL --learn LOG",
        )


def _smallest_change(
    card: ModelCard, gpus: Sequence[Gpu], wish: Wish, facts: SizingFacts, refused: Assessment
) -> str | None:
    """The first of some changes, from the least that a user would mind, that makes it start."""
    first = refused.refusals[0]
    if first.rule not in {"context", "memory", "weights", "free memory"}:
        return first.cure
    if first.rule == "free memory":
        return first.cure
    tries: list[tuple[str, Wish]] = []
    if refused.longest >= 256 and wish.context:
        length = refused.longest // 16 * 16
        tries.append((f"--context {length}", replace(wish, context=length)))
    if wish.tp is not None or wish.as_is:
        tries.append(("leave the ranks to the plan", replace(wish, tp=None, pp=None, replicas=None, as_is=False)))
    tries.append(("--max-num-seqs 16", replace(wish, max_num_seqs=16)))
    if min(gpu.number for gpu in gpus) >= 89:
        tries.append(("--kv-cache-dtype fp8", replace(wish, kv_cache_dtype="fp8", max_num_seqs=16)))
    for said, other in tries:
        if choose(card, gpus, other, facts)[0].verdict != "REFUSE":
            return said
    return _more_gpus(card, gpus, wish, facts)


def _more_gpus(card: ModelCard, gpus: Sequence[Gpu], wish: Wish, facts: SizingFacts) -> str | None:
    free = replace(wish, tp=None, pp=None, replicas=None, as_is=False)
    for count in (2, 4, 8, 16):
        if count > len(gpus) and choose(card, [gpus[0]] * count, free, facts)[0].verdict != "REFUSE":
            return f"{count}x{gpus[0].name}"
    if card.shape.scheme.method is None:
        return "a quantized checkpoint (AWQ, GPTQ or FP8), or larger GPUs"
    return "larger GPUs"


def _notes(
    card: ModelCard, gpus: Sequence[Gpu], facts: SizingFacts, match: Match, chosen: Assessment
) -> tuple[str, ...]:
    flags, found = chosen.flags, []
    if match in {"newer", "older"}:
        found.append(f"this release is outside the table (0.8.5 to {'.'.join(map(str, NEWEST.version))}): extrapolated")
    used = flags.gpus * flags.replicas
    if not gpus[0].is_cpu and used < len(gpus):
        found.append(f"{len(gpus) - used} of {len(gpus)} GPUs stay idle: {_why_idle(card, flags.tp, used, len(gpus))}")
    if facts.old_engine and _oldest(gpus) < (7, 5):
        found.append(f"{gpus[0].name} needs the pinned image {facts.image}: half precision, eager, the old engine; "
                     "it predates security fixes, keep it off open networks")  # fmt: skip
    if flags.dtype == "float32" and card.shape.dtype != "float32":
        found.append("this GPU has no bfloat16 and the model does not run in float16: float32, twice the memory")
    if flags.tp > card.shape.kv_heads > 0 and not card.shape.is_mla:
        found.append(f"beyond {card.shape.kv_heads} ranks the cache of a token is not divided any further")
    if card.shape.is_mla and flags.tp > 1:
        found.append("latent attention: every rank holds the whole cache of a token")
    allowed = derived_length(card, facts)
    if allowed and flags.max_model_len < allowed and chosen.longest < allowed and chosen.verdict != "REFUSE":
        found.append(f"of the model's own context of {allowed} tokens {chosen.longest} would fit")
    if len({gpu.name for gpu in gpus}) > 1:
        found.append("cards differ: each rank is planned for the smallest")
    return tuple(found)


def _why_idle(card: ModelCard, tp: int, used: int, count: int) -> str:
    if used and count % tp:
        heads = f"{card.shape.heads} heads and {card.shape.kv_heads} key and value heads"
        return f"{heads} can't be shared by more than {tp} of them"
    return "the ranks were fixed; more replicas would use them"
