"""Ollama's own HTTP protocol (``/api``) as pure functions: requests to JSON, answers to ``Completion``.

Streams are read by ``ollama_stream``. What the server reads otherwise than one would think: options stand in an object
of their own, unknown ones are ignored with status 200, tool arguments are objects, images are bare base64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from ..errors import ConfigurationError
from ..types import Alternative, GenerateRequest, ModelInfo, TokenLogprob, Usage
from .openai import Completion, FunctionDelta, ToolCallDelta, read_tool_calls

_INTEGER, _NUMBER, _TEXTS, _SWITCH = "integer", "float32", "array of strings", "boolean"
OPTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "draft_num_predict", "main_gpu", "num_batch", "num_ctx", "num_gpu", "num_keep", "num_predict",
            "num_thread", "repeat_last_n", "seed", "top_k",
        ),
        _INTEGER,
    ),
    **dict.fromkeys(
        (
            "frequency_penalty", "min_p", "presence_penalty", "repeat_penalty", "temperature", "top_p", "typical_p",
        ),
        _NUMBER,
    ),
    "stop": _TEXTS,
    "use_mmap": _SWITCH,
}  # fmt: skip
"""The members of ``options`` and their types, in the server's words. A wrong type is answered with status 500."""
_RENAMED: Final = {"repetition_penalty": "repeat_penalty"}
LOAD_REASONS: Final = frozenset({"load", "unload"})
"""Done reasons of answers to empty requests, which generate nothing."""


def path(request: GenerateRequest) -> str:
    """Where a request goes."""
    return "/api/chat" if request.raw_prompt is None else "/api/generate"


def request_body(request: GenerateRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The JSON of a chat, or of a raw generation if the request has a raw prompt.

    ``truncate`` and ``shift`` are switched off: by default the server shortens a conversation that is too long, and
    what it has generated from while it goes on, and says nothing of it.
    """
    body: dict[str, Any] = {"model": model}
    if request.raw_prompt is None:
        body["messages"] = [wire_message(message, request.messages[:at]) for at, message in enumerate(request.messages)]
    else:
        body |= {"prompt": request.raw_prompt, "raw": True}
    body |= {"stream": stream, "truncate": False, "shift": False}
    options = {_RENAMED.get(name, name): value for name, value in request.sampling.items()}
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]
    if request.max_output_tokens is not None:
        options["num_predict"] = request.max_output_tokens
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    body.update(request.options)
    for name, value in request.extra_body.items():
        if name == "options" and isinstance(value, Mapping):
            options.update(value)
        elif name in OPTIONS:
            options[name] = value
        else:
            body[name] = value
    if options:
        body["options"] = options
    return body


def wrong_option(options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first option whose value has not the type that the server wants, and that type."""
    for name, value in options.items():
        wanted = OPTIONS.get(name)
        if wanted is not None and value is not None and not _is(value, wanted):
            return name, wanted
    return None


def _is(value: Any, wanted: str) -> bool:
    if wanted == _SWITCH:
        return isinstance(value, bool)
    if wanted == _TEXTS:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def wire_message(message: Mapping[str, Any], before: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """One message of OpenAI's form in Ollama's.

    Args:
        message: The message.
        before: The conversation before it, in which the tool is named that a result belongs to.

    Raises:
        ConfigurationError: It has a part that Ollama's form has no place for.
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [part.get("text") or "" for part in parts if part.get("type") == "text"]
    out: dict[str, Any] = {"role": message.get("role"), "content": "\n".join(texts)}
    images = [_image(part) for part in parts if part.get("type") != "text"]
    if images:
        out["images"] = images
    if message.get("reasoning"):
        out["thinking"] = message["reasoning"]
    if message.get("tool_calls"):
        out["tool_calls"] = [_call_sent(call) for call in message["tool_calls"]]
    if message.get("role") == "tool":
        name = message.get("name") or _tool_name(message.get("tool_call_id"), before)
        if name:
            out["tool_name"] = name
        if message.get("tool_call_id"):
            out["tool_call_id"] = message["tool_call_id"]
    return out


def _image(part: Mapping[str, Any]) -> str:
    inner = part.get("image_url")
    url = str(inner.get("url") if isinstance(inner, Mapping) else inner)
    head, comma, data = url.partition(",")
    if part.get("type") != "image_url" or not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise ConfigurationError(
            f"ollama takes texts and the bytes of images, not a part of type {part.get('type')!r} with {url[:60]!r}",
            why="its messages have no place for a URL: the server fetches nothing",
            hint="give media as a path or as bytes",
        )
    return data


def _call_sent(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):  # what the model wrote in place of arguments, told back to it
            arguments = {"arguments": arguments}
    sent: dict[str, Any] = {"function": {"name": function.get("name"), "arguments": arguments or {}}}
    if call.get("id"):
        sent["id"] = call["id"]
    return sent


def _tool_name(call_id: str | None, before: Sequence[Mapping[str, Any]]) -> str | None:
    for message in reversed(before):
        for call in message.get("tool_calls") or ():
            if call.get("id") == call_id:
                return str(call.get("function", {}).get("name"))
    return None


class WireFunction(Struct):
    """The function of a tool call."""

    name: str = ""
    arguments: Any = None


class WireToolCall(Struct):
    """A tool call; they come whole, in streams too, and older servers give them no id."""

    id: str | None = None
    function: WireFunction = field(default_factory=WireFunction)

    def delta(self, index: int) -> ToolCallDelta:
        """In OpenAI's form."""
        arguments = self.function.arguments
        text = arguments if isinstance(arguments, str) else msgspec.json.encode({} if arguments is None else arguments)
        return ToolCallDelta(
            index, self.id or None, FunctionDelta(self.function.name, text if isinstance(text, str) else text.decode())
        )


class WireMessage(Struct):
    """A message, or what a line of a stream adds to it."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireLogprob(Struct):
    """A token and its log probability."""

    token: str
    logprob: float
    top_logprobs: list[WireLogprob] | None = None


class WireLine(Struct):
    """A whole answer, or one line of a streamed one."""

    model: str | None = None
    message: WireMessage | None = None
    response: str | None = None
    """The text of ``/api/generate``."""
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[WireLogprob] | None = None
    error: Any = None

    @property
    def said(self) -> WireMessage:
        """What it says, whichever endpoint it is from."""
        return self.message or WireMessage(self.response, self.thinking)

    @property
    def finish_reason(self) -> str | None:
        """Servers of before 2024-05 say ``done`` without a reason."""
        return (self.done_reason or "stop") if self.done else None

    @property
    def usage(self) -> Usage | None:
        """The counts, which come with the last line."""
        if self.prompt_eval_count is None and self.eval_count is None:
            return None
        return Usage(self.prompt_eval_count or 0, self.eval_count or 0)


DECODER: Final = msgspec.json.Decoder(WireLine)


def read_completion(body: bytes) -> Completion:
    """Reads a whole answer of ``/api/chat`` or ``/api/generate``.

    Raises:
        msgspec.DecodeError: The body is not JSON, or not such an answer.
    """
    line = DECODER.decode(body)
    if line.error is not None:
        raise msgspec.ValidationError("it is an error")
    if line.message is None and line.response is None:
        raise msgspec.ValidationError("it has neither a message nor a response")
    if line.done_reason in LOAD_REASONS:
        raise msgspec.ValidationError(f"nothing was generated: the done reason is {line.done_reason!r}")
    said = line.said
    calls = [call.delta(index) for index, call in enumerate(said.tool_calls or ())]
    logprobs = read_logprobs(line.logprobs)
    answer = Alternative(
        index=0,
        content=said.content or "",
        finish_reason=called(line.finish_reason, bool(calls)),
        tool_calls=read_tool_calls(calls),
        reasoning=said.thinking or None,
        logprobs=logprobs,
        score=sum(token.logprob for token in logprobs) if logprobs is not None else None,
    )
    return Completion([answer], line.model, line.usage, None, body)


def called(finish_reason: str | None, has_calls: bool) -> str | None:  # noqa: FBT001
    """The finish reason as all backends give it: the server says ``stop`` of an answer that ends with calls."""
    return "tool_calls" if has_calls and finish_reason == "stop" else finish_reason


def read_logprobs(tokens: Iterable[WireLogprob] | None) -> list[TokenLogprob] | None:
    """Log probabilities as our own type; ``None`` if there are none."""
    if not tokens:
        return None
    return [
        TokenLogprob(token.token, token.logprob, {top.token: top.logprob for top in token.top_logprobs or ()})
        for token in tokens
    ]


def full_name(model: str) -> str:
    """A model's name with its tag: the server takes ``smollm2`` for ``smollm2:latest``."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


class _Details(Struct):
    context_length: int | None = None


class _Model(Struct):
    name: str
    details: _Details | None = None
    context_length: int | None = None


class _Models(Struct):
    models: list[_Model] | None


def read_models(body: bytes) -> list[ModelInfo]:
    """Reads ``/api/tags``: what the server has on disk.

    Raises:
        msgspec.DecodeError: The body is not such a list.
    """
    rows = msgspec.json.decode(body, type=_Models).models or []
    return [ModelInfo(id=row.name, context_length=row.details.context_length if row.details else None) for row in rows]


def read_windows(body: bytes) -> dict[str, int]:
    """Reads ``/api/ps``: the context lengths with which models are loaded, by full name.

    Raises:
        msgspec.DecodeError: The body is not such a list.
    """
    rows = msgspec.json.decode(body, type=_Models).models or []
    return {full_name(row.name): row.context_length for row in rows if row.context_length}


class Shown(Struct):
    """What ``/api/show`` says of a model."""

    capabilities: list[str] | None = None
    model_info: dict[str, Any] = field(default_factory=dict)

    @property
    def context_length(self) -> int | None:
        """With which it was trained; it may be loaded with less."""
        values = [value for name, value in self.model_info.items() if name.endswith(".context_length")]
        return values[0] if values and isinstance(values[0], int) else None


def read_shown(body: bytes) -> Shown:
    """Reads ``/api/show``.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=Shown)


class _Version(Struct):
    version: str


def read_version(body: bytes) -> str:
    """Reads ``/api/version``.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=_Version).version


class _Embeddings(Struct):
    embeddings: list[list[float]]


def read_embeddings(body: bytes) -> list[list[float]]:
    """Reads ``/api/embed``: one vector for each text, in their order.

    Raises:
        msgspec.DecodeError: The body is not such an answer.
    """
    return msgspec.json.decode(body, type=_Embeddings).embeddings
