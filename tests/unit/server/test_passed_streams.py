"""Streams of responses and messages, as a real vLLM 0.32 sent them, cut anywhere."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abstractcore.errors import AbstractCoreError, ConstraintViolationError, TruncatedOutputError
from abstractcore.server.errors import GatewayError
from abstractcore.server.event_watch import EventWatch
from abstractcore.server.messages.request import prepare as prepare_message
from abstractcore.server.messages.watch import MessageWatch
from abstractcore.server.passing import Backing
from abstractcore.server.promise import Promise
from abstractcore.server.responses.answer import settled
from abstractcore.server.responses.request import prepare as prepare_response
from abstractcore.server.responses.watch import ResponseWatch
from abstractcore.wire.failure import Failure
from tests.recordings import gateway_stream

GOOD = ("response", "response_json", "response_tool", "message", "message_json", "message_tool")
FIELDS = frozenset().union(*(gateway_stream(name)[0].json() for name in GOOD)) | {"structured_outputs"}
LAST = {"response": b"event: response.completed", "message": b"event: message_stop"}


def backing(**changes: Any) -> Backing:
    return Backing("vllm", FIELDS, "smollm2")._replace(**changes)


@cache
def own_promise_of(name: str) -> Promise | None:
    return promise_of(name)


def promise_of(name: str, **changes: Any) -> Promise | None:
    request, _, _ = gateway_stream(name)
    fields = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in {**request.json(), **changes}.items()}
    prepare = prepare_response if name.startswith("response") else prepare_message
    return prepare(fields, backing())[1]


def watch_of(name: str, **changes: Any) -> EventWatch:
    promise = promise_of(name, **changes) if changes else own_promise_of(name)
    if name.startswith("response"):
        return ResponseWatch(partial(settled, promise=promise, backing=backing()))
    return MessageWatch(promise, backing())


def body_of(name: str) -> bytes:
    return b"".join(gateway_stream(name)[1])


def passed(watch: EventWatch, body: bytes, cuts: list[int]) -> bytes:
    """What goes out when the body comes in these pieces, and then ends."""
    out, start = b"", 0
    for cut in [*sorted(cuts), len(body)]:
        out += watch.feed(body[start:cut])
        start = cut
        if watch.failure:
            return out
    return out + watch.close()


few = settings(max_examples=30)
cuts = st.lists(st.integers(0, 7000), max_size=12)


@few
@given(st.sampled_from(GOOD), cuts)
def test_a_good_stream_goes_out_as_it_came_but_for_its_proof(name: str, at: list[int]) -> None:
    watch, body = watch_of(name), body_of(name)
    out = passed(watch, body, [cut for cut in at if cut < len(body)])
    assert watch.failure is None
    if name in ("response", "message"):
        assert out == body
        return
    events, expected = out.split(b"\n\n"), body.split(b"\n\n")
    changed = [pair for pair in zip(events, expected, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert b'"abstractcore":{' in changed[0][0]
    assert b'"proved":true' in changed[0][0]


@few
@given(st.sampled_from(GOOD), st.integers(0, 7000), cuts)
def test_a_stream_that_stops_early_is_no_answer(name: str, length: int, at: list[int]) -> None:
    watch, whole = watch_of(name), body_of(name)
    body = whole[: length % (len(whole) - 2)]
    out = passed(watch, body, [cut for cut in at if cut < len(body)])
    assert watch.failure is not None
    assert LAST[name.partition("_")[0]] not in out
    assert whole.startswith(out)


@few
@given(st.sampled_from(("response_cut", "message_cut")), cuts)
def test_a_constrained_answer_that_the_limit_cut_has_no_last_event(name: str, at: list[int]) -> None:
    watch, body = watch_of(name), body_of(name)
    out = passed(watch, body, [cut for cut in at if cut < len(body)])
    assert isinstance(watch.failure, TruncatedOutputError)
    assert LAST[name.partition("_")[0]] not in out
    assert b"message_delta" not in out


OTHER = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
BROKEN: dict[str, dict[str, Any]] = {
    "response_json": {"text": {"format": {"type": "json_schema", "name": "x", "schema": OTHER}}},
    "message_json": {"output_config": {"format": {"type": "json_schema", "schema": OTHER}}},
    "response_tool": {"tools": [{"type": "function", "name": "get_n", "parameters": OTHER}]},
    "message_tool": {"tools": [{"name": "get_n", "input_schema": OTHER}]},
}


@few
@given(st.sampled_from(sorted(BROKEN)), cuts)
def test_an_answer_that_breaks_its_promise_has_no_last_event(name: str, at: list[int]) -> None:
    watch, body = watch_of(name, **BROKEN[name]), body_of(name)
    out = passed(watch, body, [cut for cut in at if cut < len(body)])
    assert isinstance(watch.failure, ConstraintViolationError)
    assert LAST[name.partition("_")[0]] not in out
    assert body.startswith(out)


@few
@given(cuts)
def test_an_error_event_ends_the_stream_with_the_servers_words(at: list[int]) -> None:
    for promised in (True, False):
        watch = watch_of("message_error") if promised else MessageWatch(None, backing())
        body = body_of("message_error")
        out = passed(watch, body, [cut for cut in at if cut < len(body)])
        failure = watch.failure
        assert isinstance(failure, Failure | AbstractCoreError)
        assert b"event: error" not in out
    assert isinstance(failure, Failure)
    assert "validation errors" in failure.message


def test_a_connection_that_the_server_cut_is_seen() -> None:
    _, chunks, cut = gateway_stream("response_error")
    assert cut
    watch = watch_of("response_error")
    passed(watch, b"".join(chunks), [])
    assert isinstance(watch.failure, Failure)


@pytest.mark.parametrize("name", ["response", "message"])
def test_words_of_a_model_and_echoes_are_no_events(name: str) -> None:
    said = b'"event: error\\n\\ndata: {\\"type\\":\\"error\\"}\\n\\nevent: response.failed"'
    body = body_of(name).replace(b'"metadata":null', b'"metadata":{"type":"error","said":' + said + b"}")
    body = body.replace(b'"text":""', b'"text":' + said)
    assert said in body
    watch = watch_of(name)
    assert passed(watch, body, []) == body
    assert watch.failure is None


@few
@given(st.sampled_from(("response", "message")), cuts)
def test_other_line_ends_are_read_too(name: str, at: list[int]) -> None:
    body = body_of(name).replace(b"\n", b"\r\n")
    watch = watch_of(name)
    assert passed(watch, body, [cut for cut in at if cut < len(body)]) == body
    assert watch.failure is None


def test_events_without_names_are_told_by_their_type() -> None:
    body = b"\n".join(line for line in body_of("message").split(b"\n") if not line.startswith(b"event:"))
    watch = watch_of("message")
    assert passed(watch, body, [100, 400]) == body
    assert watch.failure is None


def test_an_event_without_end_is_refused() -> None:
    watch = watch_of("response")
    watch.feed(b"event: response.output_text.delta\ndata: " + b"x" * (17 << 20))
    assert isinstance(watch.failure, Failure)
    assert "larger than" in watch.failure.message


def test_how_failed_streams_end() -> None:
    error = GatewayError("it broke", status=502, code="upstream_stream_broken")
    watch = watch_of("response")
    watch.feed(body_of("response")[:3000])
    event = watch.event(error).decode()
    assert event.startswith("event: error\ndata: ")
    assert event.endswith("\n\n")
    document = msgspec.json.decode(event.partition("data: ")[2])
    assert document["type"] == "error"
    assert document["message"] == document["error"]["message"] == "it broke"
    assert document["sequence_number"] == watch.passed > 0
    document = msgspec.json.decode(watch_of("message").event(error).decode().partition("data: ")[2])
    assert document == {
        "type": "error",
        "error": {"type": "api_error", "message": "it broke", "param": None, "code": "upstream_stream_broken"},
    }


@pytest.mark.parametrize("name", ["response", "message"])
def test_an_adapter_that_was_asked_must_be_named(name: str) -> None:
    for adapter, fine in (("smollm2", True), ("sql", False)):
        asked = backing(adapter=adapter)
        settle = partial(settled, promise=None, backing=asked)
        watch = ResponseWatch(settle) if name == "response" else MessageWatch(None, asked)
        out = passed(watch, body_of(name), [])
        assert (watch.failure is None) is fine
        assert (LAST[name] in out) is fine


@pytest.mark.parametrize("name", GOOD)
def test_tokens_and_proofs_are_told(name: str) -> None:
    heard: list[Any] = []
    asked = backing(tell=lambda usage, said: heard.append((usage, said)))
    promise = own_promise_of(name)
    settle = partial(settled, promise=promise, backing=asked)
    watch = ResponseWatch(settle) if name.startswith("response") else MessageWatch(promise, asked)
    passed(watch, body_of(name), [])
    (usage, said) = heard[0]
    assert usage.input_tokens > 10
    assert usage.output_tokens > 2
    assert bool(said) is (promise is not None)
