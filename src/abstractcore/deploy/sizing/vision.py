"""Image encoders in front of a text decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .shape import Config, Shape, first
from .sheet import Sheet


def add(sheet: Sheet, shape: Shape) -> None:
    """Adds the tensors of the image encoder, if there is one whose make is known."""
    config = shape.config.get("vision_config") or _DEFAULTS.get(shape.architecture)
    if not isinstance(config, dict):
        return
    build = _BUILDERS.get(shape.architecture)
    if build is not None:
        build(_Plain(sheet), config, shape)


def is_known(shape: Shape) -> bool:
    """Whether the image encoder's size can be told from the configuration."""
    return not shape.config.get("vision_config") or shape.architecture in _BUILDERS


class _Plain:
    """Encoders are rarely quantized: here their linears never are."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet

    def linear(self, out: int, into: int, count: int = 1, *, bias: bool = True, split: bool = True) -> None:
        """A matrix in each of ``count`` layers."""
        self._sheet.vector("vision.weight", out, into, copies=count, split=_split(split))
        if bias:
            self._sheet.vector("vision.bias", out, copies=count)

    def vector(self, *shape: int, count: int = 1) -> None:
        """What every rank holds."""
        self._sheet.vector("vision.vector", *shape, copies=count)


def _split(divided: bool) -> Any:  # noqa: FBT001
    from .tensors import Split

    return Split.EVEN if divided else Split.NONE


def _encoder(
    sheet: _Plain, depth: int, width: int, inner: int, *, bias: bool = True, gated: bool = False, norm_bias: bool = True
) -> None:
    for _ in range(4):
        sheet.linear(width, width, depth, bias=bias)
    for _ in range(2 if gated else 1):
        sheet.linear(inner, width, depth, bias=bias)
    sheet.linear(width, inner, depth, bias=bias)
    sheet.vector((4 if norm_bias else 2) * width, count=depth)


def _siglip(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width, depth = vision["hidden_size"], vision["num_hidden_layers"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    _encoder(sheet, depth, width, vision["intermediate_size"])
    sheet.linear(width, 3 * vision["patch_size"] ** 2, split=False)
    sheet.linear(patches, width, bias=False, split=False)
    sheet.vector(2 * width)
    sheet.linear(width, shape.hidden, bias=False, split=False)
    sheet.vector(width)


def _pixtral(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width, depth = vision["hidden_size"], vision["num_hidden_layers"]
    _encoder(sheet, depth, width, vision["intermediate_size"], bias=False, gated=True, norm_bias=False)
    sheet.linear(width, 3 * vision["patch_size"] ** 2, bias=False, split=False)
    sheet.vector(2 * width)
    merged = width * int(shape.config.get("spatial_merge_size") or 1) ** 2
    if merged != width:
        sheet.linear(width, merged, bias=False, split=False)
    bias = bool(shape.config.get("multimodal_projector_bias"))
    sheet.linear(shape.hidden, width, bias=bias)
    sheet.linear(shape.hidden, shape.hidden, bias=bias)


def _clip(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width = vision["hidden_size"]
    layer = shape.config.get("vision_feature_layer", -2)
    depth = (
        vision["num_hidden_layers"] + 1 + layer if isinstance(layer, int) and layer < 0 else vision["num_hidden_layers"]
    )
    _encoder(sheet, depth, width, vision["intermediate_size"])
    patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    sheet.linear(width, 3 * vision["patch_size"] ** 2, bias=False, split=False)
    sheet.linear(patches, width, bias=False, split=False)
    sheet.vector(3 * width)
    sheet.linear(shape.hidden, width)
    sheet.linear(shape.hidden, shape.hidden)


def _qwen2(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width = first(vision, "embed_dim", "hidden_size")
    ratio = vision.get("mlp_ratio")
    inner = first(vision, "intermediate_size", default=int(width * ratio) if ratio else 4 * width)
    gated = "Qwen2_5" in shape.architecture
    _encoder(sheet, vision["depth"], width, inner, gated=gated, norm_bias=not gated)
    _qwen_ends(sheet, vision, shape, width, norms=1 if gated else 2)


def _qwen3(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width = vision["hidden_size"]
    _encoder(sheet, vision["depth"], width, vision["intermediate_size"])
    sheet.linear(vision["num_position_embeddings"], width, bias=False, split=False)
    sheet.vector(width)  # the bias of the patches
    _qwen_ends(sheet, vision, shape, width, norms=2)
    merged = width * vision["spatial_merge_size"] ** 2
    for _ in vision.get("deepstack_visual_indexes") or ():
        sheet.linear(merged, merged)
        sheet.linear(int(vision["out_hidden_size"]), merged)
        sheet.vector(2 * merged)


def _qwen_ends(sheet: _Plain, vision: Config, shape: Shape, width: int, *, norms: int) -> None:
    channels = first(vision, "in_channels", "in_chans", default=3)
    sheet.linear(width, channels * vision["temporal_patch_size"] * vision["patch_size"] ** 2, bias=False, split=False)
    merged = width * vision["spatial_merge_size"] ** 2
    sheet.vector(norms * width)
    sheet.linear(merged, merged)
    sheet.linear(int(first(vision, "out_hidden_size", default=shape.hidden)), merged)


def _llama4(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width, depth = vision["hidden_size"], vision["num_hidden_layers"]
    _encoder(sheet, depth, width, vision["intermediate_size"])
    patches = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    sheet.linear(width, 3 * vision["patch_size"] ** 2, bias=False)
    sheet.linear(patches, width, bias=False, split=False)
    sheet.vector(5 * width)
    sheet.linear(vision["projector_input_dim"], vision["intermediate_size"], bias=False)
    sheet.linear(vision["projector_output_dim"], vision["projector_input_dim"], bias=False)
    sheet.linear(shape.hidden, vision["vision_output_dim"], bias=False)


def _moonvit(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width = vision["hidden_size"]
    _encoder(sheet, vision["num_hidden_layers"], width, vision["intermediate_size"])
    sheet.linear(width, 3 * vision["patch_size"] ** 2, split=False)
    sheet.linear(vision["init_pos_emb_height"] * vision["init_pos_emb_width"], width, bias=False, split=False)
    merged = width * vision["merge_kernel_size"][0] * vision["merge_kernel_size"][1]
    sheet.vector(4 * width)
    sheet.linear(merged, merged, split=False)
    sheet.linear(shape.hidden, merged, split=False)


def _gemma4(sheet: _Plain, vision: Config, shape: Shape) -> None:
    width, depth = vision["hidden_size"], vision["num_hidden_layers"]
    inner, heads = vision["intermediate_size"], vision.get("head_dim") or width // vision["num_attention_heads"]
    sheet.linear(width, width, 4 * depth, bias=False, split=False)
    sheet.linear(inner, width, 3 * depth, bias=False, split=False)
    sheet.vector(4 * width + 2 * heads, count=depth)
    sheet.vector(2 * vision["position_embedding_size"], width)
    sheet.linear(width, 3 * vision["patch_size"] ** 2, bias=False, split=False)
    sheet.linear(shape.hidden, width, bias=False, split=False)


_BUILDERS: Final[dict[str, Callable[[_Plain, Config, Shape], None]]] = {
    "Gemma3ForConditionalGeneration": _siglip,
    "Gemma4ForConditionalGeneration": _gemma4,
    "KimiVLForConditionalGeneration": _moonvit,
    "Llama4ForConditionalGeneration": _llama4,
    "LlavaForConditionalGeneration": _clip,
    "LlavaNextForConditionalGeneration": _clip,
    "Mistral3ForConditionalGeneration": _pixtral,
    "Qwen2VLForConditionalGeneration": _qwen2,
    "Qwen2_5_VLForConditionalGeneration": _qwen2,
    "Qwen3VLForConditionalGeneration": _qwen3,
    "Qwen3VLMoeForConditionalGeneration": _qwen3,
    "Qwen3_5ForConditionalGeneration": _qwen3,
    "Qwen3_5MoeForConditionalGeneration": _qwen3,
}
_DEFAULTS: Final[dict[str, Config]] = {
    "Llama4ForConditionalGeneration": {
        "hidden_size": 768, "intermediate_size": 5632, "num_hidden_layers": 34, "image_size": 448, "patch_size": 14,
        "vision_output_dim": 7680, "projector_input_dim": 4096, "projector_output_dim": 4096,
    }
}  # fmt: skip
"""What the configuration class fills in where the file says nothing of the encoder."""
