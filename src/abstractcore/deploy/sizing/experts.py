"""Mixtures of experts: routers, routed experts and shared ones."""

from __future__ import annotations

from math import ceil, gcd

from .shape import Shape, first
from .sheet import Sheet
from .tensors import Split


def add(sheet: Sheet, shape: Shape) -> None:
    """Adds the tensors of all layers with experts."""
    pattern = shape.text.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        layers = [n for n, mark in enumerate(pattern) if mark == "E"]
    else:
        layers = [n for n in range(shape.layers) if shape.has_experts(n)]
    if not layers or not shape.experts:
        return
    _router(sheet, shape, layers)
    if shape.scheme.only_experts:
        _packed(sheet, shape, layers)
    else:
        _routed(sheet, shape, layers)
    _shared(sheet, shape, layers)


def _router(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    corrected = anatomy.router_correction
    dtype = (
        "F32" if shape.decoder in {"Ernie4_5_MoeForCausalLM", "MiniMaxM2ForCausalLM", "Glm4MoeForCausalLM"} else None
    )
    if shape.scheme.method == "gptq":
        sheet.linear("mlp.gate", shape.experts, shape.hidden, split=Split.NONE, layers=layers)
    else:
        sheet.vector("mlp.gate.weight", shape.experts, shape.hidden, layers=layers, dtype=dtype)
    if anatomy.router_bias:
        sheet.vector("mlp.gate.bias", shape.experts, layers=layers)
    if corrected:
        sheet.vector("mlp.gate.e_score_correction_bias", shape.experts, dtype="F32", layers=layers)


def _routed(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    assert shape.anatomy is not None
    width, count = shape.expert_size, shape.experts
    names = ("gate_proj", "up_proj") if shape.anatomy.gated else ("up_proj",)
    for name in names:
        sheet.linear(f"mlp.experts.{name}", width, shape.hidden, layers=layers, copies=count, expert=True)
    sheet.linear("mlp.experts.down_proj", shape.hidden, width, layers=layers, copies=count, expert=True)


def _packed(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    """MXFP4: blocks of 32 four-bit numbers that share an eight-bit scale. Rank paddings are added by ``padded``."""
    width, hidden, count = shape.expert_size, shape.hidden, shape.experts
    for name, out, into in (("gate_up_proj", 2 * width, hidden), ("down_proj", hidden, width)):
        sheet.vector(f"mlp.experts.{name}_blocks", count, out, into // 2, split=Split.EVEN, dtype="U8", layers=layers)
        sheet.vector(f"mlp.experts.{name}_scales", count, out, into // 32, split=Split.EVEN, dtype="U8", layers=layers)
    sheet.vector("mlp.experts.gate_up_proj_bias", count, 2 * width, split=Split.EVEN, layers=layers)
    sheet.vector("mlp.experts.down_proj_bias", count, hidden, layers=layers)


def padding(shape: Shape, tp: int, layers: int) -> int:
    """Bytes that a rank's experts take beyond their share, since kernels work on whole tiles and groups.

    Args:
        shape: The model.
        tp: Ranks that share a layer.
        layers: Layers with experts on this rank.
    """
    if not shape.experts:
        return 0
    if not shape.scheme.only_experts:
        return _finer_groups(shape, tp) * layers
    hidden, width = shape.hidden, shape.expert_size

    def size(hidden: int, each: float, down_into: float) -> float:
        up = 2 * each * hidden
        down = hidden * down_into
        return (up + down) * (1 / 2 + 1 / 32) + (2 * each + hidden) * 2

    wide, tall = ceil(hidden / 256) * 256, ceil(ceil(width / tp) / 128) * 128
    more = size(wide, tall, tall) - size(hidden, width / tp, width / tp)
    return int(more * shape.experts) * layers


def _finer_groups(shape: Shape, tp: int) -> int:
    """Where a rank's width is no multiple of the group, vLLM takes smaller groups, and so more scales."""
    scheme, hidden, width = shape.scheme, shape.hidden, shape.expert_size // tp
    group = scheme.block[0] if scheme.block else scheme.group
    if scheme.method == "gptq" and (group <= 0 or width % group == 0):
        return (2 * width + hidden) * 2 * shape.experts  # biases, whether there are any or not
    if scheme.method is None or group <= 0 or width % group == 0 or scheme.method == "compressed-tensors":
        return 0
    fine = gcd(width, group)
    if scheme.block:
        here = 3 * (hidden // fine) * (width // fine)
        there = 2 * ceil(shape.expert_size / group / tp) * ceil(hidden / group)
        there += ceil(hidden / group) * ceil(shape.expert_size / group / tp)
        return (here - there) * 4 * shape.experts
    here = 3 * hidden * width // fine
    there = 3 * hidden * shape.expert_size // group // tp
    zeros = scheme.bits / 8
    had = there * zeros  # GPTQ's zero points are dropped here, AWQ's kept
    return int(((here - there) * 2 + (here * zeros if scheme.method == "awq" else 0) - had) * shape.experts)


def _shared(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    anatomy, width = shape.anatomy, shared_size(shape)
    assert anatomy is not None
    if not width:
        return
    bias = shape.says(anatomy.mlp_bias) and shape.decoder.startswith("Ernie")
    if anatomy.gated:
        sheet.linear("mlp.shared_experts.gate_proj", width, shape.hidden, layers=layers, bias=bias)
    sheet.linear("mlp.shared_experts.up_proj", width, shape.hidden, layers=layers, bias=bias)
    sheet.linear("mlp.shared_experts.down_proj", shape.hidden, width, layers=layers, bias=bias, divided_bias=False)
    if anatomy.shared_gate:
        sheet.vector("mlp.shared_expert_gate.weight", 1, shape.hidden, layers=layers)


def shared_size(shape: Shape) -> int:
    """Inner width of what every token goes through beside its experts; 0: there is no such thing."""
    text = shape.text
    if shape.decoder == "Llama4ForCausalLM":
        return shape.expert_size
    one = first(
        text, "moe_shared_expert_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size",
        default=0,
    )  # fmt: skip
    if one:
        return int(one) * (
            int(text.get("n_shared_experts") or 1) if "moe_shared_expert_intermediate_size" in text else 1
        )
    count = first(text, "n_shared_experts", "moe_num_shared_experts", "num_shared_experts", default=0)
    return int(count if isinstance(count, int) else count[0]) * shape.expert_size
