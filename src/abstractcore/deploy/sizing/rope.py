"""The tables of rotary embeddings, which vLLM keeps on every rank."""

from __future__ import annotations

from typing import Any

from .shape import Config, Shape, first
from .tensors import Split, Tensor

_DTYPE = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def rope_tensors(shape: Shape, dtype: str) -> list[Tensor]:
    """One table for each way in which the model's layers rotate."""
    text, anatomy = shape.text, shape.anatomy
    if anatomy is None or anatomy.generic or anatomy.positions is not None or not shape.max_position:
        return []
    if shape.decoder in {"BloomForCausalLM", "NemotronHForCausalLM", "JambaForCausalLM", "Mamba2ForCausalLM"}:
        return []
    if text.get("position_embedding_type") == "nope":
        return []
    found = []
    for rope, factor in _ropes(shape):
        width = int(_rotated(shape) * factor)
        rows = _rows(shape, rope)
        stored = "F32" if shape.decoder == "GptOssForCausalLM" else _DTYPE[dtype]
        found.append(Tensor("rotary_emb.cos_sin_cache", (rows, width), stored, Split.NONE))
    return found


def _ropes(shape: Shape) -> list[tuple[Config, float]]:
    text = shape.text
    scaling: Any = text.get("rope_parameters") or text.get("rope_scaling") or {}
    partial = float(first(text, "partial_rotary_factor", "rotary_pct", "rope_percentage", default=1.0))
    nested = [value for value in scaling.values() if isinstance(value, dict)]
    if shape.text.get("global_head_dim"):  # layers without a window have wider heads
        return [({}, 1.0), ({}, int(shape.text["global_head_dim"]) / shape.head_dim)]
    if nested:
        return [(value, float(value.get("partial_rotary_factor") or 1.0)) for value in nested]
    here = (scaling, float(scaling.get("partial_rotary_factor") or partial))
    if shape.decoder == "Gemma3ForCausalLM":  # layers with a window rotate without scaling
        return [({}, 1.0), here]
    return [here]


def _rotated(shape: Shape) -> int:
    if shape.is_mla or "qk_rope_head_dim" in shape.text:
        return int(shape.text["qk_rope_head_dim"])
    return int(first(shape.text, "rotary_dim", default=shape.head_dim))


def _rows(shape: Shape, rope: Config) -> int:
    longest = int(shape.max_position or 0)
    kind = first(rope, "rope_type", "type", default="default")
    factor = float(rope.get("factor") or 1.0)
    original = int(first(rope, "original_max_position_embeddings", default=0)) or int(
        first(shape.text, "original_max_position_embeddings", default=longest)
    )
    if kind in {"yarn", "deepseek_yarn"}:
        return int(original * factor)
    if kind == "linear":
        return int(longest * factor)
    if kind in {"longrope", "su"}:
        return longest + original
    if "mrope_section" in rope and not rope.get("mrope_interleaved"):  # videos have more positions
        return longest * 4
    return longest


def scaling_of(shape: Shape) -> tuple[str, float, int]:
    """How a model stretches its positions: kind, factor, and the positions it was trained on (0: not said)."""
    scaling: Any = shape.text.get("rope_scaling") or shape.text.get("rope_parameters") or {}
    nested = [value for value in scaling.values() if isinstance(value, dict)]
    rope = next((value for value in nested if value.get("factor")), nested[0]) if nested else scaling
    kind = str(first(rope, "rope_type", "type", default="default"))
    return kind, float(rope.get("factor") or 1.0), int(rope.get("original_max_position_embeddings") or 0)
