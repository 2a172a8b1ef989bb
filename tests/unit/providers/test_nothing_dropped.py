"""No option of ``generate`` is dropped in silence, on any backend: it is sent, refused, or said to be left out."""

from __future__ import annotations

import warnings
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest

from abstractcore import ConfigurationError, UnsupportedFeatureError
from abstractcore.capability import KNOBS
from abstractcore.providers import Provider
from abstractcore.providers.promises import KnobWarning
from abstractcore.providers.request import GenerateOptions
from abstractcore.testing import FakeServer
from abstractcore.wire.call import Call
from tests.contract.targets import BACKENDS

ANSWERING: Final = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/api/chat", "/api/generate")
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(16)


def paint(color: str) -> str:
    """Paints the wall.

    Args:
        color: In which color.
    """
    return color


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "system_prompt": {"system_prompt": "Be brief."},
    "temperature": {"temperature": 0.25},
    "max_output_tokens": {"max_output_tokens": 7},
    "max_tokens": {"max_tokens": 7},
    "top_p": {"top_p": 0.75},
    "top_k": {"top_k": 5},
    "min_p": {"min_p": 0.125},
    "presence_penalty": {"presence_penalty": 0.5},
    "frequency_penalty": {"frequency_penalty": 0.5},
    "repetition_penalty": {"repetition_penalty": 1.25},
    "seed": {"seed": 3},
    "stop": {"stop": ["x"]},
    "n": {"n": 2},
    "use_beam_search": {"use_beam_search": True, "n": 2},
    "best_of": {"best_of": 3},
    "length_penalty": {"use_beam_search": True, "n": 2, "length_penalty": 0.5},
    "emulate": {"use_beam_search": True, "n": 2, "emulate": True},
    "logprobs": {"logprobs": 2},
    "guided_json": {"guided_json": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}},
    "guided_regex": {"guided_regex": "[0-9]{4}"},
    "guided_grammar": {"guided_grammar": 'root ::= "a"'},
    "guided_choice": {"guided_choice": ["red", "blue"]},
    "guided_structural_tag": {
        "guided_structural_tag": {
            "type": "structural_tag",
            "format": {"type": "tag", "begin": "<a>", "content": {"type": "regex", "pattern": "[0-9]"}, "end": "</a>"},
        }
    },
    "thinking": {"thinking": True},
    "chat_template_kwargs": {"chat_template_kwargs": {"a": 1}},
    "priority": {"priority": 3},
    "tools": {"tools": [paint]},
    "tool_choice": {"tools": [paint], "tool_choice": "required"},
    "parallel_tool_calls": {"tools": [paint], "parallel_tool_calls": False},
    "raw_prompt": {"raw_prompt": True},
    "extra_body": {"extra_body": {"nonsense": 1}},
    "messages": {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]},
    "model": {"model": "another"},
    "media": {"media": [PNG]},
}
CLIENT_SIDE: Final = {"on_cut", "max_retries", "check_length", "allow_unknown", "timeout"}
"""Options about what is done here, and none of the backend's business."""
SAYS_SO: Final[dict[tuple[str, str], str]] = {
    ("ollama", "parallel_tool_calls"): "its interface has no such field: the number of calls is checked here",
    ("lmstudio", "parallel_tool_calls"): "same",
}
"""Promises that nothing is sent for, since they are kept here."""


class SeenError(Exception):
    """The request was seen, and that is all that is wanted. Nothing handles it, so nothing is tried again."""


class Watching:
    """Takes the request for an answer, and stops there; other questions get a 404."""

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self._other = FakeServer({}).transports["transport"]

    def open(self, call: Call) -> Any:
        if urlsplit(call.url).path in ANSWERING:
            self.body = {"": urlsplit(call.url).path, **msgspec.json.decode(call.body or b"{}")}
            raise SeenError
        return self._other.open(call)

    def close(self) -> None:
        """Nothing is open."""


def sent(provider: str, options: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """The request's body with its path, and what was warned of."""
    backend = BACKENDS[provider]
    watching = Watching()
    config = {"api_key": "k"} if provider in ("openai", "anthropic") else {}
    llm: Provider = backend.target(lambda: {"transport": watching}, **config).named(backend.model)
    with warnings.catch_warnings(record=True) as caught, llm:
        warnings.simplefilter("always")
        try:
            llm.generate("Hello?", **options)
        except SeenError:
            pass
    return watching.body, [str(each.message) for each in caught if issubclass(each.category, KnobWarning)]


PROVIDERS = [name for name in BACKENDS if name != "vllm"]
"""That of vLLM asks the server what it understands; its own tests hold it to the same."""


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_is_dropped_in_silence(provider: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abstractcore.providers.promises._warned", set())
    options = OPTIONS[option]
    alone = {name: value for name, value in options.items() if name not in (option, "n")}
    try:
        before, _ = sent(provider, alone)
        body, warned = sent(provider, options)
    except (UnsupportedFeatureError, ConfigurationError):
        return
    assert before is not None
    if option in ("top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "priority"):
        left_out = any(f" no {option};" in text for text in warned)
        assert (body == before) == left_out
        assert not left_out or option not in KNOBS[provider]
        return
    if (provider, option) in SAYS_SO:
        return
    assert body != before, f"{provider} was sent the same with and without {option}"


def test_every_option_is_tried() -> None:
    assert OPTIONS.keys() | CLIENT_SIDE == GenerateOptions.__annotations__.keys()
