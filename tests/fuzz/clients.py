"""Clients as users hold them: any bytes in place of a server's answer are an answer or an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from abstractcore import create_llm
from abstractcore.errors import ConstraintViolationError, ProviderError, UnsupportedFeatureError
from abstractcore.providers.vllm.dialect import read_dialect, read_version
from abstractcore.testing import FakeTransport, Reply
from abstractcore.tools import read_emulated
from abstractcore.types import GenerateResponse
from abstractcore.wire.call import Call

from . import seeds
from .target import Target

Use = Callable[[Any], object]
JSON: Final = {"content-type": "application/json"}
EVENTS: Final = {"content-type": "text/event-stream"}
LINES: Final = {"content-type": "application/x-ndjson"}
FAILS: Final = (ProviderError, ConstraintViolationError, UnsupportedFeatureError)
MODEL: Final = "smollm2"
"""As in the recordings."""
TOOL: Final = {"type": "function", "function": {"name": "get_n", "parameters": {"type": "object"}}}
SCHEMA: Final = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
ASKED: Final[Sequence[dict[str, Any]]] = (
    {},
    {"guided_json": SCHEMA},
    {"tools": [TOOL]},
    {"guided_regex": "[a-z ]+", "max_output_tokens": 3},
)


@dataclass
class Says:
    """A server that says the same to every request, but describes itself as a real one does."""

    headers: dict[str, str]
    described: dict[str, Reply] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200
    aborted: list[Call] = field(default_factory=list)
    closed: int = 0

    def answer(self, call: Call) -> Reply:
        """Takes a request."""
        for path, reply in self.described.items():
            if call.url.endswith(path):
                return reply
        half = len(self.body) // 2
        return Reply((self.body[:half], self.body[half:]), self.status, self.headers)


def _vllm() -> dict[str, Reply]:
    return {
        "/version": Reply.json({"version": "0.32.0"}),
        "/openapi.json": Reply((seeds.schemas()[-1],), 200, JSON),
    }


def asks(provider: str, use: Use, headers: dict[str, str] = JSON, *, fresh: bool = False) -> Callable[[bytes], object]:
    """Has a client read an input.

    Args:
        provider: The client.
        use: What it is asked.
        headers: Of the answer.
        fresh: A new client for every input, since it keeps what it has read.
    """
    made: list[tuple[Any, Says]] = []

    def run(data: bytes) -> object:
        if fresh or not made:
            says = Says(headers, _vllm() if provider == "vllm" else {})
            options = {"api_key": "k", "max_retries": 0, "transport": FakeTransport(says)}
            made[:] = [(create_llm(provider, MODEL, base_url="http://h", **options), says)]
        [(llm, says)] = made
        says.body = data
        return use(llm)

    return run


def whole(llm: Any) -> None:
    """Asks in several ways."""
    faults: list[Exception | None] = []
    for options in ASKED:
        try:
            answer = llm.generate("hi", **options)
        except FAILS as error:
            faults.append(error)
        else:
            faults.append(None)
            assert isinstance(answer, GenerateResponse)
            assert isinstance(answer.content, str)
            assert answer.finish_reason
    if faults[0] is not None:
        raise faults[0]


def streamed(llm: Any) -> None:
    """Asks for a stream: what it hands out before it fails is text, and its last chunk alone says that it ended."""
    for options in ASKED[:2]:
        ended = False
        try:
            for chunk in llm.generate("hi", stream=True, **options):
                assert isinstance(chunk.content, str)
                assert not ended, "a chunk after the last"
                ended = chunk.finish_reason is not None
            assert ended, "the stream ended without a word"
        except FAILS:
            assert not ended, "it said that it ended, and failed after that"
            if not options:
                raise


def lists(*names: str) -> Use:
    """Asks for lists and figures; refused where all are."""

    def use(llm: Any) -> None:
        faults: list[Exception] = []
        for name in names:
            method, _, argument = name.partition(":")
            try:
                getattr(llm, method)(*(argument.split(":") if argument else []))
            except FAILS as error:
                faults.append(error)
        if len(faults) == len(names):
            raise faults[0]

    return use


def _dialect(data: bytes) -> None:
    dialect = read_dialect("0.32.0", data)
    for path in ("/v1/chat/completions", "/v1/completions"):
        dialect.fields_of(path)
    assert dialect.spelling("chat") in ("structured_outputs", "guided", None)
    str(dialect.note)


def _version(data: bytes) -> None:
    dialect = read_dialect(read_version(data), None)
    str((dialect.number, dialect.facts, dialect.note, dialect.spelling("completions")))


def _calls(data: bytes) -> None:
    calls = read_emulated(data.decode("utf-8", "replace"), "c")
    assert calls is None or all(isinstance(call.name, str) and isinstance(call.arguments, dict) for call in calls)


def _recorded(*names: str) -> Callable[[], Iterable[bytes]]:
    return lambda: seeds.ollama(*names)


_OPENAI_LISTS: Final = lists("list_models", "list_available_models", "embed:x")
_VLLM_LISTS: Final = lists("list_models", "embed:x", "count_tokens:x", "tokenize:x", "list_adapters", "score:x:y")

TARGETS: Final = (
    Target("openai-answer", "answers in OpenAI's protocol", asks("openai", whole), FAILS, seeds.openai_answers),
    Target(
        "openai-stream", "streams in OpenAI's protocol", asks("openai", streamed, EVENTS), FAILS, seeds.openai_streams
    ),
    Target(
        "openai-lists", "models and embeddings", asks("openai", _OPENAI_LISTS, fresh=True), FAILS, seeds.openai_answers
    ),
    Target("vllm-answer", "answers of vLLM", asks("vllm", whole), FAILS, seeds.openai_answers),
    Target("vllm-stream", "streams of vLLM", asks("vllm", streamed, EVENTS), FAILS, seeds.openai_streams),
    Target(
        "vllm-lists",
        "models, tokens and vectors of vLLM",
        asks("vllm", _VLLM_LISTS, fresh=True),
        FAILS,
        seeds.openai_answers,
    ),
    Target("vllm-openapi", "OpenAPI documents", _dialect, (), seeds.schemas),
    Target(
        "vllm-version",
        "answers of /version",
        _version,
        (),
        lambda: [b'{"version":"0.11.0.post2"}', b'{"version":"0.32.0"}'],
    ),
    Target(
        "anthropic-answer",
        "answers in Anthropic's protocol",
        asks("anthropic", whole),
        FAILS,
        lambda: seeds.anthropic_answers(stream=False),
    ),
    Target(
        "anthropic-stream",
        "streams in Anthropic's protocol",
        asks("anthropic", streamed, EVENTS),
        FAILS,
        lambda: (*seeds.anthropic_answers(stream=True), *seeds.event_streams()),
    ),
    Target(
        "anthropic-lists",
        "models and counts",
        asks("anthropic", lists("list_models", "list_available_models", "count_tokens:x"), fresh=True),
        FAILS,
        lambda: [b'{"data":[{"id":"m","max_input_tokens":5}],"has_more":true,"last_id":"m"}', b'{"input_tokens":3}'],
    ),
    Target("ollama-answer", "answers of Ollama", asks("ollama", whole), FAILS, _recorded()),
    Target("ollama-stream", "lines of Ollama", asks("ollama", streamed, LINES), FAILS, _recorded()),
    Target(
        "ollama-lists",
        "models, versions and vectors of Ollama",
        asks("ollama", lists("list_models", "list_available_models", "embed:x"), fresh=True),
        FAILS,
        _recorded("tags", "ps-loaded", "ps-empty", "version"),
    ),
    Target(
        "lmstudio-lists",
        "both lists of LM Studio",
        asks("lmstudio", lists("list_models", "list_available_models"), fresh=True),
        FAILS,
        lambda: [
            (
                b'{"models":[{"key":"m","loaded_instances":[{"id":"m","config":{"context_length":4096}}],'
                b'"capabilities":{"vision":true}}]}'
            ),
            b'{"data":[{"id":"m","state":"loaded","type":"vlm","max_context_length":5,"capabilities":["tool_use"]}]}',
        ],
    ),
    Target(
        "tool-calls",
        "tool calls that a model wrote as text",
        _calls,
        (),
        lambda: [b'[{"name":"f","arguments":{"a":1}}]', b'{"name":"f","arguments":{}}'],
    ),
)
