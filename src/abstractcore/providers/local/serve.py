"""What an engine's thread does with one request: reads it, has it answered and writes the answer. No threads here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from . import answers
from .engine import Engine, EngineError
from .pending import Pending

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"


def serve(engine: Engine, pending: Pending) -> None:
    """Answers a request, all but the end of its body. What is cancelled is left as it is.

    Raises:
        EngineError: It is refused, or the engine failed.
    """
    call = pending.call
    handle = _ROUTES.get((call.method, urlsplit(call.url).path))
    if handle is None:
        raise EngineError(f"there is no {call.method} {call.url}", status=404)
    body = msgspec.json.decode(call.body, type=dict[str, Any]) if call.body else {}
    if "model" in body:
        _check_model(engine, body["model"])
    handle(engine, body, pending)


def refuse(pending: Pending, error: EngineError) -> None:
    """Answers with an error; within a stream that has begun, as an event."""
    if pending.begun:
        pending.add(answers.error_event(error))
    else:
        pending.begin(error.status, _JSON)
        pending.add(answers.error_body(error))
    pending.end()


def _check_model(engine: Engine, name: object) -> None:
    known = [model.id for model in engine.models()]
    if name not in known:
        raise EngineError(
            f"the model {name!r} is not here; there is: {', '.join(known)}", status=404, code="model_not_found"
        )


def _generate(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    writer = answers.Writer(body)
    deltas = engine.generate(body, lambda: pending.cancelled)
    if not pending.call.stream:
        text = writer.whole(deltas)
        if not pending.cancelled:
            _write(pending, text)
        return
    usage = None
    for delta in deltas:
        if not pending.begun:
            pending.begin(200, _EVENTS)
        usage = delta.usage or usage
        pending.add(writer.event(delta))
        if pending.cancelled:
            return
    if not pending.begun:
        pending.begin(200, _EVENTS)
    pending.add(writer.end(usage))


def _embed(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    texts = body["input"]
    vectors, usage = engine.embed([texts] if isinstance(texts, str) else texts)
    _write(pending, answers.embeddings_body(body["model"], vectors, usage))


def _tokenize(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    tokens = engine.tokenize(body)
    row = next(model for model in engine.models() if model.id == body["model"])
    counted = {"count": len(tokens), "max_model_len": row.context_length or 0, "tokens": tokens}
    _write(pending, msgspec.json.encode(counted))


def _detokenize(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    _write(pending, msgspec.json.encode({"prompt": engine.detokenize(body["tokens"])}))


def _load_adapter(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    engine.load_adapter(body["lora_name"], body["lora_path"])
    _write(pending, b"{}")


def _unload_adapter(engine: Engine, body: Mapping[str, Any], pending: Pending) -> None:
    engine.unload_adapter(body["lora_name"])
    _write(pending, b"{}")


def _ready(engine: Engine, _body: Mapping[str, Any], pending: Pending) -> None:
    _write(pending, msgspec.json.encode({"engine": engine.description}))


def _write(pending: Pending, body: bytes) -> None:
    pending.begin(200, _JSON)
    pending.add(body)


_ROUTES: Final[Mapping[tuple[str, str], Callable[[Engine, Mapping[str, Any], Pending], None]]] = {
    ("POST", "/v1/chat/completions"): _generate,
    ("POST", "/v1/completions"): _generate,
    ("POST", "/v1/embeddings"): _embed,
    ("POST", "/tokenize"): _tokenize,
    ("POST", "/detokenize"): _detokenize,
    ("POST", "/v1/load_lora_adapter"): _load_adapter,
    ("POST", "/v1/unload_lora_adapter"): _unload_adapter,
    ("GET", "/ready"): _ready,
}
