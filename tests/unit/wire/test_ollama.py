"""Ollama's protocol: what is sent, and what real answers mean."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import ConfigurationError, Message, ToolCall
from abstractcore.providers.request import build_request
from abstractcore.types import TokenLogprob, Usage
from abstractcore.wire import ollama
from tests.recordings import ollama_exchanges

RECORDED = ollama_exchanges()
PNG = b"\x89PNG\r\n\x1a\n....."


def body(prompt: str | None = "Hi", *, stream: bool = False, **options: Any) -> dict[str, Any]:
    return ollama.request_body(build_request(prompt, options), "m", stream=stream)


# --- what is sent ----------------------------------------------------------------------------------------------------


def test_a_chat() -> None:
    assert body("Hi", system_prompt="Be brief.", temperature=0) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": False,
        "truncate": False,
        "shift": False,
        "options": {"temperature": 0},
    }


def test_a_raw_prompt() -> None:
    request = build_request("Once", {"raw_prompt": True})
    assert ollama.path(request) == "/api/generate"
    sent = ollama.request_body(request, "m", stream=True)
    assert sent == {"model": "m", "prompt": "Once", "raw": True, "stream": True, "truncate": False, "shift": False}


def test_options_have_the_servers_names() -> None:
    knobs: dict[str, Any] = {
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "presence_penalty": 1.0,
        "frequency_penalty": 2.0,
        "seed": 7,
    }
    sent = body(**knobs, repetition_penalty=1.1, stop="X", max_output_tokens=5)["options"]
    assert sent == {**knobs, "repeat_penalty": 1.1, "stop": ["X"], "num_predict": 5}
    assert body(stop=["X", "Y"])["options"] == {"stop": ["X", "Y"]}
    assert set(sent) <= set(ollama.OPTIONS)


def test_fields_of_extra_body_go_where_the_server_reads_them() -> None:
    extra = {"num_ctx": 8192, "keep_alive": "10m", "options": {"num_gpu": 0}, "truncate": True}
    sent = body(temperature=1, extra_body=extra)
    assert sent["options"] == {"temperature": 1, "num_ctx": 8192, "num_gpu": 0}
    assert (sent["keep_alive"], sent["truncate"], sent["shift"]) == ("10m", True, False)


@pytest.mark.parametrize(("asked", "sent"), [(True, {"logprobs": True}), (3, {"logprobs": True, "top_logprobs": 3})])
def test_log_probabilities_are_asked_for(asked: bool | int, sent: dict[str, Any]) -> None:
    assert {name: value for name, value in body(logprobs=asked).items() if "logprobs" in name} == sent


def test_images_are_bare_base64() -> None:
    message = body("What is it?", media=[PNG])["messages"][0]
    assert message == {"role": "user", "content": "What is it?", "images": ["iVBORw0KGgouLi4uLg=="]}


@pytest.mark.parametrize("part", ["https://example.org/a.png", "data:image/png,raw"])
def test_an_image_that_the_server_would_not_fetch_is_refused(part: str) -> None:
    with pytest.raises(ConfigurationError, match="bytes of images"):
        body("What is it?", media=[part])


def test_a_conversation_with_tools() -> None:
    call = ToolCall(name="weather", arguments={"city": "Paris"}, call_id="c1")
    history = [
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=[call]),
        Message("tool", "sunny", tool_call_id="c1"),
        Message("tool", "cold", name="radar"),
    ]
    _, asked, result, named = body(None, messages=history)["messages"]
    assert asked["tool_calls"] == [{"id": "c1", "function": {"name": "weather", "arguments": {"city": "Paris"}}}]
    assert result == {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "c1"}
    assert named == {"role": "tool", "content": "cold", "tool_name": "radar"}


def test_arguments_that_are_no_json_are_told_back_all_the_same() -> None:
    broken = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{no"}}]}
    assert ollama.wire_message(broken)["tool_calls"] == [{"function": {"name": "f", "arguments": {"arguments": "{no"}}}]


@given(st.dictionaries(st.sampled_from(sorted(ollama.OPTIONS)), st.none() | st.text() | st.integers() | st.booleans()))
def test_a_wrong_type_is_named(options: dict[str, Any]) -> None:
    wrong = ollama.wrong_option(options)
    if wrong is not None:
        name, wanted = wrong
        assert ollama.OPTIONS[name] == wanted
        assert not isinstance(options[name], int) or isinstance(options[name], bool) or name in ("stop", "use_mmap")
    else:
        assert not any(isinstance(value, str) for value in options.values())


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "reason", "usage"),
    [
        ("chat", "The capital of France is Paris.", "stop", Usage(16, 8)),
        ("chat-length", "The capital of", "length", Usage(16, 3)),
        ("chat-stop", "The ", "stop", Usage(16, 2)),
        ("generate", "The capital of France is Paris.", "stop", Usage(14, 8)),
        ("too-long", "\ndef find_maxim(n)\n\ndef", "length", Usage(2050, 12)),
    ],
)
def test_recorded_answers(name: str, text: str, reason: str, usage: Usage) -> None:
    read = ollama.read_completion(RECORDED[name].body)
    (answer,) = read.answers
    assert (answer.content, answer.finish_reason, read.usage, read.model) == (text, reason, usage, "smollm2")


@pytest.mark.parametrize("name", ["nomsg-load", "unload", "notfound", "bad-option", "version", "tags"])
def test_what_is_no_answer_is_none(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        ollama.read_completion(RECORDED[name].body)


def test_tool_calls_reasoning_and_log_probabilities() -> None:
    message = {
        "role": "assistant",
        "thinking": "Hm.",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}, {"id": "c", "function": {"name": "g"}}],
    }
    logprobs = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}]
    document = {"model": "m", "message": message, "done": True, "done_reason": "stop", "logprobs": logprobs}
    (answer,) = ollama.read_completion(json.dumps(document).encode()).answers
    assert answer.tool_calls == [
        ToolCall(name="f", arguments={"a": 1}),
        ToolCall(name="g", arguments={}, call_id="c"),
    ]
    assert (answer.content, answer.reasoning, answer.finish_reason) == ("", "Hm.", "tool_calls")
    assert answer.logprobs == [TokenLogprob("a", -0.5, {"b": -1.0})]
    assert answer.score == -0.5


def test_an_answer_that_is_not_done_has_no_finish_reason() -> None:
    (answer,) = ollama.read_completion(b'{"message": {"content": "a"}, "done": false}').answers
    assert answer.finish_reason is None


def test_models_and_their_contexts() -> None:
    (tagged,) = ollama.read_models(RECORDED["tags"].body)
    assert (tagged.id, tagged.context_length) == ("smollm2:latest", 8192)
    assert ollama.read_windows(RECORDED["ps-loaded"].body) == {"smollm2:latest": 4096}
    assert ollama.read_windows(RECORDED["ps-empty"].body) == {}
    shown = ollama.read_shown(RECORDED["show"].body)
    assert (shown.capabilities, shown.context_length) == (["completion"], 8192)
    assert ollama.read_version(RECORDED["version"].body) == "0.99.0-src"
    assert ollama.read_models(b'{"models": null}') == []


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("smollm2", "smollm2:latest"),
        ("smollm2:135m", "smollm2:135m"),
        ("hf.co/org/model", "hf.co/org/model:latest"),
        ("registry:5000/org/model", "registry:5000/org/model:latest"),
        ("registry:5000/org/model:q4", "registry:5000/org/model:q4"),
    ],
)
def test_a_name_without_a_tag_means_latest(name: str, full: str) -> None:
    assert ollama.full_name(name) == full
