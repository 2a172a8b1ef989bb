"""The fields of requests for completions: which the gateway understands, and whose effect it checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..capability import Capability

CHAT: Final = "/v1/chat/completions"
TEXT: Final = "/v1/completions"

GUIDED: Final = frozenset(
    {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_structural_tag", "guided_json_object"}
)
PROMISES: Final = GUIDED | {
    "response_format", "structured_outputs", "tools", "tool_choice", "use_beam_search", "best_of", "length_penalty",
    "thinking", "on_cut", "emulate", "system_prompt",
}  # fmt: skip
"""Fields whose effect on the answer is checked, or that the gateway itself brings about."""
CAPABLE: Final[Mapping[str, Capability]] = {
    "n": Capability.MULTIPLE_ANSWERS,
    "seed": Capability.SEED,
    "stop": Capability.STOP,
    "logprobs": Capability.LOGPROBS,
    "top_logprobs": Capability.LOGPROBS,
    "chat_template_kwargs": Capability.CHAT_TEMPLATE,
}
"""Fields that are promises where a backend lacks what they ask for."""
OPTIONS: Final = PROMISES | {
    "model", "stream", "stream_options", "user", "max_tokens", "logprobs", "temperature", "top_p", "top_k", "min_p",
    "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "stop", "n", "priority",
}  # fmt: skip
"""Fields that the gateway understands whatever the backend lists: it negotiates them, or declares that it left them
out."""
OPTIONS_OF: Final = {
    CHAT: OPTIONS
    | {"messages", "max_completion_tokens", "top_logprobs", "parallel_tool_calls", "chat_template_kwargs"},
    TEXT: (OPTIONS | {"prompt"}) - {"tools", "tool_choice", "thinking", "system_prompt"},
}
