"""How a checkpoint's quantization stores a linear layer: the tensors in place of one weight matrix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil
from typing import Any

Part = tuple[str, tuple[int, ...], str, bool]
"""Suffix, shape, dtype, and whether every rank holds all of it."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to store weights."""

    method: str | None = None
    """As vLLM names it: ``fp8``, ``compressed-tensors``, ``awq``, ``gptq`` ...; ``None``: not quantized."""
    bits: int = 16
    group: int = 0
    """Input channels that share a scale; 0: all of an output channel, -1: the whole tensor."""
    block: tuple[int, int] | None = None
    zero_points: bool = False
    order: bool = False
    """A table with the group of each input channel is stored."""
    floating: bool = False
    only_experts: bool = False
    ignored: tuple[str, ...] = ()
    activations: bool = False
    """Activations are quantized too."""
    cache_bits: int | None = None
    """Bits of the KV cache that the checkpoint asks for."""
    raw: Mapping[str, Any] = field(default_factory=dict)

    def ignores(self, name: str) -> bool:
        """Whether a module, given by its full name, is left as it is."""
        if self.method == "fp8":  # the only one that takes names as they stand
            return any(name == pattern or name.startswith(f"{pattern}.") for pattern in self.ignored)
        return any(_matches(pattern, name) for pattern in self.ignored)

    def parts(self, out: int, into: int, dtype: str) -> list[Part]:
        """The tensors that store a matrix of ``out`` by ``into``."""
        if self.method is None:
            return [("weight", (out, into), dtype, False)]
        if self.bits == 8 and self.method not in {"gptq", "awq"}:
            return self._eight_bits(out, into)
        if self.method == "bitsandbytes":
            return [("weight", (out * into // 2, 1), "U8", False)]
        groups = ceil(into / self.group) if self.group > 0 else 1
        if self.floating:  # NVFP4: a scale in eight bits for each group, another for all
            scale = ("weight_scale", (out, groups), "F8_E4M3", False)
            return [("weight_packed", (out, into // 2), "U8", False), scale, ("weight_global_scale", (1,), "F32", True)]
        words = ceil(into * self.bits / 32)
        found: list[Part] = [("qweight", (out, words), "I32", False), ("scales", (out, groups), dtype, False)]
        if self.zero_points:
            found.append(("qzeros", (ceil(out * self.bits / 32), groups), "I32", False))
        if self.order:
            found.append(("g_idx", (into,), "I32", False))
        return found

    def _eight_bits(self, out: int, into: int) -> list[Part]:
        stored = "F8_E4M3" if self.floating else "I8"
        weight: Part = ("weight", (out, into), stored, False)
        if self.block:
            rows, columns = ceil(out / self.block[0]), ceil(into / self.block[1])
            return [weight, ("weight_scale_inv", (rows, columns), "F32", False)]
        if self.group < 0:
            return [weight, ("weight_scale", (1,), "F32", True), ("input_scale", (1,), "F32", True)]
        return [weight, ("weight_scale", (out, 1), "F32", False)]


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    if "*" in pattern:
        return fnmatchcase(name, pattern)
    return pattern in name


def scheme_of(config: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Scheme:
    """Reads ``quantization_config`` of a config.json, or the file that ModelOpt writes beside it.

    Args:
        config: The config.json.
        extra: The hf_quant_config.json, if there is one.
    """
    given = config.get("quantization_config") or config.get("compression_config")
    if given is None:
        given = (config.get("text_config") or {}).get("quantization_config")
    if not isinstance(given, Mapping):
        given = {"quant_method": "modelopt", **extra} if extra else None
    if given is None:
        return Scheme()
    method = str(given.get("quant_method", "")).lower().replace("_", "-")
    reader = _READERS.get(method, _unknown)
    return reader(given)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _unknown(given: Mapping[str, Any]) -> Scheme:
    bits = int(given.get("bits") or given.get("w_bit") or 8)
    return Scheme(str(given.get("quant_method")), bits=bits, group=int(given.get("group_size") or 128), raw=given)


def _fp8(given: Mapping[str, Any]) -> Scheme:
    ignored = _strings(given.get("ignored_layers") or given.get("modules_to_not_convert"))
    size = given.get("weight_block_size")
    block = (int(size[0]), int(size[1])) if size else None
    return Scheme("fp8", 8, -1, block, floating=True, ignored=ignored, activations=True, raw=given)


def _gptq(given: Mapping[str, Any]) -> Scheme:
    group = int(given.get("group_size") or -1)
    bits = int(given.get("bits") or 4)
    return Scheme("gptq", bits, max(group, 0), zero_points=True, order=bool(given.get("desc_act")), raw=given)


def _awq(given: Mapping[str, Any]) -> Scheme:
    ignored = _strings(given.get("modules_to_not_convert"))
    bits, group = int(given.get("bits") or given.get("w_bit") or 4), int(given.get("group_size") or 128)
    return Scheme("awq", bits, group, zero_points=True, ignored=ignored, raw=given)


def _mxfp4(given: Mapping[str, Any]) -> Scheme:
    ignored = _strings(given.get("modules_to_not_convert"))
    return Scheme("mxfp4", 4, 32, floating=True, only_experts=True, ignored=ignored, raw=given)


def _bitsandbytes(given: Mapping[str, Any]) -> Scheme:
    ignored = _strings(given.get("llm_int8_skip_modules"))
    return Scheme("bitsandbytes", 4 if given.get("load_in_4bit") else 8, 64, ignored=ignored, raw=given)


def _modelopt(given: Mapping[str, Any]) -> Scheme:
    inner = given.get("quantization") or given
    algorithm = str(inner.get("quant_algo") or given.get("quant_algo") or "FP8").upper()
    ignored = _strings(inner.get("exclude_modules") or given.get("ignore"))
    cache = 8 if "FP8" in str(inner.get("kv_cache_quant_algo") or "").upper() else None
    common: dict[str, Any] = {"ignored": ignored, "activations": True, "cache_bits": cache, "raw": given}
    if "FP4" in algorithm:
        return Scheme("modelopt_fp4", 4, int(inner.get("group_size") or 16), floating=True, **common)
    return Scheme("modelopt", 8, -1, floating=True, **common)


def _compressed(given: Mapping[str, Any]) -> Scheme:
    groups = list((given.get("config_groups") or {}).values())
    weights: Mapping[str, Any] = (groups[0].get("weights") or {}) if groups else {}
    inputs = (groups[0].get("input_activations") or {}) if groups else {}
    strategy = weights.get("strategy")
    size = weights.get("block_structure") or [128, 128]
    return Scheme(
        "compressed-tensors",
        int(weights.get("num_bits") or 16),
        -1 if strategy == "tensor" else int(weights.get("group_size") or 0),
        (int(size[0]), int(size[1])) if strategy == "block" else None,
        zero_points=weights.get("symmetric") is False,
        order=bool(weights.get("actorder")) and weights.get("actorder") not in {"weight", "static"},
        floating=weights.get("type") == "float",
        ignored=_strings(given.get("ignore")),
        activations=bool(inputs),
        cache_bits=8 if (given.get("kv_cache_scheme") or {}).get("num_bits") == 8 else None,
        raw=given,
    )


_READERS = {
    "fp8": _fp8, "gptq": _gptq, "gptq-marlin": _gptq, "awq": _awq, "awq-marlin": _awq, "mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes, "modelopt": _modelopt, "modelopt-fp4": _modelopt, "compressed-tensors": _compressed,
    "fbgemm-fp8": _fp8,
}  # fmt: skip
