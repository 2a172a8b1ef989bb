"""A config.json read into one vocabulary: the numbers that decide what a model needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ...errors import ConfigurationError
from ...vllm_facts.anatomy import ANATOMY, INNER, Anatomy, Fact
from .quantization import Scheme, scheme_of

Config = Mapping[str, Any]
Kind = Literal["attention", "state", "mlp", "both"]
"""What a layer mixes tokens with; ``both`` in parallel, ``mlp`` not at all."""

DEFAULTS: Final[dict[str, Config]] = {
    # What the configuration classes fill in where published files leave entries out.
    "llama": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
              "vocab_size": 32000, "max_position_embeddings": 2048},
    "gemma3_text": {"hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "num_attention_heads": 8,
                    "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208, "sliding_window": 4096,
                    "max_position_embeddings": 131072},
    "mistral": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
                "num_key_value_heads": 8, "vocab_size": 32000, "max_position_embeddings": 131072},
    "bloom": {"num_attention_heads": 8}, "gpt2": {"n_inner": None},
    "mamba2": {"head_dim": 64},
}  # fmt: skip


def first(config: Config, *names: str, default: Any = None) -> Any:
    """The first entry that is there and not null."""
    for name in names:
        if config.get(name) is not None:
            return config[name]
    return default


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model in numbers."""

    architecture: str
    """As config.json names it."""
    decoder: str
    """The text decoder's architecture."""
    anatomy: Anatomy | None
    """How its layers are built; ``None`` where that is not known."""
    config: Config
    text: Config
    """The part of the configuration that describes the text decoder."""
    scheme: Scheme
    dtype: str
    """Of the checkpoint: ``bfloat16``, ``float16`` or ``float32``."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_position: int | None
    tied: bool

    def says(self, fact: Fact) -> bool:
        """Whether something holds for this model."""
        return fact if isinstance(fact, bool) else bool(first(self.text, fact[0], default=fact[1]))

    @property
    def is_mla(self) -> bool:
        """Keys and values are cached as one latent vector."""
        return self.anatomy.attention == "mla" if self.anatomy else "kv_lora_rank" in self.text

    @property
    def experts(self) -> int:
        """Routed experts of a layer that has any."""
        names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
        found = first(self.text, *names, default=0)
        return int(found[0] if isinstance(found, list) else found)

    @property
    def experts_per_token(self) -> int:
        """Experts that each token goes to."""
        names = ("num_experts_per_tok", "experts_per_token", "moe_k", "moe_topk", "top_k_experts")
        found = first(self.text, *names, default=1)
        return int(found[0] if isinstance(found, list) else found)

    @property
    def expert_size(self) -> int:
        """Inner width of one expert."""
        found = first(self.text, "moe_intermediate_size", "intermediate_size", default=0)
        return int(found[0] if isinstance(found, list) else found)

    def has_experts(self, layer: int) -> bool:
        """Whether a layer has routed experts."""
        rule = self.anatomy.experts if self.anatomy else "none"
        if rule == "none" or self.experts <= (1 if rule == "period" else 0):
            return False
        return bool(_EXPERT_LAYERS[rule](self.text, layer))

    def kind(self, layer: int) -> Kind:
        """What a layer is."""
        states = self.anatomy.states if self.anatomy else "none"
        if states == "none":
            return "attention"
        if states == "beside attention":
            return "both"
        pattern = self.text.get("hybrid_override_pattern") or self.text.get("layers_block_type")
        if isinstance(pattern, str):
            return {"M": "state", "*": "attention"}.get(pattern[layer], "mlp")  # type: ignore[return-value]
        names = self.text.get("layer_types") or pattern
        if names:
            return "attention" if "attention" in names[layer] and "linear" not in names[layer] else "state"
        return _attention_by_period(self.text, layer, states)


def _attention_by_period(text: Config, layer: int, states: str) -> Kind:
    if text.get("full_attn_idxs") is not None:
        return "attention" if layer in text["full_attn_idxs"] else "state"
    if text.get("attn_layer_period"):
        is_attention = layer % text["attn_layer_period"] == text.get("attn_layer_offset", 0)
    elif states == "delta net":
        is_attention = (layer + 1) % int(text.get("full_attention_interval") or 4) == 0
    else:
        is_attention = False
    return "attention" if is_attention else "state"


_EXPERT_LAYERS: Final[dict[str, Callable[[Config, int], Any]]] = {
    "all": lambda text, layer: True,
    "beside mlp": lambda text, layer: bool(text.get("enable_moe_block")),
    "from first": lambda text, layer: (
        layer >= first(text, "first_k_dense_replace", "num_dense_layers", default=0)
        and layer % (text.get("moe_layer_freq") or 1) == 0
    ),
    "sparse step": lambda text, layer: (
        layer not in (text.get("mlp_only_layers") or ()) and (layer + 1) % (text.get("decoder_sparse_step") or 1) == 0
    ),
    "interval": lambda text, layer: (
        text.get("moe_layer_start_index", 0)
        <= layer
        <= (text["num_hidden_layers"] - 1 if text.get("moe_layer_end_index", -1) == -1 else text["moe_layer_end_index"])
        and (layer + 1) % (text.get("moe_layer_interval") or 1) == 0
    ),
    "interleave": lambda text, layer: (layer + 1) % (text.get("interleave_moe_layer_step") or 1) == 0,
    "period": lambda text, layer: (
        layer % (text.get("expert_layer_period") or 1) == (text.get("expert_layer_offset") or 0)
    ),
}


def text_config(config: Config) -> Config:
    """The part of a configuration that describes the text decoder, with the entries that its class fills in."""
    inner = next((config[k] for k in ("text_config", "llm_config", "language_config") if config.get(k)), config)
    merged = {**DEFAULTS.get(str(inner.get("model_type")), {}), **inner}
    if inner is not config and "tie_word_embeddings" not in inner and "tie_word_embeddings" in config:
        merged["tie_word_embeddings"] = config["tie_word_embeddings"]
    return merged


def shape_of(config: Config, extra_quantization: Config | None = None) -> Shape:
    """Reads a config.json.

    Raises:
        ConfigurationError: It names no architecture, or lacks what every decoder has.
    """
    named = config.get("architectures") or ()
    if not named:
        raise ConfigurationError(
            "config.json names no architecture",
            why=f'"architectures" is missing; model_type is {config.get("model_type")!r}',
            hint="take the config.json of a complete Transformers checkpoint",
        )
    architecture = str(named[0])
    text = text_config(config)
    decoder = _decoder(architecture, text)
    anatomy = ANATOMY.get(decoder)
    sizes = _sizes(text, architecture)
    tied = first(text, "tie_word_embeddings", default=anatomy.tied if anatomy else False)
    return Shape(
        architecture=architecture,
        decoder=decoder,
        anatomy=anatomy,
        config=config,
        text=text,
        scheme=scheme_of(config, extra_quantization),
        dtype=_dtype(config, text),
        tied=bool(tied),
        **sizes,
    )


def _decoder(architecture: str, text: Config) -> str:
    inner = text.get("architectures")
    if architecture in INNER:
        if inner and inner[0] in ANATOMY:
            return str(inner[0])
        by_type = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM",
                   "mistral": "MistralForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}  # fmt: skip
        return by_type.get(str(text.get("model_type")), INNER[architecture])
    return architecture


def _dtype(config: Config, text: Config) -> str:
    found = first(text, "dtype", "torch_dtype") or first(config, "dtype", "torch_dtype")
    if isinstance(found, Mapping):
        found = found.get("")
    return str(found or "float32").removeprefix("torch.")


def _sizes(text: Config, architecture: str) -> dict[str, Any]:
    pick = {
        "hidden": first(text, "hidden_size", "n_embd", "d_model", "model_dim"),
        "layers": first(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        "vocab": first(text, "vocab_size", "padded_vocab_size"),
    }
    missing = [name for name, found in pick.items() if not isinstance(found, int)]
    if missing:
        raise ConfigurationError(
            f"config.json of {architecture} lacks: {', '.join(missing)}",
            why="no entry of the usual names is a number",
            hint="take the config.json of a complete Transformers checkpoint",
        )
    hidden = pick["hidden"]
    heads = first(text, "num_attention_heads", "n_head", "n_heads", "num_heads", default=0)
    kv_heads = _kv_heads(text, heads)
    head_dim = first(text, "head_dim", "attention_head_dim", "kv_channels") or (hidden // heads if heads else 0)
    inner = first(text, "intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "d_inner", default=4 * hidden)
    if text.get("block_auto_adjust_ff_dim"):
        inner = int(2 * inner / 3 * (text.get("block_ffn_dim_multiplier") or 1))
        multiple = text.get("block_multiple_of") or 256
        inner = multiple * ((inner + multiple - 1) // multiple)
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length", "n_ctx")
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        pick["layers"] = len(pattern)
    return pick | {
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": int(head_dim),
        "intermediate": int(inner[0] if isinstance(inner, list) else inner),
        "max_position": first(text, *names),
    }


def _kv_heads(text: Config, heads: int) -> int:
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    found = first(text, "num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", default=heads)
    return int(found)
