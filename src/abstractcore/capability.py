"""What each backend can do: data that the code obeys and the documentation is generated from.

A backend has a capability only if a row here says so. A *promise* that is unsupported raises before anything is sent;
a *knob* that is unsupported is left out, said in the answer's metadata and warned about once.
"""

from __future__ import annotations

from collections.abc import Mapping
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


CAPABILITIES: Final[Mapping[str, Mapping[Capability, Support]]] = {
    "vllm": {
        Capability.CHAT: Support.NATIVE,
        Capability.STREAMING: Support.NATIVE,
        Capability.COMPLETIONS: Support.NATIVE,
        Capability.STRUCTURED_OUTPUT: Support.NATIVE,
        Capability.GUIDED_DECODING: Support.NATIVE,
        Capability.GUIDED_JSON: Support.NATIVE,
        Capability.GUIDED_REGEX: Support.NATIVE,
        Capability.GUIDED_GRAMMAR: Support.NATIVE,
        Capability.GUIDED_CHOICE: Support.NATIVE,
        Capability.SEED: Support.NATIVE,
        Capability.STOP: Support.NATIVE,
        Capability.MULTIPLE_ANSWERS: Support.NATIVE,
        Capability.LOGPROBS: Support.NATIVE,
        Capability.MULTI_LORA: Support.NATIVE,
        Capability.BEAM_SEARCH: Support.NATIVE,
        Capability.BEST_OF: Support.EMULATED,
        Capability.EMBEDDINGS: Support.NATIVE,
        Capability.RERANKING: Support.NATIVE,
        Capability.COUNT_TOKENS: Support.NATIVE,
        Capability.THINKING: Support.NATIVE,
        Capability.IMAGES: Support.NATIVE,
        Capability.TOOLS: Support.NATIVE,
    },
}


def support(provider: str, capability: Capability) -> Support:
    """How a provider does something; what no row names is unsupported."""
    return CAPABILITIES.get(provider, {}).get(capability, Support.UNSUPPORTED)
