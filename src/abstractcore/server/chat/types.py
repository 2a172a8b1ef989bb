"""Requests and answers of chat and text completions, as OpenAI's clients and vLLM's users write them.

Requests are held against these types before anything else is done with them, and the OpenAPI document is made of them.
A field that stands in none of them may still be one that the backend reads: it is passed on unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct, field
from msgspec.json import Decoder

from ..fields import CHAT, TEXT

MOST_CHOICES: Final = 1024
Count: TypeAlias = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MOST_CHOICES})]
"""Its bounds are held elsewhere, with an error of their own."""


class Part(Struct, omit_defaults=True):
    """A part of a message: text, a picture, a sound, a document."""

    type: Annotated[str, Meta(examples=["text", "image_url"])]
    text: str | None = None
    image_url: Any = None
    """``{"url": ...}``, a ``data:`` address or one that the server fetches."""
    input_audio: Any = None
    video_url: Any = None
    audio_url: Any = None


class CalledFunction(Struct, omit_defaults=True):
    """Which function was called, with what."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON, as a string or, for vLLM, as it is."""


class Call(Struct, omit_defaults=True):
    """A tool call of the assistant."""

    id: str | None = None
    type: str = "function"
    function: CalledFunction | None = None


class Message(Struct, omit_defaults=True):
    """One turn of a chat."""

    role: Annotated[str, Meta(examples=["system", "user", "assistant", "tool"])]
    content: str | list[str | Part] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class Function(Struct, omit_defaults=True):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON schema."""
    strict: bool | None = None


class Tool(Struct, omit_defaults=True):
    """A tool that the model may call."""

    function: Function
    type: str = "function"


class ResponseFormat(Struct, omit_defaults=True):
    """What the answer must be, as OpenAI writes it."""

    type: Annotated[str, Meta(examples=["text", "json_object", "json_schema"])]
    json_schema: dict[str, Any] | None = None
    """``{"name": ..., "schema": ...}``."""


class StructuredOutputs(Struct, omit_defaults=True):
    """What the answer must be, as vLLM writes it: one of these."""

    json_: Any = field(default=None, name="json")
    """A JSON schema, as an object or as a string."""
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: Any = None


class StreamOptions(Struct, omit_defaults=True):
    """What a stream holds besides."""

    include_usage: bool | None = None
    """Whether the last event counts the tokens."""
    continuous_usage_stats: bool | None = None


class Sampling(Struct, kw_only=True, omit_defaults=True):
    """What both kinds of requests have."""

    model: Annotated[str, Meta(min_length=1, examples=["vllm/smollm2"])]
    """``backend/model``, an alias, or a name that only one backend has."""
    stream: bool | None = None
    """Answer with events as the text comes."""
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    """Longest answer, in tokens."""
    n: Count | None = None
    """How many answers."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    length_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    logit_bias: dict[str, float] | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    bad_words: list[str] | None = None
    skip_special_tokens: bool | None = None
    prompt_logprobs: int | None = None
    priority: int | None = None
    """Smaller numbers first, where the server schedules by priority."""
    user: str | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Any = None
    """A JSON schema that the answer satisfies. Like all ``guided_*``, good with every version of vLLM, and proved."""
    guided_regex: str | None = None
    """A regular expression that the whole answer matches."""
    guided_choice: list[str] | None = None
    """What the answer may be."""
    guided_grammar: str | None = None
    """A grammar, in GBNF or Lark, that the answer follows."""
    guided_structural_tag: Any = None
    use_beam_search: bool | None = None
    best_of: Count | None = None
    """How many answers are made, of which the best ``n`` come back."""
    emulate: bool | None = None
    """Allow slower ways of the gateway's own to keep a promise that the server can't keep."""


class ChatRequest(Sampling, kw_only=True, omit_defaults=True):
    """A chat that wants an answer."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    """The same as ``max_tokens``, in OpenAI's newer spelling."""
    logprobs: bool | int | None = None
    """Whether to add them; how many is ``top_logprobs``."""
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


class CompletionRequest(Sampling, kw_only=True, omit_defaults=True):
    """A text that wants to be continued."""

    prompt: str | list[str | int | list[int]] | None = None
    """A text, several, or token ids. May be missing only where the server takes something in its place."""
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None


READERS: Final[Mapping[str, Decoder[Any]]] = {
    CHAT: Decoder(ChatRequest),
    TEXT: Decoder(CompletionRequest),
}


class Usage(Struct):
    """How many tokens it took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(Struct, omit_defaults=True):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None


class Choice(Struct, omit_defaults=True):
    """One answer to a chat."""

    index: int
    message: AnswerMessage
    finish_reason: Annotated[str, Meta(examples=["stop", "length", "tool_calls"])]
    logprobs: Any = None


class Kept(Struct, omit_defaults=True):
    """How the promises of an answer were kept; only on answers that were proved."""

    constraint: dict[str, Any] | None = None
    """Kind of the constraint, the field that carried it to the server, and that the answer satisfies it."""
    emulated: dict[str, str] | None = None
    """What the gateway did itself, and how."""
    knobs: dict[str, Any] | None = None
    """Sampling parameters that the backend lacks."""
    server_version: str | None = None


class ChatAnswer(Struct, omit_defaults=True):
    """The answer to a chat."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    abstractcore: Kept | None = None


class Delta(Struct, omit_defaults=True):
    """What came anew."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChunkChoice(Struct, omit_defaults=True):
    """A piece of one answer."""

    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: Any = None


class ChatChunk(Struct, omit_defaults=True):
    """One event of a streamed answer; ``data: [DONE]`` follows the last one, and never an error."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    abstractcore: Kept | None = None


class TextChoice(Struct, omit_defaults=True):
    """One continuation."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: Any = None


class CompletionAnswer(Struct, omit_defaults=True):
    """The continuation of a text; events of a stream have the same form."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None
    abstractcore: Kept | None = None
