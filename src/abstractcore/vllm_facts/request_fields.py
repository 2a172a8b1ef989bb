"""The fields of requests that every known version of vLLM reads, for servers that hide which they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_BOTH: Final = frozenset(
    {
        "add_special_tokens", "echo", "frequency_penalty", "ignore_eos", "include_stop_str_in_output", "length_penalty",
        "logit_bias", "logprobs", "max_tokens", "min_p", "min_tokens", "model", "n", "presence_penalty", "priority",
        "prompt_logprobs", "repetition_penalty", "response_format", "return_tokens_as_token_ids", "seed",
        "skip_special_tokens", "spaces_between_special_tokens", "stop", "stop_token_ids", "stream", "stream_options",
        "temperature", "top_k", "top_p", "truncate_prompt_tokens", "use_beam_search", "user",
    }
)  # fmt: skip
UNIVERSAL_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "/v1/chat/completions": _BOTH
    | {
        "add_generation_prompt", "chat_template", "chat_template_kwargs", "continue_final_message", "documents",
        "max_completion_tokens", "messages", "mm_processor_kwargs", "parallel_tool_calls", "request_id", "tool_choice",
        "tools", "top_logprobs",
    },
    "/v1/completions": _BOTH | {"allowed_token_ids", "prompt", "suffix"},
}  # fmt: skip
"""In the request schemas of all versions from 0.8.5 to 0.32.0, by path."""
