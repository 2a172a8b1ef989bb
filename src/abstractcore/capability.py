"""What each backend can do: data that the code obeys and the documentation is generated from.

A backend has a capability only if a row here says so. A *promise* that is unsupported raises before anything is sent;
a *knob* that is unsupported is left out, said in the answer's metadata and warned about once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Support(StrEnum):
    """How a backend does something."""

    NATIVE = "native"
    EMULATED = "emulated"
    UNSUPPORTED = "unsupported"


class Capability(StrEnum):
    """The promises that a caller may rely on."""

    CHAT = "chat"
    STREAMING = "streaming"
    COMPLETIONS = "completions"
    STRUCTURED_OUTPUT = "structured_output"
    GUIDED_DECODING = "guided_decoding"
    GUIDED_JSON = "guided_json"
    GUIDED_REGEX = "guided_regex"
    GUIDED_GRAMMAR = "guided_grammar"
    GUIDED_CHOICE = "guided_choice"
    SEED = "seed"
    STOP = "stop"
    MULTIPLE_ANSWERS = "n"
    LOGPROBS = "logprobs"
    TOOLS = "tools"
    MULTI_LORA = "multi_lora"
    BEAM_SEARCH = "beam_search"
    BEST_OF = "best_of"
    EMBEDDINGS = "embeddings"
    RERANKING = "reranking"
    COUNT_TOKENS = "count_tokens"
    THINKING = "thinking"
    IMAGES = "images"
    STRUCTURAL_TAG = "guided_structural_tag"
    CHAT_TEMPLATE = "chat_template_kwargs"


_EVERYWHERE: Final = (Capability.CHAT, Capability.STREAMING, Capability.STRUCTURED_OUTPUT)


def _row(native: Iterable[Capability], emulated: Iterable[Capability] = ()) -> Mapping[Capability, Support]:
    return {
        **dict.fromkeys((*_EVERYWHERE, *native), Support.NATIVE),
        **dict.fromkeys(emulated, Support.EMULATED),
    }


_IN_PROCESS: Final = _row(
    native=(
        Capability.COMPLETIONS, Capability.GUIDED_DECODING, Capability.GUIDED_JSON, Capability.GUIDED_CHOICE,
        Capability.GUIDED_REGEX, Capability.GUIDED_GRAMMAR, Capability.SEED, Capability.STOP,
        Capability.MULTIPLE_ANSWERS, Capability.LOGPROBS, Capability.MULTI_LORA, Capability.COUNT_TOKENS,
        Capability.CHAT_TEMPLATE,
    ),
)  # fmt: skip
"""Of models in this process that are generated from token by token."""

CAPABILITIES: Final[dict[str, Mapping[Capability, Support]]] = {
    "openai": _row(
        native=(
            Capability.COMPLETIONS, Capability.GUIDED_JSON, Capability.SEED, Capability.STOP,
            Capability.MULTIPLE_ANSWERS, Capability.LOGPROBS, Capability.TOOLS, Capability.EMBEDDINGS,
            Capability.THINKING, Capability.IMAGES,
        ),
        emulated=(Capability.GUIDED_CHOICE, Capability.GUIDED_REGEX),
    ),
    "anthropic": _row(
        native=(
            Capability.GUIDED_JSON, Capability.STOP, Capability.TOOLS, Capability.COUNT_TOKENS, Capability.THINKING,
            Capability.IMAGES,
        ),
        emulated=(Capability.GUIDED_CHOICE, Capability.GUIDED_REGEX),
    ),
    "ollama": _row(
        native=(
            Capability.COMPLETIONS, Capability.GUIDED_JSON, Capability.SEED, Capability.STOP, Capability.LOGPROBS,
            Capability.TOOLS, Capability.EMBEDDINGS, Capability.THINKING, Capability.IMAGES,
        ),
        emulated=(Capability.GUIDED_CHOICE, Capability.GUIDED_REGEX),
    ),
    "lmstudio": _row(
        native=(
            Capability.COMPLETIONS, Capability.GUIDED_JSON, Capability.SEED, Capability.STOP, Capability.TOOLS,
            Capability.EMBEDDINGS, Capability.IMAGES,
        ),
        emulated=(Capability.GUIDED_CHOICE, Capability.GUIDED_REGEX),
    ),
    "mlx": _IN_PROCESS,
    "huggingface": _IN_PROCESS,
    "vllm": _row(
        native=(
            Capability.COMPLETIONS, Capability.GUIDED_DECODING, Capability.GUIDED_JSON, Capability.GUIDED_REGEX,
            Capability.GUIDED_GRAMMAR, Capability.GUIDED_CHOICE, Capability.STRUCTURAL_TAG, Capability.SEED,
            Capability.STOP, Capability.MULTIPLE_ANSWERS, Capability.LOGPROBS, Capability.MULTI_LORA,
            Capability.BEAM_SEARCH, Capability.EMBEDDINGS, Capability.RERANKING, Capability.COUNT_TOKENS,
            Capability.THINKING, Capability.IMAGES, Capability.TOOLS, Capability.CHAT_TEMPLATE,
        ),
        emulated=(Capability.BEST_OF,),
    ),
}  # fmt: skip

ENGINES: Final[Mapping[str, Mapping[Capability, Support]]] = {
    # llama.cpp: tool_choice "required" was seen to be ignored, and adapters are of a kind of their own.
    "gguf": _row(
        native=(
            Capability.COMPLETIONS, Capability.GUIDED_DECODING, Capability.GUIDED_JSON, Capability.GUIDED_CHOICE,
            Capability.GUIDED_REGEX, Capability.GUIDED_GRAMMAR, Capability.SEED, Capability.STOP,
            Capability.MULTIPLE_ANSWERS, Capability.LOGPROBS, Capability.EMBEDDINGS, Capability.COUNT_TOKENS,
            Capability.CHAT_TEMPLATE,
        ),
    ),
}  # fmt: skip
"""Rows of engines that do other things than their provider's row says: ``huggingface`` asks GGUF files by ``gguf``."""

_OPENAI_KNOBS: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
KNOBS: Final[dict[str, frozenset[str]]] = {
    "openai": _OPENAI_KNOBS,
    "anthropic": frozenset({"temperature", "top_p", "top_k"}),
    "ollama": _OPENAI_KNOBS | {"top_k", "min_p", "repetition_penalty"},
    "lmstudio": _OPENAI_KNOBS | {"top_k", "repetition_penalty"},
    "mlx": _OPENAI_KNOBS | {"top_k", "min_p", "repetition_penalty"},
    "huggingface": _OPENAI_KNOBS | {"top_k", "min_p", "repetition_penalty"},
    "vllm": _OPENAI_KNOBS | {"top_k", "min_p", "repetition_penalty", "priority"},
}
"""Sampling knobs that a backend has, by their names in ``generate``. What is not here is left out of the request,
named in the answer's metadata and warned about once."""


def declare(provider: str, capabilities: Mapping[Capability, Support], knobs: frozenset[str] = frozenset()) -> None:
    """Adds the rows of a backend that comes from another package."""
    CAPABILITIES[provider] = capabilities
    KNOBS[provider] = knobs


def support(provider: str, capability: Capability) -> Support:
    """How a provider, or an engine, does something; what no row names is unsupported."""
    return (CAPABILITIES.get(provider) or ENGINES.get(provider, {})).get(capability, Support.UNSUPPORTED)
