"""Tensors read from a checkpoint, given the split that vLLM's layers of that name have."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from .tensors import DTYPES, Split, Tensor

_NUMBER: Final = re.compile(r"(?<=\.)\d+(?=\.)")
_LAYER: Final = re.compile(r"(?:^|\.)(?:layers|h|blocks|block|layer)\.(\d+)\.")
_KV: Final = ("k_proj", "v_proj", "k_norm.weight_heads", "key", "value", "wk", "wv")
_WHOLE: Final = (
    "norm", "layernorm", "ln_", "router", "gate.weight", "mlp.gate", "q_a_proj", "kv_a_proj", "correction_bias",
    "rotary", "embed_positions", "wpe", "position_embedding", "shared_expert_gate", "patch_embed", "pos_embed",
    "class_embedding", "dt_norm", "weight_shape", "g_idx", "input_scale", "global_scale", "inv_freq",
)  # fmt: skip
_VOCAB: Final = ("embed_tokens", "lm_head", "wte", "word_embeddings", "embed_in", "embed_out", "tok_embeddings",
                 "output.weight", "embeddings.weight")  # fmt: skip
_SUMS: Final = ("o_proj.bias", "down_proj.bias", "out_proj.bias", "dense.bias", "c_proj.bias", "fc2.bias", "wo.bias")
_DROPPED: Final = ("rotary_emb.inv_freq", "masked_bias", "attn.bias", "mtp.", "mtp_", "nextn")
_REAL: Final = {"F32", "F16", "BF16", "F64"}


def classify(found: Mapping[str, tuple[str, tuple[int, ...]]], *, dtype: str, layers: int, tied: bool) -> list[Tensor]:
    """Groups a checkpoint's tensors by what is equal in all layers, and says how each is divided.

    Args:
        found: Name to dtype and shape, as the headers of the safetensors files have them.
        dtype: What the model runs in: real numbers are turned into it when they are loaded.
        layers: Decoder layers; those beyond are for drafts, which are not loaded.
        tied: Whether the output matrix is the embedding, so that a second copy is not loaded.
    """
    grouped: dict[tuple[str, tuple[int, ...], str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for name, (kind, shape) in found.items():
        if any(part in name for part in _DROPPED) or (tied and name.endswith("lm_head.weight")):
            continue
        place = _LAYER.search(name)
        is_vision = "vision" in name or "visual" in name
        layer = int(place.group(1)) if place and not is_vision else -1
        if layer >= layers:
            continue
        stored = DTYPES[dtype] if kind in _REAL and not name.endswith(("scale", "scale_inv", "A_log")) else kind
        grouped[_NUMBER.sub("N", name), shape, stored][layer] += 1
    return [tensor for key, places in grouped.items() for tensor in _tensors(*key, places, tied=tied)]


def _tensors(
    name: str, shape: tuple[int, ...], dtype: str, places: Mapping[int, int], *, tied: bool
) -> Iterable[Tensor]:
    by_count: dict[int, list[int]] = defaultdict(list)
    for layer, count in places.items():
        by_count[count].append(layer)
    for count, numbers in by_count.items():
        outside = numbers == [-1]
        place = _place(name, tied=tied) if outside else "all"
        mine = () if outside else tuple(number for number in numbers if number >= 0)
        yield Tensor(name, shape, dtype, split_of(name, shape), mine, count, 0, place)


def _place(name: str, *, tied: bool) -> str:
    if "lm_head" in name or "embed_out" in name:
        return "last"
    if any(part in name for part in _VOCAB):
        return "ends" if tied else "first"
    return "all"


def split_of(name: str, shape: tuple[int, ...]) -> Split:
    """How vLLM divides a tensor of this name."""
    if any(part in name for part in _VOCAB) and "norm" not in name:
        return Split.VOCAB
    if name.endswith(_SUMS) or len(shape) == 0 or (len(shape) == 1 and shape[0] == 1):
        return Split.NONE
    if any(part in name for part in _WHOLE) and "gate_proj" not in name and "gate_up" not in name:
        return Split.NONE
    owner = name.split(".")[-2] if "." in name else name
    return Split.KV if owner in _KV else Split.EVEN
