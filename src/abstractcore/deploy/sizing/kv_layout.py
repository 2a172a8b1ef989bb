"""What each layer caches: pages of keys and values, of latent vectors, or a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from .shape import Shape
from .states import state_bytes

Kind = Literal["full", "sliding", "chunked", "latent", "state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One block of one layer's cache on one rank."""

    kind: Kind
    block: int
    """Tokens in a block."""
    size: int
    """Bytes."""
    window: int = 0
    """Tokens that a sliding or chunked layer looks back."""
    spare: int = 0
    """Blocks that a state layer holds for each request."""

    def blocks_per_request(self, length: int, in_flight: int) -> int:
        """Blocks that a request of ``length`` tokens holds at most.

        Args:
            length: Tokens of the request.
            in_flight: Tokens that may be scheduled and not yet settled; what a window no longer needs is freed after.
        """
        if self.kind == "state":
            return self.spare
        if self.kind == "sliding":
            return ceil(min(self.window - 1 + in_flight, length) / self.block) + 1
        if self.kind == "chunked":
            return ceil(min(self.window + in_flight, length) / self.block)
        return ceil(length / self.block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """How an engine keeps its cache."""

    tp: int
    block: int
    """Tokens in a block, as far as the attention backend decides."""
    bytes_per_number: int
    """Of the cache: 2, or 1 with an eight-bit cache, or 4."""
    dtype: str
    """Of the model; states are kept in it."""
    prefix_caching: bool = True


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """A layer with a cache."""

    layer: int
    page: Page


def layout(shape: Shape, cache: Cache) -> tuple[CachedLayer, ...]:
    """The pages of all layers that cache anything, in order."""
    kinds = [shape.kind(n) for n in range(shape.layers)]
    has_states = any(kind in {"state", "both"} for kind in kinds)
    has_attention = any(kind in {"attention", "both"} for kind in kinds)
    block, state = cache.block, None
    if has_states:
        held = state_bytes(shape, cache.tp, cache.dtype)
        if has_attention:
            token = _bytes_per_token(shape, 0, cache)
            block = max(block, cache.block * ceil(held / (cache.block * token)))
            state = Page(kind="state", block=block, size=block * token, spare=_state_blocks(shape, cache))
        else:
            state = Page(kind="state", block=block, size=held, spare=1)
    found = []
    for layer, kind in enumerate(kinds):
        if kind in {"attention", "both"} and not shares_cache(shape, layer):
            found.append(CachedLayer(layer, _attention_page(shape, layer, cache, block)))
        if kind in {"state", "both"} and state:
            found.append(CachedLayer(layer, state))
    return tuple(found)


def _state_blocks(shape: Shape, cache: Cache) -> int:
    """With prefix caching the state before and after a step, and for Mamba-2 a checkpoint of the prompt."""
    if not cache.prefix_caching:
        return 1
    is_mamba2 = shape.anatomy is not None and shape.anatomy.states in {"mamba2", "beside attention"}
    return 3 if is_mamba2 else 2


def shares_cache(shape: Shape, layer: int) -> bool:
    """Whether a layer reads the cache of an earlier one."""
    return layer >= shape.layers - int(shape.text.get("num_kv_shared_layers") or 0)


def _heads(shape: Shape, layer: int) -> tuple[int, int, int]:
    """Key and value heads of a layer, the size of a key and that of a value."""
    text = shape.text
    if shape.anatomy and shape.anatomy.attention == "latent heads":
        size = int(text["qk_nope_head_dim"]) + int(text["qk_rope_head_dim"])
        return shape.kv_heads, size, size
    if text.get("global_head_dim") and not window(shape, layer):
        heads = int(text.get("num_global_key_value_heads") or shape.kv_heads)
        if not text.get("attention_k_eq_v"):
            heads = shape.kv_heads
        return heads, int(text["global_head_dim"]), int(text["global_head_dim"])
    return shape.kv_heads, shape.head_dim, shape.head_dim


def head_kinds(shape: Shape, layers: Sequence[int]) -> list[tuple[tuple[int, ...], int, int]]:
    """Layers that are alike: which, their key and value heads, and the size of a head."""
    found: dict[tuple[int, int], list[int]] = {}
    for layer in layers:
        heads, size, _ = _heads(shape, layer)
        found.setdefault((heads, size), []).append(layer)
    return [(tuple(mine), heads, size) for (heads, size), mine in found.items()]


def _bytes_per_token(shape: Shape, layer: int, cache: Cache) -> int:
    if shape.is_mla:
        width = int(shape.text["kv_lora_rank"]) + int(shape.text["qk_rope_head_dim"])
        return width * cache.bytes_per_number
    heads, key, value = _heads(shape, layer)
    return max(1, heads // cache.tp) * (key + value) * cache.bytes_per_number


def _attention_page(shape: Shape, layer: int, cache: Cache, block: int) -> Page:
    size = block * _bytes_per_token(shape, layer, cache)
    if shape.is_mla:
        return Page(kind="latent", block=block, size=size)
    chunk = _chunk(shape, layer)
    if chunk:
        return Page(kind="chunked", block=block, size=size, window=chunk)
    reach = window(shape, layer)
    if reach:
        return Page(kind="sliding", block=block, size=size, window=reach)
    return Page(kind="full", block=block, size=size)


def _chunk(shape: Shape, layer: int) -> int:
    text = shape.text
    if shape.decoder != "Llama4ForCausalLM" or not text.get("attention_chunk_size"):
        return 0
    rotates = text.get("no_rope_layers")
    local = bool(rotates[layer]) if rotates else (layer + 1) % int(text.get("no_rope_layer_interval") or 4) != 0
    return int(text["attention_chunk_size"]) if local else 0


_ALL_SLIDE = {
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Phi3ForCausalLM",
    "Starcoder2ForCausalLM",
    "PhiMoEForCausalLM",
}
_PATTERN = {"Gemma2ForCausalLM": 2, "Gemma3ForCausalLM": 6, "Cohere2ForCausalLM": 4, "GptOssForCausalLM": 2,
            "Gemma4ForCausalLM": 6, "Exaone4ForCausalLM": 4, "Olmo3ForCausalLM": 4}  # fmt: skip


def window(shape: Shape, layer: int) -> int:
    """The tokens that a layer looks back; 0: all."""
    text = shape.text
    reach = text.get("sliding_window")
    if not isinstance(reach, int) or text.get("use_sliding_window") is False:
        return 0
    names = text.get("layer_types")
    if names:
        return reach if names[layer] == "sliding_attention" else 0
    if shape.decoder in _ALL_SLIDE:
        return reach
    pattern = text.get("sliding_window_pattern") or text.get("_sliding_window_pattern") or _PATTERN.get(shape.decoder)
    if isinstance(pattern, str):
        return reach if pattern[layer % len(pattern)] == "L" else 0
    if pattern and shape.decoder in _PATTERN:
        return reach if (layer + 1) % int(pattern) else 0
    if text.get("use_sliding_window"):
        return reach if layer >= int(text.get("max_window_layers") or 0) else 0
    return 0
