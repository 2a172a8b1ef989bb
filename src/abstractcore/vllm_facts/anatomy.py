"""How vLLM builds the decoder of each architecture, as far as config.json does not say it: one row an architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Fact: TypeAlias = bool | tuple[str, bool]
"""A fact, or the name of the configuration entry that tells it and what holds when it is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What the layers of one architecture consist of. The defaults describe Llama."""

    attention: Literal["heads", "mla", "latent heads"] = "heads"
    """``latent heads``: compressed weights as in MLA, but keys and values are cached for each head."""
    qkv_bias: Fact = ("attention_bias", False)
    o_bias: Fact = ("attention_bias", False)
    qk_norm: Fact = False
    qk_norm_size: Literal["head", "full", "heads"] = "head"
    """Elements of the norm: a head's, all heads' and replicated, or all heads' and divided."""
    gated: bool = True
    mlp_bias: Fact = ("mlp_bias", False)
    norms: int = 2
    """A layer's norms on the hidden state."""
    norm_bias: bool = False
    tied: bool = False
    """Whether the embedding is the output matrix too, where the configuration does not say."""
    head_bias: Fact = False
    positions: int | None = None
    """Learned positions; the number says how many more rows there are than positions."""
    sinks: bool = False
    experts: Literal["all", "from first", "sparse step", "interval", "interleave", "period", "beside mlp", "none"] = (
        "none"
    )
    """Which layers have experts."""
    shared_gate: bool = False
    router_bias: bool = False
    router_correction: bool = False
    """The router has a correction of each expert's score."""
    states: Literal["none", "mamba", "mamba2", "delta net", "short conv", "beside attention"] = "none"
    """Layers that keep a state in place of keys and values; ``beside attention``: each layer has both."""
    output_gate: Fact = False
    """The query projection is twice as wide."""
    generic: bool = False
    """vLLM runs it through its Transformers backend."""


_L: Final = Anatomy()
_GEMMA: Final = Anatomy(tied=True)
_QWEN2: Final = Anatomy(qkv_bias=("qkv_bias", True), o_bias=False)
_QWEN3: Final = Anatomy(qk_norm=True)
_MLA: Final = Anatomy(attention="mla", experts="from first", router_correction=False)
_GEMMA3: Final = Anatomy(tied=True, norms=4, qk_norm=True)
_HYBRID: Final = Anatomy(norms=1, states="mamba2")
_NEXT: Final = Anatomy(qk_norm=True, states="delta net", output_gate=("attn_output_gate", True))
_NEXT_MOE: Final = Anatomy(
    qk_norm=True, states="delta net", output_gate=("attn_output_gate", True), experts="sparse step", shared_gate=True
)

ANATOMY: Final[dict[str, Anatomy]] = {
    "ApertusForCausalLM": Anatomy(qk_norm=("qk_norm", True), gated=False),
    "ArceeForCausalLM": Anatomy(gated=False, generic=True),
    "AquilaForCausalLM": _L,
    "BaichuanForCausalLM": _L,
    "BailingMoeForCausalLM": Anatomy(
        qkv_bias=("use_qkv_bias", False), o_bias=("use_bias", False), experts="from first"
    ),
    "BailingMoeV2ForCausalLM": Anatomy(
        qkv_bias=("use_qkv_bias", False), o_bias=("use_bias", False), qk_norm=("use_qk_norm", False),
        experts="from first", router_correction=True,
    ),
    "BloomForCausalLM": Anatomy(
        qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_bias=True, tied=True
    ),
    "CohereForCausalLM": Anatomy(norms=1, tied=True, qk_norm=("use_qk_norm", False), qk_norm_size="heads"),
    "Cohere2ForCausalLM": Anatomy(norms=1, tied=True, qk_norm=("use_qk_norm", False), qk_norm_size="heads"),
    "CwmForCausalLM": Anatomy(generic=True),
    "DeepseekForCausalLM": Anatomy(experts="from first"),
    "DeepseekV2ForCausalLM": _MLA,
    "DeepseekV3ForCausalLM": Anatomy(attention="mla", experts="from first", router_correction=True),
    "Ernie4_5ForCausalLM": Anatomy(
        qkv_bias=("use_bias", False), o_bias=("use_bias", False), mlp_bias=("use_bias", False)
    ),
    "Ernie4_5_MoeForCausalLM": Anatomy(
        qkv_bias=("use_bias", False), o_bias=("use_bias", False), mlp_bias=("use_bias", False), experts="interval",
        router_correction=True,
    ),
    "ExaoneForCausalLM": _L,
    "Exaone4ForCausalLM": Anatomy(qk_norm=True),
    "FalconForCausalLM": Anatomy(
        qkv_bias=("bias", False), o_bias=("bias", False), gated=False, mlp_bias=("bias", False), norms=1,
        norm_bias=True, tied=True,
    ),
    "FalconH1ForCausalLM": Anatomy(
        qkv_bias=("attention_bias", False), mlp_bias=("mlp_bias", False), states="beside attention"
    ),
    "GemmaForCausalLM": _GEMMA,
    "Gemma2ForCausalLM": Anatomy(tied=True, norms=4),
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma4ForCausalLM": Anatomy(tied=True, norms=4, qk_norm=True, experts="beside mlp"),
    "Glm4ForCausalLM": Anatomy(qkv_bias=("attention_bias", True), o_bias=False, norms=4),
    "GlmForCausalLM": Anatomy(qkv_bias=("attention_bias", True), o_bias=False, generic=True),
    "Glm4MoeForCausalLM": Anatomy(
        qkv_bias=("attention_bias", True), o_bias=False, qk_norm=("use_qk_norm", False), experts="from first",
        router_correction=True,
    ),
    "Glm4MoeLiteForCausalLM": Anatomy(attention="mla", experts="from first", router_correction=True),
    "GPT2LMHeadModel": Anatomy(
        qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_bias=True, tied=True, positions=0
    ),
    "GPTBigCodeForCausalLM": Anatomy(
        qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_bias=True, tied=True, positions=0, generic=True
    ),
    "GPTJForCausalLM": Anatomy(
        qkv_bias=False, o_bias=False, gated=False, mlp_bias=True, norms=1, norm_bias=True, head_bias=True
    ),
    "GPTNeoXForCausalLM": Anatomy(
        qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norm_bias=True, generic=True
    ),
    "GptOssForCausalLM": Anatomy(
        qkv_bias=True, o_bias=True, mlp_bias=True, sinks=True, experts="all", router_bias=True
    ),
    "GraniteForCausalLM": _L,
    "GraniteMoeForCausalLM": Anatomy(experts="all"),
    "GraniteMoeSharedForCausalLM": Anatomy(experts="all"),
    "GraniteMoeHybridForCausalLM": Anatomy(experts="all", states="mamba2"),
    "HunYuanDenseV1ForCausalLM": Anatomy(qk_norm=("use_qk_norm", True), generic=True),
    "InternLM2ForCausalLM": Anatomy(qkv_bias=("bias", False), o_bias=("bias", False)),
    "InternLM3ForCausalLM": Anatomy(qkv_bias=("qkv_bias", False), o_bias=("bias", False), mlp_bias=("bias", False)),
    "JambaForCausalLM": Anatomy(states="mamba", experts="period"),
    "Lfm2ForCausalLM": Anatomy(qk_norm=True, states="short conv", tied=True),
    "Lfm2MoeForCausalLM": Anatomy(
        qk_norm=True, states="short conv", tied=True, experts="from first", router_correction=True
    ),
    "LlamaForCausalLM": _L,
    "Llama4ForCausalLM": Anatomy(experts="interleave"),
    "Mamba2ForCausalLM": _HYBRID,
    "MiMoForCausalLM": Anatomy(qkv_bias=("attention_bias", True), o_bias=False),
    "MiniCPMForCausalLM": Anatomy(tied=True),
    "MiniCPM3ForCausalLM": Anatomy(attention="latent heads", tied=True),
    "MiniMaxM2ForCausalLM": Anatomy(
        qk_norm=("use_qk_norm", True), qk_norm_size="heads", experts="all", router_correction=True
    ),
    "Ministral3ForCausalLM": _L,
    "MistralForCausalLM": _L,
    "MixtralForCausalLM": Anatomy(experts="all"),
    "NemotronForCausalLM": Anatomy(gated=False, norm_bias=True),
    "NemotronHForCausalLM": Anatomy(norms=1, states="mamba2", gated=False, router_correction=True),
    "OlmoForCausalLM": Anatomy(norms=0, generic=True),
    "Olmo2ForCausalLM": Anatomy(qk_norm=True, qk_norm_size="full", generic=True),
    "Olmo3ForCausalLM": Anatomy(qk_norm=True, qk_norm_size="full", generic=True),
    "OlmoeForCausalLM": Anatomy(qk_norm=True, qk_norm_size="heads", experts="all"),
    "OPTForCausalLM": Anatomy(
        qkv_bias=("enable_bias", True), o_bias=("enable_bias", True), gated=False, mlp_bias=("enable_bias", True),
        norm_bias=True, tied=True, positions=2,
    ),
    "OrionForCausalLM": Anatomy(norm_bias=True),
    "PhiForCausalLM": Anatomy(
        qkv_bias=True, o_bias=True, gated=False, mlp_bias=True, norms=1, norm_bias=True, generic=True
    ),
    "Phi3ForCausalLM": _L,
    "PhiMoEForCausalLM": Anatomy(
        qkv_bias=("attention_bias", False), o_bias=("attention_bias", False), norm_bias=True,
        head_bias=("lm_head_bias", False), experts="all",
    ),
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen2MoeForCausalLM": Anatomy(
        qkv_bias=("qkv_bias", True), o_bias=False, experts="sparse step", shared_gate=True
    ),
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": Anatomy(qk_norm=True, experts="sparse step"),
    "Qwen3NextForCausalLM": _NEXT_MOE,
    "Qwen3_5ForCausalLM": _NEXT,
    "Qwen3_5MoeForCausalLM": _NEXT_MOE,
    "SeedOssForCausalLM": Anatomy(
        qkv_bias=("attention_bias", True), o_bias=("attention_out_bias", False), generic=True
    ),
    "SmolLM3ForCausalLM": Anatomy(tied=True, generic=True),
    "SolarForCausalLM": _L,
    "StableLmForCausalLM": Anatomy(qkv_bias=("use_qkv_bias", False), o_bias=False, norm_bias=True),
    "Starcoder2ForCausalLM": Anatomy(
        qkv_bias=("use_bias", True), o_bias=("use_bias", True), gated=False, mlp_bias=("use_bias", True),
        norm_bias=True, tied=True, generic=True,
    ),
    "TeleChat3ForCausalLM": _L,
    "XverseForCausalLM": _L,
}  # fmt: skip
"""Text decoders. What is not here is planned from its tensors, if its attention is plain."""

INNER: Final[dict[str, str]] = {
    "AyaVisionForConditionalGeneration": "CohereForCausalLM",
    "Cohere2VisionForConditionalGeneration": "Cohere2ForCausalLM",
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "Gemma4ForConditionalGeneration": "Gemma4ForCausalLM",
    "Glm4vForConditionalGeneration": "Glm4ForCausalLM",
    "Glm4vMoeForConditionalGeneration": "Glm4MoeForCausalLM",
    "InternVLChatModel": "Qwen2ForCausalLM",
    "KimiVLForConditionalGeneration": "DeepseekV3ForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "LlavaForConditionalGeneration": "LlamaForCausalLM",
    "LlavaNextForConditionalGeneration": "LlamaForCausalLM",
    "Mistral3ForConditionalGeneration": "MistralForCausalLM",
    "PixtralForConditionalGeneration": "MistralForCausalLM",
    "Qwen2VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen3VLForConditionalGeneration": "Qwen3ForCausalLM",
    "Qwen3VLMoeForConditionalGeneration": "Qwen3MoeForCausalLM",
    "Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForConditionalGeneration": "Qwen3_5MoeForCausalLM",
}
"""Models that take images: the text decoder inside."""

EMBEDS_EVERYWHERE: Final = frozenset(
    {
        "BloomForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM", "FalconForCausalLM", "GemmaForCausalLM",
        "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma4ForCausalLM", "GPT2LMHeadModel", "GPTJForCausalLM",
        "GptOssForCausalLM", "GraniteMoeForCausalLM", "GraniteMoeHybridForCausalLM", "GraniteMoeSharedForCausalLM",
        "InternLM2ForCausalLM", "JambaForCausalLM", "Lfm2ForCausalLM", "Mamba2ForCausalLM", "MiniCPMForCausalLM",
        "MiniCPM3ForCausalLM", "MixtralForCausalLM", "NemotronHForCausalLM", "OlmoeForCausalLM", "OPTForCausalLM",
        "OrionForCausalLM", "PhiMoEForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM",
        "Qwen3NextForCausalLM", "Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM", "StableLmForCausalLM",
    }
)  # fmt: skip
"""Decoders that hold the embedding on every stage of a pipeline."""

SINCE: Final[dict[str, tuple[int, int, int]]] = {
    "ApertusForCausalLM": (0, 10, 2), "ArceeForCausalLM": (0, 9, 2), "Ernie4_5ForCausalLM": (0, 10, 0),
    "Ernie4_5_MoeForCausalLM": (0, 10, 0), "Exaone4ForCausalLM": (0, 10, 0), "FalconH1ForCausalLM": (0, 9, 0),
    "Gemma4ForConditionalGeneration": (0, 19, 0), "Glm4MoeForCausalLM": (0, 10, 0), "GptOssForCausalLM": (0, 10, 1),
    "GraniteMoeHybridForCausalLM": (0, 9, 0), "HunYuanDenseV1ForCausalLM": (0, 10, 0), "Lfm2ForCausalLM": (0, 11, 0),
    "MiMoForCausalLM": (0, 9, 0), "MiniMaxM2ForCausalLM": (0, 11, 1), "NemotronHForCausalLM": (0, 9, 0),
    "Olmo3ForCausalLM": (0, 11, 0), "Qwen3NextForCausalLM": (0, 10, 2), "Qwen3VLForConditionalGeneration": (0, 11, 0),
    "Qwen3_5ForConditionalGeneration": (0, 17, 0), "Qwen3_5MoeForConditionalGeneration": (0, 17, 0),
    "SeedOssForCausalLM": (0, 10, 1), "SmolLM3ForCausalLM": (0, 10, 0),
}  # fmt: skip
"""The release that first ran an architecture, where that is later than the oldest row of the tables."""
