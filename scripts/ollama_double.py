"""A stand-in for an Ollama server, for machines that can't have one: recorded answers, and a real model for the rest.

Requests that a real Ollama was asked when it was recorded get that answer, byte by byte. All others are answered the
way Ollama does it: the conversation is put into the model's template here, a real llama.cpp server (the runner, a
process of its own) completes it, and its events become Ollama's lines. Run it with a Python that has ``xllamacpp``::

    python scripts/ollama_double.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --recordings exchanges.json.gz

It prints its address and listens on loopback only. ``GET /double`` gives the runner's process, for tests that kill it.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

MODEL: Final = "smollm2"
STOPS: Final = ["<|im_start|>", "<|im_end|>"]
KEEP: Final = 4
INTEGERS: Final = {"num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch", "num_gpu"}
FLOATS: Final = {
    "top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty",
}  # fmt: skip
DEFAULTS: Final[dict[str, Any]] = {
    "num_predict": -1, "num_keep": KEEP, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0,
    "repeat_last_n": 64, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": -1,
    "stop": STOPS,
}  # fmt: skip
TOO_LONG: Final = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
    "context length in settings, or use a model with a longer context length"
)


class Refusal(Exception):  # noqa: N818 - it is an answer
    """An answer with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


# --- the runner: llama.cpp's own server, in a process that may die ----------------------------------------------------


def run_model(gguf: str, port: int, num_ctx: int, *, shift: bool) -> None:
    """What the runner's process does."""
    os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"] = "passive", "0"  # else idle threads spin
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx, params.n_parallel, params.ctx_shift = num_ctx, 1, shift
    server = xllamacpp.Server(params)
    print("ready", flush=True)
    sys.stdin.read()  # until the other side is gone
    del server


class Runner:
    """The model, loaded as the last request wanted it."""

    def __init__(self, gguf: str, num_ctx: int) -> None:
        self._gguf = gguf
        self.num_ctx = self.default_num_ctx = num_ctx
        self.shift = True
        self.process: subprocess.Popen[str] | None = None
        self._port = 0
        self._lock = threading.Lock()

    def load(self, num_ctx: int, *, shift: bool) -> None:
        """Starts the process, again where it is dead or has the model loaded in another way."""
        with self._lock:
            alive = self.process is not None and self.process.poll() is None
            if alive and (num_ctx, shift) == (self.num_ctx, self.shift):
                return
            self.unload()
            self.num_ctx, self.shift = num_ctx, shift
            with socket.create_server(("127.0.0.1", 0)) as free:
                self._port = free.getsockname()[1]
            arguments = ["--runner", self._gguf, str(self._port), str(num_ctx), str(int(shift))]
            self.process = subprocess.Popen(
                [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self.process.stdout is not None
            if "ready" not in self.process.stdout.read(6):
                raise Refusal(500, "llama-server process has terminated")

    def died(self) -> bool:
        """Whether the process has come to an end by itself."""
        try:
            return self.process is not None and self.process.wait(1) is not None
        except subprocess.TimeoutExpired:
            return False

    def unload(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def post(self, path: str, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        """Asks it something."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            return connection.getresponse()
        except OSError as error:
            raise Refusal(500, f"model runner has unexpectedly stopped: {error}") from error

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text."""
        found = json.load(self.post("/tokenize", {"content": text, "add_special": True}))
        return list(found["tokens"])


# --- Ollama's side ----------------------------------------------------------------------------------------------------


def rendered(messages: list[dict[str, Any]]) -> str:
    """The model's template."""
    turns = "".join(f"<|im_start|>{each['role']}\n{each.get('content', '')}<|im_end|>\n" for each in messages)
    return f"{turns}<|im_start|>assistant\n"


def options_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The options, with their defaults; unknown ones are ignored, as Ollama does."""
    given = request.get("options") or {}
    for name, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in INTEGERS and not number:
            raise Refusal(500, f'option "{name}" must be of type integer')
        if name in FLOATS and not number:
            raise Refusal(500, f'option "{name}" must be of type float32')
        if name == "stop" and not isinstance(value, list):
            raise Refusal(500, 'option "stop" must be of type array')
    return {**DEFAULTS, **{name: value for name, value in given.items() if name in INTEGERS | FLOATS | {"stop"}}}


class Ollama:
    """What the handlers share."""

    def __init__(self, gguf: str, recordings: Path, num_ctx: int) -> None:
        self.runner = Runner(gguf, num_ctx)
        exchanges = json.loads(gzip.decompress(recordings.read_bytes()))
        self.recorded = {exchange["name"]: exchange for exchange in exchanges}
        self._known = {
            self.key(each["method"], each["path"], each["request"]): each
            for each in reversed(exchanges)
            if "body" in each and each["name"] not in ("ps-loaded", "ps-empty", "nomsg-load", "unload")
        }

    @staticmethod
    def key(method: str, path: str, request: Any) -> str:
        """Tells requests apart."""
        return f"{method} {path} {json.dumps(request, sort_keys=True)}"

    def replay(self, method: str, path: str, request: Any) -> dict[str, Any] | None:
        """The recorded exchange, also for a request that besides says that nothing may be shortened."""
        exact = self._known.get(self.key(method, path, request))
        if exact is not None or not isinstance(request, dict):
            return exact
        rest = {name: value for name, value in request.items() if name not in ("truncate", "shift")}
        found = self._known.get(self.key(method, path, rest))
        return None if found is None or found["name"] == "too-long" else found

    def check(self, request: Mapping[str, Any]) -> None:
        """Refuses what Ollama refuses before it loads a model."""
        name = request.get("model")
        if name not in (MODEL, f"{MODEL}:latest"):
            raise Refusal(404, f"model '{name}' not found")
        if not 0 <= request.get("top_logprobs", 0) <= 20:
            raise Refusal(400, "top_logprobs must be between 0 and 20")
        if request.get("tools"):
            raise Refusal(400, f"registry.ollama.ai/library/{MODEL}:latest does not support tools")
        if request.get("think"):
            raise Refusal(400, f'"{name}" does not support thinking')

    def prompt(self, request: Mapping[str, Any], num_ctx: int) -> str | list[int]:
        """What the runner is to complete; shortened as Ollama does it, unless the request forbids that."""
        truncate = request.get("truncate") is not False
        if "messages" in request:
            messages = list(request["messages"])
            while truncate and len(messages) > 1 and len(self.runner.tokens(rendered(messages))) > num_ctx:
                oldest = next((at for at, each in enumerate(messages[:-1]) if each["role"] != "system"), None)
                if oldest is None:
                    break
                del messages[oldest]
            text = rendered(messages)
        else:
            text = (
                request["prompt"] if request.get("raw") else rendered([{"role": "user", "content": request["prompt"]}])
            )
        if not truncate or len(text) < num_ctx:
            return text
        tokens = self.runner.tokens(text)
        if len(tokens) <= num_ctx - 1:
            return text
        if not self.runner.shift:
            raise Refusal(400, TOO_LONG)
        limit = num_ctx - max((num_ctx - KEEP) // 2, 1)
        return tokens[:KEEP] + tokens[KEEP + len(tokens) - limit :]

    def complete(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of an answer."""
        started = time.perf_counter()
        options = options_of(request)
        num_ctx = options.pop("num_ctx", self.runner.default_num_ctx)
        self.runner.load(num_ctx, shift=request.get("shift") is not False)
        loaded = time.perf_counter()
        limit = options.pop("num_predict")
        body = {
            **{name: value for name, value in options.items() if name not in ("num_keep", "num_batch", "num_gpu")},
            "prompt": self.prompt(request, num_ctx),
            "stream": True,
            "cache_prompt": True,
            "n_keep": options["num_keep"],
            "n_predict": limit if 0 <= limit <= 10 * num_ctx else 10 * num_ctx,
        }
        if request.get("logprobs"):
            body["n_probs"] = max(request.get("top_logprobs", 0), 1)
        wanted = request.get("format")
        if isinstance(wanted, dict):
            body["json_schema"] = wanted
        elif wanted == "json":
            body["json_schema"] = {"type": "object"}
        elif wanted:
            raise Refusal(500, f'invalid format: "\\"{wanted}\\""; expected "json" or a valid JSON Schema object')
        answer = self.runner.post("/completion", body)
        if answer.status >= 400:
            raise Refusal(answer.status, answer.read().decode().strip())
        for event in events(answer):
            line = self._line(request, event)
            if event.get("stop"):
                line |= {"total_duration": ns(started), "load_duration": int((loaded - started) * 1e9)} | counts(event)
                yield line
                return
            if event.get("content"):
                yield line
        if self.runner.died():
            raise Refusal(500, "an error was encountered while running the model: unexpected EOF")

    def _line(self, request: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
        text = event.get("content", "")
        said = {"message": {"role": "assistant", "content": text}} if "messages" in request else {"response": text}
        line: dict[str, Any] = {"model": request["model"], "created_at": now(), **said, "done": bool(event.get("stop"))}
        if line["done"]:
            line["done_reason"] = "length" if event.get("stop_type") == "limit" else "stop"
        elif event.get("completion_probabilities"):
            tops = request.get("top_logprobs", 0) > 0
            line["logprobs"] = [logprob(each, tops=tops) for each in event["completion_probabilities"]]
        return line


def logprob(token: Mapping[str, Any], *, tops: bool) -> dict[str, Any]:
    """A token in Ollama's form."""
    found: dict[str, Any] = {"token": token["token"], "logprob": token["logprob"]}
    if tops:
        found["top_logprobs"] = [{"token": t["token"], "logprob": t["logprob"]} for t in token["top_logprobs"]]
    return found


def events(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The runner's events."""
    for line in answer:  # ends without a word where the other side dies
        if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
            yield json.loads(line[6:])


def counts(event: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens and nanoseconds."""
    timings = event["timings"]
    return {
        "prompt_eval_count": timings.get("cache_n", 0) + timings["prompt_n"],
        "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
        "eval_count": timings["predicted_n"],
        "eval_duration": int(timings["predicted_ms"] * 1e6),
    }


def ns(since: float) -> int:
    """Nanoseconds since a time."""
    return int((time.perf_counter() - since) * 1e9)


def now() -> str:
    """The time as Go writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def encoded(document: Any) -> bytes:
    """JSON as Go writes it."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    ollama: Ollama

    def do_GET(self) -> None:
        """What is asked without a body."""
        if self.path == "/double":
            process = self.ollama.runner.process
            self._send(200, encoded({"runner": process.pid if process else None}))
        elif self.path == "/api/ps":
            self._send(200, encoded({"models": self._loaded()}))
        else:
            self._answer(None)

    def do_POST(self) -> None:
        """What is asked with a body."""
        data = self.rfile.read(int(self.headers.get("content-length", "0")))
        try:
            self._answer(json.loads(data))
        except ValueError as error:
            self._send(400, encoded({"error": str(error)}))

    def _answer(self, request: Any) -> None:
        found = self.ollama.replay(self.command, self.path, request)
        if found is not None:
            self._send(found["status"], found["body"].encode(), found["content_type"])
            return
        handle = {"/api/chat": self._generate, "/api/generate": self._generate, "/api/show": self._show,
                  "/api/embed": self._embed}.get(self.path)  # fmt: skip
        if handle is None or self.command != "POST":
            self._send(404, b"404 page not found", "text/plain")
            return
        try:
            handle(request)
        except Refusal as refusal:
            self._send(refusal.status, encoded({"error": refusal.message}))

    def _generate(self, request: dict[str, Any]) -> None:
        self.ollama.check(request)
        if not request.get("messages", request.get("prompt")):
            self._load(request)
            return
        lines = self.ollama.complete(request)
        first = next(lines, None)  # what is refused before a line has its own status
        if request.get("stream") is False:
            self._send(200, encoded(whole([line for line in (first, *lines) if line is not None])))
            return
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            if first is not None:
                self._chunk(encoded(first) + b"\n")
            for line in lines:
                self._chunk(encoded(line) + b"\n")
        except Refusal as refusal:
            self._chunk(encoded({"error": refusal.message}) + b"\n")
        except OSError:  # the client is gone
            lines.close()  # type: ignore[attr-defined]
            self.close_connection = True
            return
        self._chunk(b"")

    def _load(self, request: dict[str, Any]) -> None:
        unload = request.get("keep_alive") == 0
        if unload:
            self.ollama.runner.unload()
        else:
            num_ctx = options_of(request).get("num_ctx", self.ollama.runner.default_num_ctx)
            self.ollama.runner.load(num_ctx, shift=request.get("shift") is not False)
        said = {"message": {"role": "assistant", "content": ""}} if "messages" in request else {"response": ""}
        reason = "unload" if unload else "load"
        self._send(
            200, encoded({"model": request["model"], "created_at": now(), **said, "done": True, "done_reason": reason})
        )

    def _loaded(self) -> list[Any]:
        runner = self.ollama.runner
        if runner.process is None or runner.process.poll() is not None:
            return []
        rows = json.loads(self.ollama.recorded["ps-loaded"]["body"])["models"]
        return [{**row, "context_length": runner.num_ctx} for row in rows]

    def _show(self, request: dict[str, Any]) -> None:
        if request.get("model") not in (MODEL, f"{MODEL}:latest"):
            raise Refusal(404, f"model '{request.get('model')}' not found")
        self._send(200, self.ollama.recorded["show"]["body"].encode())

    def _embed(self, request: dict[str, Any]) -> None:
        self.ollama.check(request)
        self.ollama.runner.load(self.ollama.runner.default_num_ctx, shift=True)
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        answer = self.ollama.runner.post("/embedding", {"content": texts[0]})
        inner = json.load(answer)
        raise Refusal(answer.status, inner["error"]["message"])  # a chat model makes none

    def _send(self, status: int, body: bytes, content_type: str = "application/json; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def whole(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The lines of a stream as one answer."""
    last = dict(lines[-1])
    if "message" in last:
        last["message"] = {"role": "assistant", "content": "".join(line["message"]["content"] for line in lines)}
    else:
        last["response"] = "".join(line["response"] for line in lines)
    logprobs = [each for line in lines for each in line.get("logprobs", ())]
    return {**last, "logprobs": logprobs} if logprobs else last


def main() -> None:
    """Serves until it is stopped."""
    if sys.argv[1:2] == ["--runner"]:
        gguf, port, num_ctx, shift = sys.argv[2:]
        run_model(gguf, int(port), int(num_ctx), shift=shift == "1")
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gguf", required=True, help="the model's file")
    parser.add_argument("--recordings", type=Path, required=True, help="what a real Ollama answered")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--num-ctx", type=int, default=4096, help="context with which the model is loaded")
    given = parser.parse_args()
    Handler.ollama = Ollama(given.gguf, given.recordings, given.num_ctx)
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        Handler.ollama.runner.unload()


if __name__ == "__main__":
    main()
