"""Records how a running vLLM answers requests with tools, for tests/recordings/tools.

    python scripts/record_tool_calls.py http://127.0.0.1:8000 MODEL tests/recordings/tools/0.32.0.json.gz

The servers of the recordings there: 0.32.0 with SmolLM2-135M-Instruct and `--enable-auto-tool-choice --tool-call-parser
hermes`, and with neither flag (`no-parser`); 0.10.2 with the tiny random model and both flags.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any, Final

from record_vllm import Server
from vllm_probes import CHAT, Probe, named_tool

WEATHER: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
DIGIT: Final = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOLS: Final = [
    {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "digit", "description": "A digit.", "parameters": DIGIT}},
]
STRICT: Final = [{**tool, "function": {**tool["function"], "strict": True}} for tool in TOOLS]  # type: ignore[dict-item]
FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"enum": ["x", "y"]}}}
CALL: Final = {
    "type": "object",
    "properties": {"name": {"const": "weather"}, "arguments": WEATHER},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
CALL_FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "answer", "schema": CALL}}
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "auto": {"tools": TOOLS, "tool_choice": "auto"},
    "required": {"tools": TOOLS, "tool_choice": "required"},
    "required strict": {"tools": STRICT, "tool_choice": "required"},
    "named strict": {"tools": STRICT, "tool_choice": named_tool("weather")},
    "required cut": {"tools": STRICT, "tool_choice": "required", "max_tokens": 5},
    "named cut": {"tools": STRICT, "tool_choice": named_tool("weather"), "max_tokens": 4},
    "required stream": {"tools": STRICT, "tool_choice": "required", "stream": True},
    "named stream": {"tools": STRICT, "tool_choice": named_tool("weather"), "stream": True},
    "required cut stream": {"tools": STRICT, "tool_choice": "required", "max_tokens": 5, "stream": True},
    "named cut stream": {"tools": STRICT, "tool_choice": named_tool("weather"), "max_tokens": 4, "stream": True},
    "none with format": {"tools": STRICT, "tool_choice": "none", "response_format": FORMAT},
    "none with call": {"tools": STRICT, "tool_choice": "none", "response_format": CALL_FORMAT},
    "none with call stream": {"tools": STRICT, "tool_choice": "none", "response_format": CALL_FORMAT, "stream": True},
    "none with call cut": {"tools": STRICT, "tool_choice": "none", "response_format": CALL_FORMAT, "max_tokens": 5},
    "auto with format": {"tools": STRICT, "tool_choice": "auto", "response_format": FORMAT},
    "required with format": {"tools": STRICT, "tool_choice": "required", "response_format": FORMAT},
}


def main() -> int:
    """Record all of them; the exchanges have the form of `record_vllm.py`."""
    url, model, out = sys.argv[1:]
    server = Server(url, has_key=False)
    record: dict[str, Any] = {"version": server.get("/version")["version"], "exchanges": {}}
    ask = [{"role": "user", "content": "What is the weather in Paris?"}]
    for name, fields in REQUESTS.items():
        options = {"stream_options": {"include_usage": True}} if fields.get("stream") else {}
        body = {"model": model, "messages": ask, "max_tokens": 64, "temperature": 0, **options, **fields}
        exchange, chunks = server.ask(Probe(name, "POST", CHAT, json.dumps(body)))
        record["exchanges"][name] = {**exchange, "body": b"".join(chunks).decode()}
        print(f"{name}: {exchange['status']}", file=sys.stderr)
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
