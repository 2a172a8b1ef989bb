"""OpenAI's HTTP protocol as pure functions: requests to JSON, answers to ``GenerateResponse``.

Used by every backend that speaks it, vLLM included. Streams are read by ``openai_stream``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from ..types import Alternative, GenerateRequest, Message, ModelInfo, TokenLogprob, ToolCall, Usage


class FunctionDelta(Struct):
    """The function of a tool call, whole or in part."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Struct):
    """A tool call, whole or in part."""

    index: int = 0
    id: str | None = None
    function: FunctionDelta = field(default_factory=FunctionDelta)


class WireMessage(Struct):
    """A message, or what a stream adds to it."""

    content: str | None = None
    refusal: str | None = None
    """In place of the content, where the model declines to answer."""
    reasoning: str | None = None
    reasoning_content: str | None = None
    """What ``reasoning`` was called before vLLM 0.11.1; both came until 0.15."""
    tool_calls: list[ToolCallDelta] | None = None


class WireChoice(Struct):
    """One choice of an answer or of a chunk."""

    index: int = 0
    message: WireMessage | None = None
    delta: WireMessage | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: Any = None


class PromptDetails(Struct):
    """Where prompt tokens came from."""

    cached_tokens: int | None = None


class WireUsage(Struct):
    """Token counts."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptDetails | None = None

    def counted(self) -> Usage:
        """As our own type."""
        details = self.prompt_tokens_details
        return Usage(self.prompt_tokens, self.completion_tokens or 0, details.cached_tokens if details else None)


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Token counts as answers in this protocol carry them."""
    fields: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        fields["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return fields


class WireAnswer(Struct):
    """A chat completion, a text completion, or a chunk of either."""

    id: str | None = None
    model: str | None = None
    choices: list[WireChoice] = field(default_factory=list)
    usage: WireUsage | None = None
    error: Any = None
    object: str | None = None


DECODER = msgspec.json.Decoder(WireAnswer)


def wire_messages(
    prompt: str | None, messages: Iterable[Message | Mapping[str, Any]] | None, system_prompt: str | None
) -> list[dict[str, Any]]:
    """Puts system prompt, history and prompt in order, in OpenAI's form."""
    out = [wire_message(message) for message in messages or ()]
    if system_prompt is not None:
        out.insert(0, {"role": "system", "content": system_prompt})
    if prompt is not None:
        out.append({"role": "user", "content": prompt})
    return out


def wire_message(message: Message | Mapping[str, Any]) -> dict[str, Any]:
    """One message in OpenAI's form; mappings are taken to be in it already."""
    if not isinstance(message, Message):
        return dict(message)
    out: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        out["name"] = message.name
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    if message.reasoning_blocks:
        out["reasoning_blocks"] = message.reasoning_blocks
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
            }
            for call in message.tool_calls
        ]
    return out


def request_body(request: GenerateRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The JSON of a chat completion, or of a text completion if the request has a raw prompt.

    Constraints are not in it: how they are spelled is the backend's affair.
    """
    body: dict[str, Any] = {"model": model}
    chat = request.raw_prompt is None
    if chat:
        body["messages"] = _without_blocks(request.messages)
    else:
        body["prompt"] = request.raw_prompt
    body.update(request.sampling)
    if request.max_output_tokens is not None:
        body["max_completion_tokens" if chat else "max_tokens"] = request.max_output_tokens
    if request.n != 1:
        body["n"] = request.n
    if request.logprobs is not None:
        body.update({"logprobs": True, "top_logprobs": request.logprobs} if chat else {"logprobs": request.logprobs})
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    body.update(request.options)
    body.update(request.extra_body)
    return body


def _without_blocks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without what only Anthropic's protocol knows; a conversation may have begun there."""
    if not any("reasoning_blocks" in message for message in messages):
        return messages
    return [{name: part for name, part in message.items() if name != "reasoning_blocks"} for message in messages]


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON as bytes."""
    return msgspec.json.encode(body)


class Completion(Struct):
    """A whole chat or text completion."""

    answers: list[Alternative]
    """At least one, in the server's order."""
    model: str | None
    usage: Usage | None
    response_id: str | None
    """The id under which the server logs the request."""
    raw_body: bytes | None = None


def read_completion(body: bytes) -> Completion:
    """Reads a whole chat or text completion.

    Raises:
        msgspec.DecodeError: The body is not JSON, or not such an answer.
    """
    answer = DECODER.decode(body)
    if not answer.choices:
        raise msgspec.ValidationError("the answer has no choices")
    return Completion(
        [to_alternative(choice) for choice in sorted(answer.choices, key=lambda choice: choice.index)],
        answer.model,
        answer.usage.counted() if answer.usage else None,
        answer.id,
        body,
    )


REFUSED: Final = "refusal"
"""The finish reason of an answer in which the model, or a filter in front of it, declines to answer."""


def to_alternative(choice: WireChoice) -> Alternative:
    """One choice of a whole answer."""
    message = choice.message or WireMessage(content=choice.text)
    logprobs = read_logprobs(choice.logprobs)
    return Alternative(
        index=choice.index,
        content=message.content or message.refusal or "",
        finish_reason=REFUSED if message.refusal else choice.finish_reason,
        tool_calls=read_tool_calls(message.tool_calls or ()),
        reasoning=message.reasoning or message.reasoning_content,
        logprobs=logprobs,
        score=sum(token.logprob for token in logprobs) if logprobs is not None else None,
    )


def read_tool_calls(calls: Iterable[ToolCallDelta]) -> list[ToolCall]:
    """Whole tool calls; arguments that are no JSON object are kept as they are, for the check that refuses them."""
    return [_tool_call(call.function.name or "", call.function.arguments or "", call.id) for call in calls]


def _tool_call(name: str, text: str, call_id: str | None) -> ToolCall:
    try:
        return ToolCall(name=name, arguments=msgspec.json.decode(text or "{}", type=dict[str, Any]), call_id=call_id)
    except (msgspec.DecodeError, RecursionError):
        return ToolCall(name=name, arguments={}, call_id=call_id, raw_arguments=text)


class _Top(Struct):
    token: str
    logprob: float


class _Token(_Top):
    top_logprobs: list[_Top] | None = None


class _Logprobs(Struct):
    content: list[_Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


def read_logprobs(logprobs: Any) -> list[TokenLogprob] | None:
    """Log probabilities in either endpoint's form.

    Chat: ``{"content": [{"token", "logprob", "top_logprobs": [...]}]}``; completions: parallel lists.

    Raises:
        msgspec.ValidationError: They are in neither form.
    """
    if not isinstance(logprobs, Mapping):
        return None
    found = msgspec.convert(logprobs, _Logprobs)
    if found.content is not None:
        return [
            TokenLogprob(item.token, item.logprob, {top.token: top.logprob for top in item.top_logprobs or ()})
            for item in found.content
        ]
    tokens, values = found.tokens or [], found.token_logprobs or []
    tops = found.top_logprobs or [None] * len(tokens)
    if not len(tokens) == len(values) == len(tops):
        raise msgspec.ValidationError("the logprobs are in no known form: their lists have different lengths")
    return [
        TokenLogprob(token, value if value is not None else 0.0, top or {})
        for token, value, top in zip(tokens, values, tops, strict=True)
    ] or None


class _Model(Struct):
    id: str
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None
    owned_by: str | None = None


class _Models(Struct):
    data: list[_Model] | None = None


def read_models(body: bytes) -> list[ModelInfo]:
    """Reads ``/v1/models``; adapters are the entries with a parent.

    Raises:
        msgspec.DecodeError: The body is not such a list.
    """
    rows = msgspec.json.decode(body, type=_Models).data or []
    lengths = {row.id: row.max_model_len for row in rows}
    return [
        ModelInfo(
            id=row.id,
            context_length=row.max_model_len or lengths.get(row.parent or ""),  # an adapter's is that of its base
            parent=row.parent,
            root=row.root,
            owned_by=row.owned_by,
            adapters=tuple(other.id for other in rows if other.parent == row.id),
        )
        for row in rows
    ]


class _Embedding(Struct):
    index: int
    embedding: list[float]


class _Embeddings(Struct):
    data: list[_Embedding]
    model: str | None = None
    usage: WireUsage | None = None


def read_embeddings(body: bytes) -> tuple[list[list[float]], Usage | None]:
    """Reads ``/v1/embeddings``, in the order of the inputs.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    answer = msgspec.json.decode(body, type=_Embeddings)
    rows = sorted(answer.data, key=lambda row: row.index)
    return [row.embedding for row in rows], answer.usage.counted() if answer.usage else None
