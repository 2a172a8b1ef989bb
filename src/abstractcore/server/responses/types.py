"""Requests and answers of responses, as OpenAI's clients write them: requests are held against these types.

A field that stands in none of them may still be one that the backend reads: it is passed on unseen.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from msgspec.json import Decoder

from ..spec import Parameter, Spec

Limit = Annotated[int, Meta(ge=1)]


class TextFormat(Struct, omit_defaults=True):
    """What the text must be."""

    type: Annotated[str, Meta(examples=["text", "json_schema", "json_object"])]
    name: str | None = None
    schema: dict[str, Any] | bool | None = None
    strict: bool | None = None
    description: str | None = None


class Text(Struct, omit_defaults=True):
    """How the text is to be."""

    format: TextFormat | None = None
    verbosity: str | None = None


class FunctionTool(Struct, omit_defaults=True):
    """A function that the model may call."""

    type: Annotated[str, Meta(examples=["function"])]
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseRequest(Struct, kw_only=True, omit_defaults=True):
    """What wants a response."""

    model: str
    """``backend/model``, an alias, or a bare name where only one backend has it."""
    input: str | list[Any] | None = None
    """A text, or a conversation in items."""
    instructions: str | None = None
    max_output_tokens: Limit | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    text: Text | None = None
    """With ``format`` of type ``json_schema``: proved."""
    tools: list[FunctionTool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    metadata: dict[str, Any] | None = None
    structured_outputs: dict[str, Any] | None = None
    """vLLM's way to ask for a constraint."""
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_structural_tag: Any = None


class ResponseAnswer(Struct, omit_defaults=True):
    """A response, in the backend's own words; ``abstractcore`` says what was proved of it."""

    id: str
    object: str
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    abstractcore: dict[str, Any] | None = None


READER: Final = Decoder(ResponseRequest)
_MODEL: Final = "vllm/smollm2"
_SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
CREATE: Final = Spec(
    about="Passed on to backends that have it. Constraints and tool calls are proved; in a stream before its last event"
    " goes out. A field that the backend does not read is refused.",
    body=ResponseRequest,
    answer=ResponseAnswer,
    event=dict[str, Any],
    fails=(404, 422),
    examples={
        "a text": {"model": _MODEL, "input": "Name three colours.", "max_output_tokens": 64},
        "an answer that satisfies a JSON schema": {
            "model": _MODEL,
            "input": "What is the capital of France?",
            "max_output_tokens": 64,
            "text": {"format": {"type": "json_schema", "name": "city", "schema": _SCHEMA}},
        },
    },
)
_ID: Final = Parameter("response", "Its id, with /cancel or /input_items behind it where the backend has them.", "path")
STORED: Final = Spec(
    about="Backends may keep responses; vLLM does where it runs with VLLM_ENABLE_RESPONSES_API_STORE=1.",
    parameters=(_ID,),
    fails=(404, 501),
)
