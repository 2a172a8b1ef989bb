"""Anthropic's HTTP protocol as pure functions: requests to JSON, answers to a ``Completion``.

Messages come in OpenAI's form, which is the form of all requests here, and are translated. Streams are read by
``anthropic_stream``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from ..errors import ConfigurationError
from ..tools import ToolDefinition
from ..types import Alternative, GenerateRequest, ModelInfo, ToolCall, Usage
from .closed_schema import closed
from .failure import UNREADABLE
from .openai import Completion

VERSION: Final = "2023-06-01"
"""The protocol's version, sent as ``anthropic-version``."""
DEFAULT_LIMIT: Final = 4096
"""The length limit of a request that names none: the protocol demands one. Every model allows this much."""
LEAST_BUDGET: Final = 1024
"""The smallest budget of reasoning tokens that the protocol allows."""

_FINISH_REASONS: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def request_body(request: GenerateRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The JSON of a message request.

    Constraints, tools and reasoning are not in it: how they are asked for is the provider's affair.

    Raises:
        ConfigurationError: A message is not in OpenAI's form.
    """
    system, messages = to_messages(request.messages)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_output_tokens or DEFAULT_LIMIT,
        "messages": messages,
    }
    if system:
        body["system"] = system
    body.update({name: request.sampling[name] for name in _SAMPLING if name in request.sampling})
    if "stop" in request.sampling:
        stop = request.sampling["stop"]
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if stream:
        body["stream"] = True
    body.update(request.extra_body)
    return body


def to_messages(messages: Iterable[Mapping[str, Any]]) -> tuple[str | list[Any] | None, list[dict[str, Any]]]:
    """The system prompt and the conversation, from messages in OpenAI's form.

    System messages at the beginning become the system prompt; later ones stay where they are. The results of the tools
    that one answer called become one message.

    Raises:
        ConfigurationError: A message is not in OpenAI's form.
    """
    system: list[Any] = []
    out: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            if results is None:
                results = []
                out.append({"role": "user", "content": results})
            results.append(_tool_result(message))
            continue
        results = None
        role = "system" if role == "developer" else role
        if role == "system" and not out:
            system.append(content)
        elif role == "assistant":
            blocks = _assistant(message)
            if blocks:
                out.append({"role": role, "content": blocks})
        else:
            out.append({"role": role, "content": content if isinstance(content, str) else _blocks(content)})
    if all(isinstance(part, str) for part in system):
        return "\n\n".join(system) or None, out
    return [block for part in system for block in _blocks(part)], out


def _assistant(message: Mapping[str, Any]) -> str | list[dict[str, Any]]:
    calls, reasoning = message.get("tool_calls") or (), message.get("reasoning_blocks") or ()
    content = message.get("content")
    if isinstance(content, str) and not calls and not reasoning:
        return content
    return [*reasoning, *_blocks(content), *map(_tool_use, calls)]


def _blocks(content: Any) -> list[dict[str, Any]]:
    """Content parts in Anthropic's form; empty texts are left out, since the protocol refuses them."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_block(part) for part in content or () if part.get("type") != "text" or part.get("text")]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    """One part; what is in Anthropic's own form already is kept."""
    if part.get("type") != "image_url":
        return dict(part)
    image = part["image_url"]
    url = image["url"] if isinstance(image, Mapping) else image
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        kind = head.removeprefix("data:").removesuffix(";base64")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments") or "{}"
    try:
        given = arguments if isinstance(arguments, Mapping) else msgspec.json.decode(arguments, type=dict[str, Any])
    except UNREADABLE as error:
        raise ConfigurationError(
            f"a message holds a call of {function.get('name')!r} whose arguments are no JSON object",
            why=f"{error}: {arguments[:60]!r}",
        ) from error
    return {"type": "tool_use", "id": _call_id(call.get("id")), "name": function.get("name"), "input": given}


def _tool_result(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    told = content if isinstance(content, str) else _blocks(content)
    return {"type": "tool_result", "tool_use_id": _call_id(message.get("tool_call_id")), "content": told}


def _call_id(given: str | None) -> str:
    """An id that the protocol takes: other backends have other letters in theirs."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", given or "call")


def to_tools(tools: Sequence[ToolDefinition]) -> list[dict[str, Any]]:
    """Tools in Anthropic's form.

    ``strict`` is said of a tool whose schema can be closed, as the protocol demands of strict ones, or that says so
    itself; without it arguments are not held to the schema.
    """
    return [_tool(known) for known in tools]


def _tool(known: ToolDefinition) -> dict[str, Any]:
    tight = closed(known.parameters)
    out: dict[str, Any] = {"name": known.name, "input_schema": known.parameters}
    if known.description:
        out["description"] = known.description
    if known.strict or (known.strict is None and tight is not None):
        out["strict"] = True
        out["input_schema"] = tight or known.parameters
    return out


def to_tool_choice(choice: str, *, parallel: bool | None) -> dict[str, Any]:
    """``auto``, ``required``, ``none`` or a tool's name in Anthropic's form."""
    kind = {"auto": "auto", "required": "any", "none": "none"}.get(choice, "tool")
    out: dict[str, Any] = {"type": kind, "name": choice} if kind == "tool" else {"type": kind}
    if parallel is not None and kind != "none":
        out["disable_parallel_tool_use"] = not parallel
    return out


class WireUsage(Struct):
    """Token counts; a stream sends them in parts."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def after(self, earlier: WireUsage | None) -> WireUsage:
        """Together with what was said earlier."""
        if earlier is None:
            return self
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(earlier), strict=True)
        return WireUsage(*(before if now is None else now for now, before in pairs))

    def counted(self) -> Usage:
        """As our own type. Cached tokens are counted apart in the protocol; here they are a part of the input."""
        read, written = self.cache_read_input_tokens, self.cache_creation_input_tokens
        return Usage((self.input_tokens or 0) + (read or 0) + (written or 0), self.output_tokens or 0, read, written)


class WireBlock(Struct):
    """A block of an answer, or what a stream adds to one."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _WireMessage(Struct):
    type: Literal["message"]
    content: list[WireBlock]
    stop_reason: str | None = None
    id: str | None = None
    model: str | None = None
    usage: WireUsage | None = None


_DECODER: Final = msgspec.json.Decoder(_WireMessage)


def read_message(body: bytes) -> Completion:
    """Reads a whole answer.

    Raises:
        msgspec.DecodeError: The body is not JSON, or not such an answer.
    """
    message = _DECODER.decode(body)
    blocks = message.content
    answer = Alternative(
        index=0,
        content="".join(block.text or "" for block in blocks if block.type == "text"),
        finish_reason=finish_reason(message.stop_reason),
        tool_calls=[_read_call(block) for block in blocks if block.type == "tool_use"],
        reasoning="".join(block.thinking or "" for block in blocks if block.type == "thinking") or None,
        reasoning_blocks=reasoning_blocks(blocks),
    )
    usage = message.usage.counted() if message.usage else None
    return Completion([answer], message.model, usage, message.id, body)


def reasoning_blocks(blocks: Iterable[WireBlock]) -> list[dict[str, Any]] | None:
    """The blocks that hold reasoning, readable or not, as the server wants them back."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "thinking":
            found.append({"type": block.type, "thinking": block.thinking or "", "signature": block.signature or ""})
        elif block.type == "redacted_thinking":
            found.append({"type": block.type, "data": block.data or ""})
    return found or None


def _read_call(block: WireBlock) -> ToolCall:
    if isinstance(block.input, dict):
        return ToolCall(name=block.name or "", arguments=block.input, call_id=block.id)
    raw = msgspec.json.encode(block.input).decode()
    return ToolCall(name=block.name or "", arguments={}, call_id=block.id, raw_arguments=raw)


def finish_reason(stop_reason: str | None) -> str | None:
    """Why the answer ended, in the words of all backends; reasons that only this protocol has are kept."""
    return None if not stop_reason else _FINISH_REASONS.get(stop_reason, stop_reason)


class _Model(Struct):
    id: str
    max_input_tokens: int | None = None
    max_model_len: int | None = None
    parent: str | None = None
    root: str | None = None
    owned_by: str | None = None


class ModelPage(Struct):
    """One page of the list of models; vLLM gives all of them at once, in OpenAI's form."""

    data: list[_Model]
    has_more: bool = False
    last_id: str | None = None

    def rows(self) -> list[ModelInfo]:
        """The models on it."""
        return [_row(model) for model in self.data]


def read_models(body: bytes) -> ModelPage:
    """Reads a page of models.

    Raises:
        msgspec.DecodeError: The body is not such a page.
    """
    return msgspec.json.decode(body, type=ModelPage)


def read_model(body: bytes) -> ModelInfo:
    """Reads a single model.

    Raises:
        msgspec.DecodeError: The body is not a model.
    """
    return _row(msgspec.json.decode(body, type=_Model))


def _row(model: _Model) -> ModelInfo:
    return ModelInfo(
        id=model.id,
        context_length=model.max_input_tokens or model.max_model_len,
        parent=model.parent,
        root=model.root,
        owned_by=model.owned_by,
    )


class _Count(Struct):
    input_tokens: int


def read_count(body: bytes) -> int:
    """Reads the number of tokens of a prompt.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=_Count).input_tokens


COUNTED: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
"""The fields of a request that decide what the prompt is; the endpoint that counts takes no others."""
