"""What real servers answered, vLLM's and Ollama's; the READMEs say how it was recorded."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

VLLM: Final = Path(__file__).parent / "vllm"
TOOLS: Final = VLLM.with_name("tools")
OLLAMA: Final = VLLM.with_name("ollama")
GATEWAY: Final = VLLM.with_name("gateway")
VERSIONS: Final = ("0.8.5", "0.10.2", "0.11.0", "0.12.0", "0.13.0", "0.16.0", "0.24.0", "0.32.0")
"""The recorded releases, oldest first."""


class Request(NamedTuple):
    """What was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Recording(NamedTuple):
    """One exchange."""

    request: Request
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RecordedStream(NamedTuple):
    """One exchange with a streamed answer."""

    request: Request
    status: int
    headers: dict[str, str]
    chunks: tuple[bytes, ...]
    """The body, cut where the server's HTTP chunks ended."""

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


def recorded(version: str, probe: str) -> Recording:
    """The answer of one release to one probe; KeyError if it was not asked or did not answer."""
    exchange = _probes(version)["probes"][probe]
    return Recording(_request(exchange["request"]), exchange["status"], exchange["headers"], exchange["body"].encode())


def recorded_pooling(probe: str, version: str = "0.32.0") -> Recording:
    """The answer of a server with an embedding model."""
    exchange = _unpack(VLLM / version / "pooling.json.gz")["probes"][probe]
    return Recording(_request(exchange["request"]), exchange["status"], exchange["headers"], exchange["body"].encode())


def probe_names(version: str) -> tuple[str, ...]:
    """The probes that one release has answered, in the order in which they were sent."""
    return tuple(_probes(version)["probes"])


def engine_deaths(version: str) -> tuple[str, ...]:
    """The probes after which the engine of one release was found dead."""
    return tuple(_probes(version)["engine_died_after"])


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI document that one release serves."""
    return dict(_unpack(VLLM / version / "openapi.json.gz"))


def schema_properties(version: str, schema: str) -> frozenset[str]:
    """The fields of one schema in that document; empty if there is no such schema."""
    return frozenset(openapi(version)["components"]["schemas"].get(schema, {}).get("properties", {}))


def recorded_stream(name: str, version: str = "0.32.0") -> RecordedStream:
    """One streamed answer, with its chunks."""
    head = _streams(version)[name]
    body = (VLLM / version / "streams" / f"{name}.sse").read_bytes()
    chunks = []
    start = 0
    for size in head["chunk_sizes"]:
        chunks.append(body[start : start + size])
        start += size
    return RecordedStream(_request(head["request"]), head["status"], head["headers"], tuple(chunks))


def gateway_stream(name: str) -> tuple[Request, tuple[bytes, ...], bool]:
    """A request for a response or a message, the chunks of its streamed answer, and whether the server cut it."""
    head = json.loads((GATEWAY / "streams.json").read_text(encoding="utf-8"))[name]
    body = (GATEWAY / f"{name}.sse").read_bytes()
    chunks, start = [], 0
    for size in head["chunk_sizes"]:
        chunks.append(body[start : start + size])
        start += size
    return Request("POST", head["path"], {}, json.dumps(head["body"]).encode()), tuple(chunks), head["cut"]


def stream_names(version: str = "0.32.0") -> tuple[str, ...]:
    """The recorded streams of one release."""
    return tuple(_streams(version))


def metrics(version: str) -> bytes:
    """What one release said on ``/metrics`` while it was full."""
    return gzip.decompress((VLLM / version / "metrics.txt.gz").read_bytes())


def tool_exchange(server: str, name: str) -> Recording:
    """The answer of a server to a request with tools; `0.32.0`, `0.32.0-no-parser` or `0.10.2`."""
    exchange = _unpack(TOOLS / f"{server}.json.gz")["exchanges"][name]
    return Recording(_request(exchange["request"]), exchange["status"], exchange["headers"], exchange["body"].encode())


def ollama_exchanges() -> dict[str, Recording]:
    """What a real Ollama answered, by name. Of a stream whose runner was killed there are just the last two lines."""
    found = {}
    for exchange in json.loads(gzip.decompress((OLLAMA / "exchanges.json.gz").read_bytes())):
        sent = exchange.get("request")
        request = Request(
            exchange.get("method", "POST"),
            exchange.get("path", "/api/chat"),
            {},
            b"" if sent is None else json.dumps(sent).encode(),
        )
        body = exchange["body"] if "body" in exchange else "".join(f"{line}\n" for line in exchange["last_lines"])
        headers = {"content-type": exchange.get("content_type", "application/x-ndjson")}
        found[exchange["name"]] = Recording(request, exchange["status"], headers, body.encode())
    return found


def _request(sent: dict[str, Any]) -> Request:
    return Request(sent["method"], sent["path"], sent["headers"], (sent["body"] or "").encode())


def _probes(version: str) -> dict[str, Any]:
    return _unpack(VLLM / version / "probes.json.gz")


@cache
def _streams(version: str) -> dict[str, Any]:
    return dict(json.loads((VLLM / version / "streams" / "streams.json").read_bytes()))


@cache
def _unpack(path: Path) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(path.read_bytes())))
