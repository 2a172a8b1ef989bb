"""Inputs from real servers and programs, of which others are made."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Any

from tests.recordings import (
    GATEWAY,
    TOOLS,
    VERSIONS,
    metrics,
    ollama_exchanges,
    openapi,
    probe_names,
    recorded,
    recorded_stream,
    stream_names,
)
from tests.recordings.anthropic import cases

LARGEST = 8192
"""Longer recordings say the same for longer."""


@cache
def openai_answers() -> tuple[bytes, ...]:
    """Answers and refusals of vLLM."""
    bodies = [recorded("0.32.0", probe).body for probe in probe_names("0.32.0")]
    tools = json.loads(gzip.decompress((TOOLS / "0.32.0.json.gz").read_bytes()))["exchanges"]
    bodies += [exchange["body"].encode() for exchange in tools.values()]
    kept = {body for body in bodies if body[:1] == b"{" and len(body) < LARGEST}
    return tuple(sorted(kept, key=lambda body: (len(body), body)))


@cache
def openai_streams() -> tuple[bytes, ...]:
    """Streams of vLLM in OpenAI's protocol."""
    tools = json.loads(gzip.decompress((TOOLS / "0.32.0.json.gz").read_bytes()))["exchanges"]
    bodies = [recorded_stream(name).body for name in stream_names() if name not in ("messages", "responses")]
    bodies += [exchange["body"].encode() for name, exchange in tools.items() if "stream" in name]
    return tuple(body[:LARGEST] if len(body) > 2 * LARGEST else body for body in bodies)


@cache
def event_streams() -> tuple[bytes, ...]:
    """Streams of named events: messages and responses."""
    return tuple(sorted((path.read_bytes() for path in GATEWAY.glob("*.sse")), key=len))


@cache
def anthropic_answers(*, stream: bool) -> tuple[bytes, ...]:
    """Answers in Anthropic's protocol."""
    bodies = {case.body for case in cases().values()}
    return tuple(sorted((body for body in bodies if (body[:1] != b"{") == stream and len(body) < LARGEST), key=len))


@cache
def ollama(*names: str) -> tuple[bytes, ...]:
    """What a real Ollama answered."""
    found = ollama_exchanges()
    return tuple(found[name].body for name in names or found if len(found[name].body) < LARGEST)


@cache
def schemas() -> tuple[bytes, ...]:
    """OpenAPI documents of several releases, cut down to the parts that are read."""
    cut = []
    for version in VERSIONS[-2:]:
        whole = openapi(version)
        known = {name: whole["components"]["schemas"][name] for name in ("ChatCompletionRequest", "CompletionRequest")}
        fields: dict[str, Any] = {
            name: {"properties": {key: {} for key in row["properties"]}} for name, row in known.items()
        }
        paths = {path: whole["paths"][path] for path in ("/v1/chat/completions", "/v1/completions", "/version")}
        cut.append(json.dumps({"components": {"schemas": fields}, "paths": paths}).encode())
    return tuple(cut)


@cache
def metric_texts() -> tuple[bytes, ...]:
    """What vLLM says on ``/metrics``."""
    return metrics("0.32.0")[:LARGEST], recorded("0.24.0", "GET /metrics").body[:LARGEST]
