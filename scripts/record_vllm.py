"""Records what a running vLLM answers, for tests/recordings: its OpenAPI document, its answers to the probes, streams.

Start a server with the tiny model in a folder that holds it and its adapters (relative paths keep the recordings free
of this machine's own), with VLLM_SERVER_DEV_MODE=1 and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment:

    python -m vllm.entrypoints.openai.api_server --model ./tiny --served-model-name smollm2 --enable-lora
        --enable-auto-tool-choice --tool-call-parser hermes --max-model-len 2048 --dtype float32 --enforce-eager

then, with the Python that has abstractcore:

    python scripts/record_vllm.py http://127.0.0.1:8000 tests/recordings/vllm

What is known to kill or block a server of its version is not sent, unless `--unsafe` asks for it.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import vllm_probes
from vllm_probes import CHAT, KEY, MODEL, Probe

from abstractcore.vllm_facts import HAZARDS, Hazard, Version, hazard_in, parse_version

TIMEOUT = 300.0  # the first beam search of some releases compiles C++
STREAMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, vllm_probes.chat(stream=True)),
    "usage": (CHAT, vllm_probes.chat(stream=True, stream_options={"include_usage": True})),
    "two_choices": (CHAT, vllm_probes.chat(stream=True, n=2, temperature=0.8)),
    "logprobs": (CHAT, vllm_probes.chat(stream=True, logprobs=True, top_logprobs=2)),
    "constrained": (CHAT, vllm_probes.chat(stream=True, structured_outputs={"regex": vllm_probes.REGEX})),
    "error": (CHAT, vllm_probes.chat(stream=True, structured_outputs={"regex": r"\p{L}+"})),
    "beam": (CHAT, vllm_probes.chat(stream=True, use_beam_search=True, n=2)),
    "completion": (vllm_probes.COMPLETIONS, vllm_probes.completion(stream=True)),
    "tool_call": (
        CHAT,
        vllm_probes.chat(
            stream=True, tools=vllm_probes.TOOLS, tool_choice=vllm_probes.named_tool("get_n"), max_tokens=64
        ),
    ),
    "messages": (
        "/v1/messages",
        {"model": MODEL, "max_tokens": 8, "messages": vllm_probes.ASK, "stream": True},
    ),
    "responses": ("/v1/responses", {"model": MODEL, "input": "hi", "max_output_tokens": 4, "stream": True}),
}


class Server:
    """One server, asked over a new connection each time."""

    def __init__(self, url: str, *, has_key: bool) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 8000
        self._key = {"authorization": f"Bearer {KEY}"} if has_key else {}

    def ask(self, probe: Probe, timeout: float = TIMEOUT) -> tuple[dict[str, Any], list[bytes]]:
        """Send a probe; the exchange without its answer's body, and the body as it was cut into HTTP chunks."""
        headers = {"content-type": "application/json", **({} if probe.needs_key else self._key), **probe.headers}
        connection, answer = self.begin(probe, timeout)
        try:
            chunks = list(_chunks(answer)) if answer.chunked else [answer.read()]
        finally:
            connection.close()
        exchange = {
            "request": {"method": probe.method, "path": probe.path, "headers": headers, "body": probe.body},
            "status": answer.status,
            "headers": {name.lower(): value for name, value in answer.getheaders()},
        }
        return exchange, chunks

    def begin(
        self, probe: Probe, timeout: float = TIMEOUT
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a probe over a connection of its own, and read the head of the answer."""
        headers = {"content-type": "application/json", **({} if probe.needs_key else self._key), **probe.headers}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        connection.request(probe.method, probe.path, probe.body, headers)
        return connection, connection.getresponse()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(b"".join(self.ask(Probe(path, "GET", path))[1]))

    def lives(self) -> bool:
        """Whether it generates a token; /health answers for a dead engine too."""
        body = {"model": MODEL, "prompt": "a", "max_tokens": 1}
        try:
            exchange, _ = self.ask(Probe("lives", "POST", vllm_probes.COMPLETIONS, json.dumps(body)), timeout=120)
        except OSError:
            return False
        return bool(exchange["status"] == 200)


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The chunks of the transfer coding: `read` would join them."""
    lines = answer.fp
    while size := int(lines.readline().split(b";")[0], 16):
        yield lines.read(size)
        lines.readline()


def hazard_of(probe: Probe, version: Version | None) -> Hazard | None:
    """Why a probe must not be sent to a server of this version."""
    named = next((hazard for hazard in HAZARDS if hazard.name == probe.hazard), None)
    if named and named.concerns(version):
        return named
    try:
        body = json.loads(probe.body or "{}")
    except ValueError:
        body = {}
    return hazard_in(version, probe.path, body)


def record_probes(server: Server, version: Version | None, args: argparse.Namespace) -> dict[str, Any]:
    """All answers, until the server dies."""
    record: dict[str, Any] = {"version": args.version, "engine_died_after": [], "probes": {}}
    for probe in vllm_probes.probes():
        hazard = hazard_of(probe, version)
        if probe.needs_key and not args.key:
            continue
        if hazard and not args.unsafe:
            say(f"{probe.name}: not sent, {hazard.effect}")
            continue
        try:
            exchange, chunks = server.ask(probe)
        except OSError as error:
            say(f"{probe.name}: no answer, {error}")
            exchange = {"status": 599}
        else:
            record["probes"][probe.name] = {**exchange, "body": b"".join(chunks).decode()}
            say(f"{probe.name}: {exchange['status']}")
        if exchange["status"] >= 500 and not server.lives():
            say(f"the engine died after {probe.name}; start the server again for the rest")
            record["engine_died_after"].append(probe.name)
            break
    return record


def record_pooling(server: Server) -> dict[str, Any]:
    """Answers of a server that was started with `--runner pooling --convert embed`."""
    asked = [Probe(name, "POST", path, json.dumps(body)) for name, (path, body) in vllm_probes.POOLING.items()]
    record: dict[str, Any] = {"probes": {}}
    for probe in (*asked, Probe("GET /version", "GET", "/version"), Probe("GET /openapi.json", "GET", "/openapi.json")):
        exchange, chunks = server.ask(probe)
        record["probes"][probe.name] = {**exchange, "body": b"".join(chunks).decode()}
        say(f"{probe.name}: {exchange['status']}")
    return record


def record_streams(server: Server, folder: Path) -> None:
    """Streams, as raw bytes beside a list of their heads."""
    folder.mkdir(parents=True, exist_ok=True)
    heads = {}
    for name, (path, body) in STREAMS.items():
        exchange, chunks = server.ask(Probe(name, "POST", path, json.dumps(body)))
        (folder / f"{name}.sse").write_bytes(b"".join(chunks))
        heads[name] = {**exchange, "chunk_sizes": [len(chunk) for chunk in chunks]}
        say(f"stream {name}: {exchange['status']}, {len(chunks)} chunks")
    (folder / "streams.json").write_text(json.dumps(heads, indent=1) + "\n")


def pack(path: Path, value: Any) -> None:
    """Write compressed JSON; the same value gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def say(line: str) -> None:
    """Talk to the terminal."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Record one server; 1 if its engine died on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the server, such as http://127.0.0.1:8000")
    parser.add_argument("out", type=Path, help="folder of all versions; the server's own is made in it")
    parser.add_argument("--key", action="store_true", help=f"the server was started with --api-key {KEY}")
    parser.add_argument("--only", choices=("openapi", "pooling", "probes", "streams"), help="record only this")
    parser.add_argument("--unsafe", action="store_true", help="send also what kills or blocks this version")
    args = parser.parse_args()

    server = Server(args.url, has_key=args.key)
    reported = server.get("/version")["version"]
    version = parse_version(reported)
    args.version = ".".join(map(str, version)) if version else reported
    if MODEL not in [entry["id"] for entry in server.get("/v1/models")["data"]]:
        say(f"error: the server does not serve a model named {MODEL}\ntry:   --served-model-name {MODEL}")
        return 2
    folder = args.out / args.version
    died: list[str] = []
    if args.only == "pooling":  # another kind of server, so never along with the rest
        pack(folder / "pooling.json.gz", record_pooling(server))
        return 0
    if args.only in (None, "openapi"):
        pack(folder / "openapi.json.gz", server.get("/openapi.json"))
    if args.only in (None, "streams"):
        record_streams(server, folder / "streams")
    if args.only in (None, "probes"):
        record = record_probes(server, version, args)
        pack(folder / "probes.json.gz", record)
        died = record["engine_died_after"]
    return 1 if died else 0


if __name__ == "__main__":
    sys.exit(main())
