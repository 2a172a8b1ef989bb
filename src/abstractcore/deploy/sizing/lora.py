"""Memory of adapters: vLLM keeps room for each slot from the start."""

from __future__ import annotations

from .shape import Shape


def slot_bytes(shape: Shape, *, rank: int, tp: int) -> int:
    """Bytes of one adapter slot on a rank: two thin matrices beside each linear layer.

    Args:
        shape: The model.
        rank: ``--max-lora-rank``.
        tp: Ranks that share a layer.
    """
    hidden, inner = shape.hidden, shape.intermediate
    query, kv = shape.heads * shape.head_dim // tp, max(1, shape.kv_heads // tp) * shape.head_dim
    attention = 3 * hidden + query + 2 * kv + query + hidden
    width = shape.expert_size if shape.experts else inner
    mlp = 2 * hidden + 2 * width // tp + width // tp + hidden
    per_layer = attention + mlp * max(1, shape.experts)
    return shape.layers * per_layer * rank * 2
