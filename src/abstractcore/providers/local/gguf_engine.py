"""GGUF files by llama.cpp, in this process."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final
from urllib.parse import quote

import msgspec

from ...errors import ProviderError
from ...transport.http_sync import HttpTransport
from ...types import ModelInfo, Usage
from ...wire.call import Call
from ...wire.failure import read_failure
from ...wire.openai import DECODER, WireChoice, WireMessage, read_logprobs
from ..extras import need
from . import gguf_grammar, gguf_header
from .engine import Delta, Engine, EngineError
from .signals import kept_handlers

DEFAULT_CONTEXT: Final = 8192
"""Tokens of context unless told otherwise or trained for fewer: memory grows with it, whether it is used or not."""
_ONE_THREAD: Final = 250e6
"""Bytes of a file below which one thread is faster: several wait for each other some 300 times a token."""
_LONGEST_EMBEDDED: Final = 2048
"""Tokens of the longest text that gets a vector."""
_PROMPT_CACHE: Final = 256
"""MiB of memory for the prompts of other conversations."""
_OWN: Final = ("model", "n", "stream", "stream_options", "structured_outputs", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is loaded."""

    context_length: int | None = None
    """Tokens of prompt and answer together, of each request."""
    threads: int | None = None
    """For generating; the best number for the model's size when left out."""
    gpu_layers: int | None = None
    """Layers that go to a GPU; all that fit when left out."""
    parallel: int = 1
    """Requests at once. Each takes the memory of one context."""


class GgufEngine(Engine):
    """A GGUF file by llama.cpp.

    Args:
        name: What requests call the model.
        find: Gives the file; may fetch it, when the model is loaded.
        path: Where the file is, or will be.
        options: How it is loaded.
    """

    def __init__(self, name: str, path: Path, options: Options, find: Callable[[], Path] | None = None) -> None:
        self._name = name
        self._path = path
        self._options = options
        self._find = find
        self._server: Any = None
        self._embedder: Any = None
        self._starting = threading.Lock()
        self._header: Mapping[str, Any] = {}
        self._folder: Path | None = None
        self._key = ""
        self._http: HttpTransport | None = None
        self.parallel = options.parallel  # type: ignore[misc] # a constant of the other engines

    @property
    def description(self) -> str:
        version = getattr(need("xllamacpp", "huggingface", "local"), "__version__", "")
        return f"llama.cpp (xllamacpp {version})".replace(" )", ")")

    def models(self) -> list[ModelInfo]:
        if self._find is not None and not self._path.exists():
            return [ModelInfo(id=self._name, owned_by="llama.cpp")]
        context = self._context(gguf_header.read_header(self._path))
        return [ModelInfo(id=self._name, context_length=context, root=str(self._path), owned_by="llama.cpp")]

    def load(self) -> None:
        # Threads that spin while they wait are several times slower wherever other programs want the cores too.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        need("xllamacpp", "huggingface", "local")
        self._path = self._find() if self._find else self._path
        self._header = gguf_header.read_header(self._path)
        _read_once(self._path)
        self._folder = Path(tempfile.mkdtemp(prefix="abstractcore-"))
        self._key = secrets.token_urlsafe()
        try:
            if gguf_header.has_pooling(self._header):
                self._server = self._embedder = self._start("embedder")
            else:
                self._server = self._start("engine")
        except EngineError:
            self.close()
            raise
        self._http = HttpTransport()

    def _start(self, name: str) -> Any:
        xllamacpp = need("xllamacpp", "huggingface", "local")
        params = self._params(xllamacpp, name)
        if name == "embedder":
            params.embedding = True
            params.n_parallel = 1
            # A text must fit into one batch. Pooling is the mean of all tokens, unless the model says otherwise.
            params.n_ctx = params.n_batch = params.n_ubatch = min(self._context(self._header), _LONGEST_EMBEDDED)
            if not gguf_header.has_pooling(self._header):
                params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        try:
            with kept_handlers(signal.SIGINT, signal.SIGTERM):
                return xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp can't load {self._path}: {error} "
                f"Its architecture is {self._header.get('general.architecture')!r}",
                status=500,
            ) from error

    def _params(self, xllamacpp: Any, name: str) -> Any:
        params, options = xllamacpp.CommonParams(), self._options
        params.model.path = str(self._path)
        params.n_ctx = self._context(self._header) * options.parallel
        params.n_parallel = options.parallel
        params.verbosity = 0
        params.ui = False
        params.cache_ram_mib = _PROMPT_CACHE
        if options.gpu_layers is not None:
            params.n_gpu_layers = options.gpu_layers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        best = 1 if self._path.stat().st_size < _ONE_THREAD else cores
        params.cpuparams.n_threads = options.threads or best
        params.cpuparams_batch.n_threads = max(options.threads or 0, cores)
        # Its HTTP server can't be left out: it gets a socket that nobody else can open, in place of a port.
        params.hostnames = [f"{self._folder}/{name}.sock"]
        params.api_keys = [self._key]
        return params

    def _context(self, header: Mapping[str, Any]) -> int:
        return self._options.context_length or min(gguf_header.context_length(header) or 4096, DEFAULT_CONTEXT)

    def generate(self, body: Mapping[str, Any], cancelled: Callable[[], bool]) -> Iterator[Delta]:
        wanted = _for_llama(body)
        handle = self._server.handle_chat_completions if "messages" in body else self._server.handle_completions
        prompt_tokens = generated = 0
        for index in range(body.get("n") or 1):
            if index and "seed" in wanted:
                wanted["seed"] += 1
            for delta in _deltas(handle, wanted, cancelled):
                delta.index = index
                if delta.usage:
                    prompt_tokens, generated = delta.usage.input_tokens, generated + delta.usage.output_tokens
                    delta.usage = Usage(prompt_tokens, generated, delta.usage.cached_tokens)
                yield delta

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], Usage]:
        with self._starting:
            # A second one beside the first, which shares its weights: with both duties and several requests at once,
            # llama.cpp was seen to abort the whole process.
            self._embedder = self._embedder or self._start("embedder")
        answer = self._embedder.handle_embeddings({"input": list(texts)})
        _check(answer)
        rows = sorted(answer["data"], key=lambda row: row["index"])
        return [row["embedding"] for row in rows], Usage(answer["usage"]["prompt_tokens"])

    def tokenize(self, body: Mapping[str, Any]) -> list[int]:
        if "messages" in body:
            asked = {name: body[name] for name in ("messages", "tools", "chat_template_kwargs") if name in body}
            text = self._ask("/apply-template", asked)["prompt"]
        else:
            text = body["prompt"]
        found: list[int] = self._ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})[
            "tokens"
        ]
        return found

    def detokenize(self, tokens: Sequence[int]) -> str:
        return str(self._ask("/detokenize", {"tokens": list(tokens)})["content"])

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """Asks the server inside what its Python interface has no function for."""
        assert self._http is not None
        name = "embedder" if self._server is self._embedder else "engine"
        url = f"http+unix://{quote(f'{self._folder}/{name}.sock', safe='')}{path}"
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        try:
            answer = self._http.open(Call("POST", url, headers, msgspec.json.encode(body))).answer
        except ProviderError as error:
            raise EngineError(f"llama.cpp does not answer {path}: {error.message}", status=500) from error
        if answer.status != 200:
            raise EngineError(read_failure(answer.body).message, status=answer.status)
        return msgspec.json.decode(answer.body)

    def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            http.close()
        self._server = self._embedder = None  # the destructor ends the threads and frees the memory
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _read_once(path: Path) -> None:
    """Brings the file into the system's cache: llama.cpp would keep all of Python waiting while it reads."""
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass


def _for_llama(body: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {name: value for name, value in body.items() if name not in _OWN}
    wanted |= {"stream": True, "stream_options": {"include_usage": True}}
    if "repetition_penalty" in body:
        wanted["repeat_penalty"] = body["repetition_penalty"]
    if "seed" in body:
        wanted["cache_prompt"] = False  # a prompt from the cache is computed in other batches, and rounds otherwise
    structured = body.get("structured_outputs")
    if structured is not None:
        wanted["grammar"] = gguf_grammar.write(structured)
    return wanted


def _deltas(
    handle: Callable[[Mapping[str, Any], Callable[[Any], bool]], object],
    wanted: Mapping[str, Any],
    cancelled: Callable[[], bool],
) -> Iterator[Delta]:
    """Runs one generation in a thread of its own, since llama.cpp calls back where we want to be asked."""
    news: SimpleQueue[Any] = SimpleQueue()
    left = threading.Event()

    def take(chunk: Any) -> bool:
        news.put(chunk)
        return left.is_set() or cancelled()

    def work() -> None:
        try:
            handle(dict(wanted), take)
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits
            news.put(EngineError(str(error), status=400 if isinstance(error, ValueError) else 500))
        finally:
            news.put(None)

    thread = threading.Thread(target=work, name="llama.cpp", daemon=True)
    thread.start()
    try:
        while (chunk := news.get()) is not None:
            if isinstance(chunk, EngineError):
                raise chunk
            _check(chunk)
            yield from _read(chunk)
    finally:
        left.set()
        thread.join()


def _check(answer: Any) -> None:
    if not isinstance(answer, Mapping) or "error" not in answer:
        return
    error = answer["error"]
    is_long = error.get("type") == "exceed_context_size_error"
    raise EngineError(
        str(error.get("message")),
        status=int(error.get("code") or 500),
        code="context_length_exceeded" if is_long else error.get("type"),
    )


def _read(chunk: Any) -> Iterator[Delta]:
    answer = msgspec.convert(chunk, type=DECODER.type)
    usage = answer.usage.counted() if answer.usage else None
    for choice in answer.choices:
        yield _delta(choice, usage)
        usage = None
    if usage is not None:
        yield Delta(usage=usage)


def _delta(choice: WireChoice, usage: Usage | None) -> Delta:
    said = choice.delta or WireMessage(content=choice.text)
    return Delta(
        said.content or "",
        finish_reason=choice.finish_reason,
        usage=usage,
        reasoning=said.reasoning_content or said.reasoning,
        tool_calls=said.tool_calls or (),
        logprobs=read_logprobs(choice.logprobs) or (),
    )
