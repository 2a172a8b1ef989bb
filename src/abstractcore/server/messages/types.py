"""Requests and answers in Anthropic's protocol: requests are held against these types.

A field that stands in none of them may still be one that the backend reads: it is passed on unseen.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from msgspec.json import Decoder

from ..spec import Spec

Limit = Annotated[int, Meta(ge=1)]


class Turn(Struct, omit_defaults=True):
    """One turn of a conversation."""

    role: Annotated[str, Meta(examples=["user", "assistant"])]
    content: str | list[dict[str, Any]]


class MessageTool(Struct, omit_defaults=True):
    """A tool that the model may call."""

    name: str
    input_schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None
    type: str | None = None


class OutputFormat(Struct, omit_defaults=True):
    """What the answer must be."""

    type: Annotated[str, Meta(examples=["json_schema"])]
    schema: dict[str, Any] | bool


class OutputConfig(Struct, omit_defaults=True):
    """How the answer is to be."""

    format: OutputFormat | None = None
    effort: str | None = None


class ToolChoice(Struct, omit_defaults=True):
    """Whether a tool must be called."""

    type: Annotated[str, Meta(examples=["auto", "any", "tool", "none"])]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class CountRequest(Struct, kw_only=True, omit_defaults=True):
    """A prompt whose tokens are to be counted."""

    model: str
    """``backend/model``, an alias, or a bare name where only one backend has it."""
    messages: list[Turn]
    system: str | list[dict[str, Any]] | None = None
    tools: list[MessageTool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None


class MessageRequest(CountRequest, kw_only=True, omit_defaults=True):
    """A conversation that wants an answer."""

    max_tokens: Limit
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    output_format: OutputFormat | None = None
    """The older name of ``output_config.format``."""
    guided_json: Any = None


class MessageAnswer(Struct, omit_defaults=True):
    """A message, in the backend's own words; ``abstractcore`` says what was proved of it."""

    id: str
    type: str
    role: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    usage: dict[str, Any]
    abstractcore: dict[str, Any] | None = None


class CountAnswer(Struct):
    """How many tokens it has."""

    input_tokens: int


READER: Final = Decoder(MessageRequest)
COUNT_READER: Final = Decoder(CountRequest)
_ASKED: Final = {"model": "vllm/smollm2", "messages": [{"role": "user", "content": "Name three colours."}]}
_SCHEMA: Final = {
    "type": "object",
    "properties": {"colour": {"type": "string", "maxLength": 20}},
    "required": ["colour"],
    "additionalProperties": False,
}
CREATE: Final = Spec(
    about="Anthropic's protocol, errors too, passed on to backends that have it. A JSON schema and tool calls are"
    " proved; in a stream before it ends. A field that the backend does not read is refused.",
    body=MessageRequest,
    answer=MessageAnswer,
    event=dict[str, Any],
    fails=(404, 422),
    examples={
        "a message": {**_ASKED, "max_tokens": 64},
        "an answer that satisfies a JSON schema": {
            **_ASKED,
            "max_tokens": 64,
            "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
        },
    },
)
COUNT: Final = Spec(body=CountRequest, answer=CountAnswer, fails=(404,), examples={"a prompt": _ASKED})
