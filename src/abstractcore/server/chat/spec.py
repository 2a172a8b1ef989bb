"""Chat and text completions in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

from ..spec import Spec
from .types import ChatAnswer, ChatChunk, ChatRequest, CompletionAnswer, CompletionRequest

_ASK: Final[list[dict[str, Any]]] = [{"role": "user", "content": "Name three colours."}]
_MODEL: Final = "vllm/smollm2"
_SCHEMA: Final = {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}

CHAT: Final = Spec(
    about="OpenAI's request, with vLLM's fields beside it. A field that the backend does not read is refused.",
    body=ChatRequest,
    answer=ChatAnswer,
    event=ChatChunk,
    fails=(404, 422),
    examples={
        "a chat": {"model": _MODEL, "messages": _ASK, "max_tokens": 64},
        "a stream": {"model": _MODEL, "messages": _ASK, "max_tokens": 64, "stream": True},
        "an answer that matches a regular expression": {
            "model": _MODEL,
            "messages": [{"role": "user", "content": "Is 7 a prime? yes or no"}],
            "guided_regex": "yes|no",
        },
        "an answer that satisfies a JSON schema": {
            "model": _MODEL,
            "messages": _ASK,
            "max_tokens": 64,
            "response_format": {"type": "json_schema", "json_schema": {"name": "colours", "schema": _SCHEMA}},
        },
    },
)
TEXT: Final = Spec(
    about="The text goes to the model as it is, without a chat template.",
    body=CompletionRequest,
    answer=CompletionAnswer,
    event=CompletionAnswer,
    fails=(404, 422),
    examples={
        "a text to continue": {"model": _MODEL, "prompt": "The sky is", "max_tokens": 16},
        "one of two words": {"model": _MODEL, "prompt": "7 is a prime: ", "guided_choice": ["yes", "no"]},
    },
)
