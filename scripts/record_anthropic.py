"""Records how a running vLLM answers Anthropic's protocol, for tests/recordings/anthropic.

    python scripts/record_anthropic.py http://127.0.0.1:8000 MODEL tests/recordings/anthropic/vllm-0.32.0.json.gz

The server of the recording there: 0.32.0 with SmolLM2-135M-Instruct, `--max-model-len 2048
--enable-auto-tool-choice --tool-call-parser hermes`. The provider itself asks, so what is recorded is what it sends.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, Final

from abstractcore import AbstractCoreError
from abstractcore.providers.anthropic import AnthropicProvider
from abstractcore.transport import Exchange, HttpTransport
from abstractcore.wire.call import Answer, Call

WEATHER: Final = {
    "name": "weather",
    "description": "The weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
    },
}
CALL: Final = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
}
TALK: Final = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the weather in Paris?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
]
COLOUR: Final = {"type": "object", "properties": {"colour": {"enum": ["red", "green"]}}, "required": ["colour"]}
COLOURS: Final = {"type": "array", "items": {"$ref": "#/$defs/c"}, "maxItems": 2, "$defs": {"c": {"enum": ["red"]}}}
ASK: Final = "What is the capital of France?"
CASES: Final[dict[str, dict[str, Any]]] = {
    "plain": {"prompt": ASK, "max_tokens": 24},
    "system": {"prompt": ASK, "max_tokens": 24, "system_prompt": "Answer in one word."},
    "conversation": {"messages": TALK, "max_tokens": 24},
    "sampling": {"prompt": ASK, "max_tokens": 12, "temperature": 0.7, "top_p": 0.9, "top_k": 20},
    "stop": {"prompt": ASK, "max_tokens": 24, "stop": "France"},
    "cut": {"prompt": ASK, "max_tokens": 4},
    "no limit": {"prompt": ASK},
    "limit too high": {"prompt": ASK, "max_tokens": 3000},
    "too long": {"prompt": "word " * 2500, "max_tokens": 4},
    "choice": {"prompt": "A colour?", "max_tokens": 40, "guided_choice": ["red", "green"]},
    "regex": {"prompt": "A number?", "max_tokens": 40, "guided_regex": "[0-9]{3}-x"},
    "json": {"prompt": "A colour?", "max_tokens": 60, "guided_json": COLOUR},
    "json array": {"prompt": "Colours?", "max_tokens": 60, "guided_json": COLOURS},
    "json cut": {"prompt": "A colour?", "max_tokens": 3, "guided_json": COLOUR},
    "tool required": {"prompt": "Weather?", "max_tokens": 120, "tools": [WEATHER], "tool_choice": "required"},
    "tool named": {"prompt": "Weather?", "max_tokens": 120, "tools": [WEATHER], "tool_choice": "weather"},
    "tool cut": {"prompt": "Weather?", "max_tokens": 4, "tools": [WEATHER], "tool_choice": "weather"},
    "tool none": {"prompt": ASK, "max_tokens": 24, "tools": [WEATHER], "tool_choice": "none"},
    "adaptive": {"prompt": ASK, "max_tokens": 24, "thinking": "low"},
    "budget": {"prompt": ASK, "max_tokens": 1100, "thinking": 1024},
    "disabled": {"prompt": ASK, "max_tokens": 24, "thinking": False},
    "wrong model": {"prompt": ASK, "max_tokens": 4, "model": "smollm3"},
    "bad parameter": {"prompt": ASK, "max_tokens": 4, "temperature": -1},
    "broken grammar": {"prompt": ASK, "max_tokens": 4, "guided_regex": r"\p{L}+"},
    "image": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "text", "text": "What is it?"},
    ]}], "max_tokens": 4},
}  # fmt: skip
STREAMED: Final = (
    "plain",
    "stop",
    "cut",
    "no limit",
    "choice",
    "json",
    "tool required",
    "tool named",
    "broken grammar",
)


class Recorder:
    """A way to the server that remembers what passed."""

    def __init__(self) -> None:
        self._transport = HttpTransport()
        self.exchanges: list[dict[str, Any]] = []

    def open(self, call: Call) -> Recorded:
        """Send a request."""
        return Recorded(self._transport.open(call), call, self.exchanges)

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()


class Recorded:
    """One request and its answer, in the pieces in which it came."""

    def __init__(self, exchange: Exchange, call: Call, exchanges: list[dict[str, Any]]) -> None:
        self._exchange = exchange
        answer = exchange.answer
        self._chunks: list[str] = [] if call.stream else [_text(answer.body)]
        exchanges.append(
            {
                "method": call.method,
                "path": "/" + call.url.split("/", 3)[3],
                "headers": dict(call.headers),
                "body": json.loads(call.body) if call.body else None,
                "status": answer.status,
                "answered": {name: value for name, value in answer.headers.items() if name != "date"},
                "chunks": self._chunks,
            }
        )

    @property
    def answer(self) -> Answer:
        """The head of the answer, or all of it."""
        return self._exchange.answer

    def read(self) -> bytes:
        """The next piece."""
        data = self._exchange.read()
        if data:
            self._chunks.append(_text(data))  # the server cuts between events
        return data

    def close(self) -> None:
        """Abort, unless it is over."""
        self._exchange.close()


def _text(data: bytes) -> str:
    """What came, without the folder of this machine that holds the models."""
    return data.decode().replace(f"{Path.home()}/.cache/abstractcore/models/", "")


def main() -> int:
    """Record all cases, and the endpoints beside them."""
    url, model, out = sys.argv[1:]
    recorder = Recorder()
    llm = AnthropicProvider(model, base_url=url, transport=recorder, temperature=0)
    cases: dict[str, Any] = {}

    def record(name: str, ask: Any, options: dict[str, Any]) -> None:
        recorder.exchanges = []
        try:
            outcome = "answered" if ask() else "nothing"
        except AbstractCoreError as error:
            outcome = type(error).__name__
        cases[name] = {"options": options, "outcome": outcome, "exchanges": recorder.exchanges}
        print(f"{name}: {outcome}", file=sys.stderr)

    for name, options in CASES.items():
        llm._contexts.clear()  # noqa: SLF001 - each case begins as a fresh provider does
        record(name, lambda options=options: llm.generate(**options), options)
    for name in STREAMED:
        options = {**CASES[name], "stream": True}
        llm._contexts.clear()  # noqa: SLF001
        record(f"{name} streamed", lambda options=options: list(llm.generate(**options)), options)
    record("models", llm.list_available_models, {})
    record("count", lambda: llm.count_tokens(ASK), {"prompt": ASK})
    text = json.dumps({"model": model, "cases": cases}, ensure_ascii=False, separators=(",", ":"))
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
