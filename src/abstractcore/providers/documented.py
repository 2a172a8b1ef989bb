"""Fields of requests that the protocols' documentation lists, for backends that don't say themselves what they read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..wire.anthropic import COUNTED

DOCUMENTED: Final[Mapping[str, frozenset[str]]] = {
    "/v1/responses": frozenset({
        "background", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
        "max_tool_calls", "metadata", "model", "moderation", "parallel_tool_calls", "previous_response_id", "prompt",
        "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools",
        "top_logprobs", "top_p", "truncation", "user",
    }),
    "/v1/messages": frozenset({
        "cache_control", "container", "context_management", "diagnostics", "inference_geo", "max_tokens", "mcp_servers",
        "messages", "metadata", "model", "output_config", "service_tier", "speed", "stop_sequences", "stream", "system",
        "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p", "user_profile_id",
    }),
    "/v1/messages/count_tokens": frozenset({*COUNTED, "context_management", "mcp_servers"}),
    "/v1/embeddings": frozenset({"dimensions", "encoding_format", "input", "model", "user"}),
}  # fmt: skip
"""By path."""
