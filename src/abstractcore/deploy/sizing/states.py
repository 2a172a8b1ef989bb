"""Layers that keep a state of fixed size: Mamba, gated delta nets, short convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from .shape import Shape, first
from .sheet import Sheet
from .tensors import Split

BYTES = {"bfloat16": 2, "float16": 2, "half": 2, "float32": 4, "float": 4}


@dataclass(frozen=True, slots=True)
class StateSize:
    """Elements of one layer's state on a rank."""

    convolution: int
    recurrent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2:
    """The numbers of a Mamba-2 layer."""

    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int
    bias: bool
    conv_bias: bool

    @property
    def inner(self) -> int:
        """Width of what runs through the layer."""
        return self.heads * self.head_dim


def mamba2(shape: Shape) -> Mamba2:
    """Reads the entries of any Mamba-2 model."""
    text = shape.text
    expanded = int(float(first(text, "mamba_expand", "expand", default=2)) * shape.hidden)
    head_dim = first(text, "mamba_head_dim", "mamba_d_head", "mamba_headdim")
    heads = first(text, "mamba_num_heads", "mamba_n_heads", "num_heads")
    if head_dim in {None, "auto"}:
        head_dim = expanded // int(heads) if shape.decoder != "Mamba2ForCausalLM" else text["head_dim"]
    return Mamba2(
        heads=int(heads or expanded // int(head_dim)),
        head_dim=int(head_dim),
        groups=int(first(text, "mamba_n_groups", "n_groups", "mamba_ngroups", default=1)),
        state=int(first(text, "ssm_state_size", "mamba_d_state", "state_size", default=128)),
        kernel=int(first(text, "mamba_d_conv", "conv_kernel", default=4)),
        bias=bool(first(text, "mamba_proj_bias", "use_bias", default=False)),
        conv_bias=bool(first(text, "mamba_conv_bias", "use_conv_bias", default=True)),
    )


def _extra_groups(groups: int, tp: int) -> int:
    return 0 if groups % tp == 0 else tp - groups


def state_size(shape: Shape, tp: int) -> StateSize:
    """What one state layer keeps for a request on each of ``tp`` ranks."""
    kind, text = (shape.anatomy.states if shape.anatomy else "none"), shape.text
    if kind in {"mamba2", "beside attention"}:
        layer = mamba2(shape)
        groups = layer.groups + _extra_groups(layer.groups, tp)
        width = (layer.inner + 2 * groups * layer.state) // tp
        return StateSize(width * (layer.kernel - 1), layer.heads // tp * layer.head_dim * layer.state)
    if kind == "delta net":
        key, value, heads = _delta(shape)
        width = (2 * key * text["linear_num_key_heads"] + value * heads) // tp
        return StateSize(width * (text["linear_conv_kernel_dim"] - 1), heads // tp * key * value)
    if kind == "mamba":
        inner = int(text["mamba_expand"]) * shape.hidden // tp
        return StateSize(inner * (int(text["mamba_d_conv"]) - 1), inner * int(text["mamba_d_state"]))
    if kind == "short conv":
        return StateSize(shape.hidden // tp * (int(text["conv_L_cache"]) - 1), 0)
    return StateSize(0, 0)


def _delta(shape: Shape) -> tuple[int, int, int]:
    text = shape.text
    return int(text["linear_key_head_dim"]), int(text["linear_value_head_dim"]), int(text["linear_num_value_heads"])


def state_bytes(shape: Shape, tp: int, dtype: str) -> int:
    """Bytes of one state layer's state for a request on a rank."""
    size = state_size(shape, tp)
    recurrent = first(shape.text, "mamba_ssm_cache_dtype", "mamba_ssm_dtype")
    if recurrent is None or (shape.decoder == "Qwen3NextForCausalLM"):
        recurrent = "float32" if shape.decoder == "NemotronHForCausalLM" else dtype
    return size.convolution * BYTES[dtype] + size.recurrent * BYTES[str(recurrent)]


def add(sheet: Sheet, shape: Shape) -> None:
    """Adds the tensors of all state layers."""
    kind = shape.anatomy.states if shape.anatomy else "none"
    layers = [n for n in range(shape.layers) if shape.kind(n) in {"state", "both"}]
    if not layers:
        return
    {"mamba2": _mamba2, "beside attention": _mamba2, "delta net": _delta_net, "mamba": _mamba, "short conv": _short}[
        kind
    ](sheet, shape, layers)


def _mamba2(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    layer = mamba2(shape)
    mixed = layer.inner + 2 * layer.groups * layer.state
    sheet.linear("mixer.in_proj", 2 * layer.inner + layer.heads, shape.hidden, bias=layer.bias, layers=layers)
    groups = 2 * layer.groups * layer.state
    sheet.linear(
        "mixer.in_proj_groups", groups, shape.hidden, split=Split.KV, heads=layer.groups, bias=layer.bias, layers=layers
    )
    sheet.linear("mixer.out_proj", shape.hidden, layer.inner, bias=layer.bias, divided_bias=False, layers=layers)
    sheet.vector("mixer.conv1d.weight", mixed, 1, layer.kernel, split=Split.EVEN, layers=layers)
    if layer.conv_bias:
        sheet.vector("mixer.conv1d.bias", mixed, split=Split.EVEN, layers=layers)
    sheet.vector("mixer.A", layer.heads, split=Split.EVEN, dtype="F32", layers=layers)
    for name in ("D", "dt_bias"):
        sheet.vector(f"mixer.{name}", layer.heads, split=Split.EVEN, layers=layers)
    if first(shape.text, "mamba_rms_norm", "rms_norm", default=True):
        sheet.vector("mixer.norm.weight", layer.inner, split=Split.EVEN, layers=layers)
    sheet.vector("mixer.conv_weights", mixed, layer.kernel, split=Split.EVEN, layers=layers)


def _delta_net(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    key, value, heads = _delta(shape)
    keys = key * int(shape.text["linear_num_key_heads"])
    values = value * heads
    mixed, kernel = 2 * keys + values, int(shape.text["linear_conv_kernel_dim"])
    sheet.linear("linear_attn.in_proj_qkvz", mixed + values, shape.hidden, layers=layers)
    sheet.linear("linear_attn.in_proj_ba", 2 * heads, shape.hidden, layers=layers)
    sheet.linear("linear_attn.out_proj", shape.hidden, values, layers=layers)
    sheet.vector("linear_attn.conv1d.weight", mixed, 1, kernel, split=Split.EVEN, layers=layers)
    sheet.vector("linear_attn.A_log", heads, split=Split.EVEN, dtype="F32", layers=layers)
    sheet.vector("linear_attn.dt_bias", heads, split=Split.EVEN, layers=layers)
    sheet.vector("linear_attn.norm.weight", value, layers=layers)


def _mamba(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    text = shape.text
    inner, state = int(text["mamba_expand"]) * shape.hidden, int(text["mamba_d_state"])
    rank = int(text["mamba_dt_rank"])
    bias = bool(text.get("mamba_proj_bias"))
    sheet.linear("mamba.in_proj", 2 * inner, shape.hidden, bias=bias, layers=layers)
    sheet.linear("mamba.x_proj", rank + 2 * state, inner, layers=layers)
    sheet.linear("mamba.dt_proj", inner, rank, bias=True, layers=layers)
    sheet.linear("mamba.out_proj", shape.hidden, inner, bias=bias, divided_bias=False, layers=layers)
    sheet.vector("mamba.conv1d.weight", inner, 1, int(text["mamba_d_conv"]), split=Split.EVEN, layers=layers)
    if text.get("mamba_conv_bias", True):
        sheet.vector("mamba.conv1d.bias", inner, split=Split.EVEN, layers=layers)
    sheet.vector("mamba.A", inner, state, split=Split.EVEN, dtype="F32", layers=layers)
    sheet.vector("mamba.D", inner, split=Split.EVEN, dtype="F32", layers=layers)
    sheet.vector("mamba.norms", rank + 2 * state, layers=layers)


def _short(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    width, bias = shape.hidden, bool(shape.text.get("conv_bias"))
    sheet.linear("conv.in_proj", 3 * width, width, bias=bias, layers=layers)
    sheet.linear("conv.out_proj", width, width, bias=bias, divided_bias=False, layers=layers)
    sheet.vector("conv.conv.weight", width, 1, int(shape.text["conv_L_cache"]), split=Split.EVEN, layers=layers)
