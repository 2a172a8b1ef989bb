"""Tensors of a model, and the share of them that one tensor-parallel rank holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import ceil, prod
from typing import Final

VOCAB_PADDING: Final = 64
"""vLLM pads the vocabulary to a multiple of this before it divides it."""

BITS: Final = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "BF16": 16, "F16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "I4": 4,
}  # fmt: skip
"""Bits an element, by the names that safetensors uses."""

DTYPES: Final = {"bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "F32", "float": "F32"}


_CUT_ACROSS: Final = {"o_proj", "down_proj", "out_proj", "dense", "w2", "c_proj", "fc2"}
"""Matrices that are divided by their inputs."""


class Split(Enum):
    """How tensor parallelism divides a tensor."""

    NONE = "replicated"
    EVEN = "divided"
    KV = "key and value heads"
    """Divided by heads, of which each rank holds at least one."""
    VOCAB = "vocabulary"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor, or a number of equal ones."""

    name: str
    """Without the number of the layer or the expert."""
    shape: tuple[int, ...]
    dtype: str
    """As safetensors spells it: ``BF16``, ``F8_E4M3``, ``I32`` ..."""
    split: Split = Split.EVEN
    layers: tuple[int, ...] = ()
    """The decoder layers that have it; none: it stands outside the layers."""
    copies: int = 1
    """How many there are in each layer, such as one for each expert."""
    heads: int = 0
    """What ``KV`` counts: heads, or the groups of a state; 0: the model's key and value heads."""
    place: str = "all"
    """Outside the layers: on the ``first``, the ``last`` or ``all`` stages of a pipeline."""

    @property
    def elements(self) -> int:
        """Elements of all copies of one layer."""
        return prod(self.shape) * self.copies

    @property
    def size(self) -> int:
        """Bytes of all copies of one layer."""
        return self.elements * BITS[self.dtype] // 8


def total(tensors: Sequence[Tensor]) -> int:
    """Bytes of all tensors, undivided."""
    return sum(tensor.size * max(1, len(tensor.layers)) for tensor in tensors)


def rank_bytes(tensor: Tensor, *, tp: int, kv_heads: int) -> int:
    """Bytes that one rank holds of one layer's copies.

    Args:
        tensor: The tensor.
        tp: Ranks that share the layer.
        kv_heads: Key and value heads of the whole layer.
    """
    if tensor.split is Split.NONE:
        return tensor.size
    if tensor.split is Split.KV:
        heads = tensor.heads or kv_heads
        return tensor.size * max(1, heads // tp) // heads
    if tensor.split is Split.VOCAB:
        rows = ceil(tensor.shape[0] / VOCAB_PADDING) * VOCAB_PADDING // tp
        return rows * prod(tensor.shape[1:]) * BITS[tensor.dtype] // 8
    cut_across = tensor.name.split(".")[-2:-1] and tensor.name.split(".")[-2] in _CUT_ACROSS
    if cut_across and tensor.name.endswith("weight_scale") and tensor.shape[-1:] == (1,):
        return tensor.size  # one scale for each output channel, and every rank has all of those
    if tensor.name.endswith("weight_scale_inv"):  # blocks that the cut goes through count on both sides
        axis = 1 if cut_across else 0
        shape = [ceil(n / tp) if place == axis else n for place, n in enumerate(tensor.shape)]
        return prod(shape) * tensor.copies * BITS[tensor.dtype] // 8
    return ceil(tensor.size / tp)


def stages(layers: int, pp: int) -> tuple[range, ...]:
    """The layers of each pipeline stage, as vLLM divides them: what is left over goes to late stages, not the last."""
    sizes = [layers // pp] * pp
    for place in range(2, layers % pp + 2):
        sizes[-place] += 1
    bounds = [sum(sizes[:i]) for i in range(pp + 1)]
    return tuple(range(low, high) for low, high in pairwise(bounds))


def stage_bytes(tensors: Sequence[Tensor], *, tp: int, stage: int, pp: int, layers: int, kv_heads: int) -> int:
    """Bytes of weights on a rank of one pipeline stage."""
    mine = stages(layers, pp)[stage]
    found = 0
    for tensor in tensors:
        if tensor.layers:
            times = len(tensor.layers) if pp == 1 else sum(layer in mine for layer in tensor.layers)
        else:
            times = int(
                tensor.place == "all"
                or (tensor.place == "first" and stage == 0)
                or (tensor.place == "last" and stage == pp - 1)
                or (tensor.place == "ends" and stage in {0, pp - 1})
            )
        found += times * rank_bytes(tensor, tp=tp, kv_heads=kv_heads) if times else 0
    return found
