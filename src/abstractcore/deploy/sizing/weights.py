"""The tensors that a model's configuration calls for: what to expect where the weights themselves can't be read."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ConfigurationError
from ...vllm_facts.anatomy import EMBEDS_EVERYWHERE
from . import experts, states, vision
from .kv_layout import head_kinds
from .rope import rope_tensors
from .shape import Shape, first
from .sheet import Sheet
from .tensors import Split, Tensor


def expected_tensors(shape: Shape, dtype: str) -> tuple[Tensor, ...]:
    """All tensors of a model, with the tables that vLLM computes at start.

    Args:
        shape: The model.
        dtype: What it runs in: ``bfloat16``, ``float16`` or ``float32``.

    Raises:
        ConfigurationError: How this architecture is built is not known.
    """
    if shape.anatomy is None:
        raise ConfigurationError(
            f"the architecture {shape.architecture} is not known here",
            why="its layers can't be told from config.json alone",
            hint="give a folder or a model id with weights: it is then planned from its tensors",
        )
    prefix = "model.layers" if shape.text is shape.config else "language_model.model.layers"
    sheet = Sheet(dtype, shape.scheme, prefix)
    _ends(sheet, shape)
    _attention(sheet, shape)
    states.add(sheet, shape)
    _mlp(sheet, shape)
    experts.add(sheet, shape)
    _norms(sheet, shape)
    vision.add(sheet, shape)
    return (*sheet.tensors, *rope_tensors(shape, dtype))


def _ends(sheet: Sheet, shape: Shape) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    width = int(first(shape.text, "word_embed_proj_dim", default=shape.hidden))
    place = "all" if shape.decoder in EMBEDS_EVERYWHERE else "ends" if shape.tied else "first"
    sheet.vector("embed_tokens.weight", shape.vocab, width, split=Split.VOCAB, place=place)
    if not shape.tied:
        sheet.vector("lm_head.weight", shape.vocab, shape.hidden, split=Split.VOCAB, place="last")
    if shape.says(anatomy.head_bias):
        sheet.vector("lm_head.bias", shape.vocab, split=Split.VOCAB, place="last")
    if anatomy.positions is not None:
        sheet.vector(
            "embed_positions.weight", (shape.max_position or 0) + anatomy.positions, shape.hidden, place="first"
        )
    if anatomy.norms or anatomy.states != "none":
        sheet.vector("norm.weight", shape.hidden, place="last")
        if anatomy.norm_bias:
            sheet.vector("norm.bias", shape.hidden, place="last")
    if shape.decoder == "BloomForCausalLM":
        sheet.vector("word_embeddings_layernorm", 2, shape.hidden, place="first")


def _attention(sheet: Sheet, shape: Shape) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    layers = [n for n in range(shape.layers) if shape.kind(n) in {"attention", "both"}]
    if not layers:
        return
    if anatomy.attention != "heads":
        _latent_attention(sheet, shape, layers)
        return
    for mine, heads, size in head_kinds(shape, layers):
        _projections(sheet, shape, mine, kv_heads=heads, size=size)
    if anatomy.sinks:
        sheet.vector("self_attn.sinks", shape.heads, split=Split.EVEN, layers=layers)


def _projections(sheet: Sheet, shape: Shape, layers: Sequence[int], *, kv_heads: int, size: int) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    inner, kv = shape.heads * size, kv_heads * size
    wide = 2 * inner if shape.says(anatomy.output_gate) else inner
    bias = shape.says(anatomy.qkv_bias)
    sheet.linear("self_attn.q_proj", wide, shape.hidden, bias=bias, layers=layers)
    for name in ("k_proj", "v_proj"):
        sheet.linear(f"self_attn.{name}", kv, shape.hidden, split=Split.KV, heads=kv_heads, bias=bias, layers=layers)
    out_bias = shape.says(anatomy.o_bias)
    sheet.linear("self_attn.o_proj", shape.hidden, inner, bias=out_bias, divided_bias=False, layers=layers)
    if shape.says(anatomy.qk_norm):
        _qk_norms(sheet, shape, layers, size)


def _qk_norms(sheet: Sheet, shape: Shape, layers: Sequence[int], head: int) -> None:
    assert shape.anatomy is not None
    size = shape.anatomy.qk_norm_size
    if size == "head":
        for name in ("q_norm", "k_norm"):
            sheet.vector(f"self_attn.{name}.weight", head, layers=layers)
        return
    split = {"full": (Split.NONE, Split.NONE), "heads": (Split.EVEN, Split.KV)}[size]
    sheet.vector("self_attn.q_norm.weight", shape.heads * shape.head_dim, split=split[0], layers=layers)
    sheet.vector("self_attn.k_norm.weight", shape.kv_heads * shape.head_dim, split=split[1], layers=layers)


def _latent_attention(sheet: Sheet, shape: Shape, layers: list[int]) -> None:
    text, hidden, heads = shape.text, shape.hidden, shape.heads
    rank, rope, nope = text["kv_lora_rank"], text["qk_rope_head_dim"], text["qk_nope_head_dim"]
    value = int(first(text, "v_head_dim", default=shape.hidden // heads))
    query = heads * (nope + rope)
    bias = bool(text.get("attention_bias"))
    if text.get("q_lora_rank"):
        sheet.linear("self_attn.q_a_proj", text["q_lora_rank"], hidden, split=Split.NONE, bias=bias, layers=layers)
        sheet.vector("self_attn.q_a_layernorm.weight", text["q_lora_rank"], layers=layers)
        sheet.linear("self_attn.q_b_proj", query, text["q_lora_rank"], layers=layers)
    else:
        sheet.linear("self_attn.q_proj", query, hidden, layers=layers)
    sheet.linear("self_attn.kv_a_proj_with_mqa", rank + rope, hidden, split=Split.NONE, bias=bias, layers=layers)
    sheet.vector("self_attn.kv_a_layernorm.weight", rank, layers=layers)
    sheet.linear("self_attn.kv_b_proj", heads * (nope + value), rank, layers=layers)
    sheet.linear("self_attn.o_proj", hidden, heads * value, bias=bias, divided_bias=False, layers=layers)


def _mlp(sheet: Sheet, shape: Shape) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    layers = [n for n in range(shape.layers) if _has_mlp(shape, n)]
    inner = shape.intermediate
    if shape.decoder == "Llama4ForCausalLM":
        inner = int(shape.text.get("intermediate_size_mlp") or inner)
    if not layers or not inner:
        return
    bias = shape.says(anatomy.mlp_bias)
    if anatomy.gated:
        sheet.linear("mlp.gate_proj", inner, shape.hidden, bias=bias, layers=layers)
    sheet.linear("mlp.up_proj", inner, shape.hidden, bias=bias, layers=layers)
    sheet.linear("mlp.down_proj", shape.hidden, inner, bias=bias, divided_bias=False, layers=layers)


def _has_mlp(shape: Shape, layer: int) -> bool:
    if shape.decoder == "Mamba2ForCausalLM":
        return False
    if shape.has_experts(layer):
        return shape.anatomy is not None and shape.anatomy.experts == "beside mlp"
    pattern = shape.text.get("hybrid_override_pattern")
    return pattern[layer] == "-" if isinstance(pattern, str) else True


def _norms(sheet: Sheet, shape: Shape) -> None:
    anatomy = shape.anatomy
    assert anatomy is not None
    count = anatomy.norms + (3 if anatomy.experts == "beside mlp" and shape.has_experts(0) else 0)
    if shape.decoder == "FalconForCausalLM" and shape.text.get("new_decoder_architecture"):
        count = int(first(shape.text, "num_ln_in_parallel_attn", default=2))
    elif shape.decoder == "FalconForCausalLM" and not shape.text.get("parallel_attn", True):
        count = 2
    elif shape.decoder == "StableLmForCausalLM" and shape.text.get("use_parallel_residual"):
        count = 1
    if count:
        everywhere = range(shape.layers)
        sheet.vector("norms.weight", count, shape.hidden, layers=everywhere)
        if anatomy.norm_bias:
            sheet.vector("norms.bias", count, shape.hidden, layers=everywhere)
