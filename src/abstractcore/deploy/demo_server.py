"""The demo's server: found if it runs, else installed, started, and left running."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import ConnectionFailedError, DeployError, ProviderError
from ..settings import cache_dir, resolve
from ..transport import HttpTransport, SyncDriver
from ..wire.call import Answer, Call, Plan, Timeouts
from . import local_vllm, nvidia_smi, runtime, small_model, vllm_server
from .lock import locked
from .progress import Progress, Report, megabytes, silent

MODEL: Final = "smollm2"
"""The name under which the demo's model is served."""
DEFAULT_PORT: Final = 8000
_MEMORY: Final = 3.3e9
"""Bytes that the server takes on the CPU, measured."""
_COMPACT_JSON: Final = ("--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}')
_HARMLESS: Final = Timeouts(connect=2.0, first_byte=5.0, idle=5.0, total=5.0)


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A server that the demo can talk to."""

    base_url: str
    model: str | None
    """The model to ask for; ``None`` means whatever is served."""
    pid: int | None = None
    """Its process, if it is ours."""
    log: str | None = None
    started_now: bool = False


@dataclass(frozen=True, slots=True)
class Needed:
    """What has to be fetched before the demo can start."""

    environment: local_vllm.Environment
    cache: Path
    parts: tuple[str, ...]
    """One line for each part, with sizes; empty when all is there."""


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for pid files and logs: ``$XDG_STATE_HOME/abstractcore``, by default below ``~/.local/state``."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "abstractcore"


def needed(*, cpu: bool) -> Needed:
    """What is missing on this machine.

    Args:
        cpu: Don't use a GPU even if there is one.
    """
    cache = cache_dir()
    environment = local_vllm.choose(() if cpu else nvidia_smi.find_gpus(), cache)
    parts = []
    if not environment.ready:
        device = environment.gpu.name if environment.gpu else "the CPU"
        sizes = f"{megabytes(environment.download)} to download, {megabytes(environment.on_disk)} on disk"
        parts.append(f"{environment.requirement} for {device}: about {sizes}")
    model = small_model.SMOLLM2
    if not small_model.model_folder(model, cache).exists():
        sizes = f"{megabytes(model.download)} to download, {megabytes(model.on_disk)} on disk"
        parts.append(f"{model.name}, a small chat model: {sizes}; {megabytes(_MEMORY)} of memory while it is served")
    return Needed(environment, cache, tuple(parts))


def named_server() -> DemoServer | None:
    """The server that the user's settings name, if it is alive."""
    chosen = resolve("vllm.base_url")
    if chosen.origin == "default" or not chosen.value:
        return None
    key = resolve("vllm.api_key").value or ""
    return DemoServer(chosen.value, None) if _ask(models_plan(chosen.value, key)) else None


def models_plan(base_url: str, key: str) -> Plan[bool]:
    """Whether an OpenAI-compatible server lists its models at this address."""
    headers = {"authorization": f"Bearer {key}"}
    answer: Answer = yield Call("GET", f"{base_url.rstrip('/')}/models", headers, timeouts=_HARMLESS)
    try:
        return answer.status == 200 and bool(json.loads(answer.body)["data"])
    except (ValueError, KeyError, TypeError):
        return False


def running() -> DemoServer | None:
    """The demo's own server, if it runs and answers."""
    server = runtime.find_server(_pid_file())
    if server is None or not runtime.is_alive(server):
        return None
    base_url, model = server.note["base_url"], server.note["model"]
    return DemoServer(base_url, model, server.pid, server.log) if vllm_server.answers(base_url, model) else None


def ensure(parts: Needed, *, port: int | None = None, report: Report = silent) -> DemoServer:
    """Brings the demo's server up: finds it running, or installs what is missing and starts it.

    Args:
        parts: From ``needed``.
        port: The port to listen on; by default 8000, or the next free one.
        report: Gets the progress.

    Raises:
        DeployError: A step failed.
    """
    with locked(state_dir() / "demo.lock", lambda: report(Progress("load", "another run starts it, waiting"))):
        if found := running():
            return found
        stop()  # one that hangs, or left a process behind
        local_vllm.install(parts.environment, report)
        model = small_model.ensure_model(small_model.SMOLLM2, parts.environment.python, parts.cache, report)
        chosen = free_port(range(port, port + 1) if port else range(DEFAULT_PORT, DEFAULT_PORT + 50))
        spec = vllm_server.small_server(parts.environment, model, name=MODEL, port=chosen, args=_COMPACT_JSON)
        log = state_dir() / "demo.log"
        server = vllm_server.start(spec, log=log, pid_file=_pid_file(), report=report)
        return DemoServer(spec.base_url, MODEL, server.pid, server.log, started_now=True)


def stop() -> int | None:
    """Stops the demo's server with all its processes.

    Returns:
        Its pid, or ``None`` if none was running.
    """
    server = runtime.find_server(_pid_file())
    if server is not None:
        runtime.stop_server(server)
    _pid_file().unlink(missing_ok=True)
    return server.pid if server else None


def free_port(candidates: Sequence[int], is_free: Callable[[int], bool] | None = None) -> int:
    """The first port on which nothing listens.

    Raises:
        DeployError: All are taken.
    """
    test = is_free or _nothing_listens
    for port in candidates:
        if test(port):
            return port
    taken = f"port {candidates[0]} is" if len(candidates) == 1 else f"ports {candidates[0]} to {candidates[-1]} are"
    raise DeployError("there is no port for the server", why=f"{taken} in use", hint="name a free one with --port")


def _nothing_listens(port: int) -> bool:
    def probe() -> Plan[bool]:
        yield Call("GET", f"http://127.0.0.1:{port}/health", timeouts=_HARMLESS)
        return True

    with closing(HttpTransport()) as transport:
        try:
            SyncDriver(transport).run(probe())
        except ConnectionFailedError as error:
            return isinstance(error.__cause__, ConnectionRefusedError)
        except ProviderError:
            return False
    return False


def _ask(plan: Plan[bool]) -> bool:
    with closing(HttpTransport()) as transport:
        try:
            return SyncDriver(transport).run(plan)
        except ProviderError:
            return False


def _pid_file() -> Path:
    return state_dir() / "demo.json"
