"""The gateways that are measured, each started beside the others in front of the same load source."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from environments import environment, installed
from load_source import Load, recordings
from processes import forget_peak

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
MODEL = "smollm2"
KEY = "ac-bench"
MASTER_KEY = f"sk-{sha256(KEY.encode()).hexdigest()}"  # litellm starts with none that looks weak
UVICORN = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning", "--lifespan", "off")


@dataclass(frozen=True)
class Kind:
    """A gateway as it can be started.

    Args:
        name: In tables.
        packages: What pip installs for it, in an environment that others may share.
        argv: Its command line; takes the folder of its programs, its port, the source's port and a folder of its own.
        env: Variables it needs; takes the source's port.
        headers: What each request to it carries.
        answers: Whether it answers by itself, without the source; it takes part in requests only.
    """

    name: str
    packages: tuple[str, ...]
    argv: Callable[[Path, int, int, Path], list[str]]
    env: Callable[[int], dict[str, str]] = lambda _: {}
    headers: tuple[str, ...] = ()
    answers: bool = False


@dataclass
class Gateway:
    """A gateway that runs."""

    kind: Kind
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    version: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    found: dict[str, list[float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """In tables."""
        return self.kind.name

    @property
    def headers(self) -> tuple[str, ...]:
        """What each request to it carries."""
        return self.kind.headers

    @property
    def pid(self) -> int:
        """Of the process that was started; others may be below it."""
        return self.process.pid


def _uvicorn(app: str) -> Callable[[Path, int, int, Path], list[str]]:
    return lambda programs, port, _, folder: [
        str(programs / "uvicorn"), f"{app}:app", "--app-dir", str(PEERS), "--port", str(port), *UVICORN,
    ]  # fmt: skip


def _ours(_: Path, port: int, source: int, folder: Path) -> list[str]:
    """With all that it has to do where it is used: keys with limits, and metrics, which are always counted."""
    keys, backend = folder / "keys.json", f"vllm=http://127.0.0.1:{source}"
    row = {"name": "bench", "sha256": sha256(KEY.encode()).hexdigest(), "created": "2026-01-01T00:00:00Z",
           "models": ["vllm/*"], "rate": 10**9, "in_flight": 10_000}  # fmt: skip
    keys.write_text(json.dumps({"schema": "abstractcore.keys/1", "keys": [row]}), encoding="utf-8")
    keys.chmod(0o600)
    argv = [sys.executable, "-m", "abstractcore", "serve", "--port", str(port), "--backend", backend]
    return [*argv, "--keys", str(keys)]


def _litellm(programs: Path, port: int, source: int, folder: Path) -> list[str]:
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list: [{{model_name: {MODEL}, litellm_params: "
        f"{{model: hosted_vllm/{MODEL}, api_base: 'http://127.0.0.1:{source}/v1', api_key: none}}}}]\n",
        encoding="utf-8",
    )
    return [str(programs / "litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]


_ASGI = ("uvicorn", "uvloop", "httptools", "aiohttp", "starlette")
KINDS = {
    kind.name: kind
    for kind in (
        Kind("abstractcore", (), _ours, lambda _: {"PYTHONPATH": str(ROOT / "src")},
             headers=(f"authorization: Bearer {KEY}",)),
        Kind("vllm-router", ("vllm-router",), lambda programs, port, source, folder: [
            str(programs / "vllm-router"), "--host", "127.0.0.1", "--port", str(port), "--log-level", "error",
            "--worker-urls", f"http://127.0.0.1:{source}", "--prometheus-port", str(free_port()),
        ]),
        Kind("bare protocol", _ASGI, lambda programs, port, source, folder: [
            str(programs / "python"), str(PEERS / "floor.py"), str(port), str(source),
        ]),
        Kind("bare ASGI + aiohttp", _ASGI, _uvicorn("asgi_aiohttp"),
             lambda source: {"UPSTREAM": f"http://127.0.0.1:{source}"}),
        Kind("Starlette + aiohttp", _ASGI, _uvicorn("starlette_aiohttp"),
             lambda source: {"UPSTREAM": f"http://127.0.0.1:{source}"}),
        Kind("uvicorn alone", _ASGI, _uvicorn("empty"),
             lambda _: {"ANSWER": str(recordings() / "chat.http")}, answers=True),
        Kind("litellm proxy", ("litellm[proxy]",), _litellm,
             lambda _: {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": MASTER_KEY},
             headers=(f"authorization: Bearer {MASTER_KEY}",)),
    )
}  # fmt: skip


def programs(kind: Kind) -> Path:
    """The folder of programs of a kind's environment, made if it isn't there."""
    return environment(kind.packages) if kind.packages else Path(sys.executable).parent


def version(kind: Kind) -> str:
    """Of the gateway; none for those that are a page of code of ours on several packages."""
    if len(kind.packages) > 1:
        return ""
    return installed(programs(kind), kind.packages[0] if kind.packages else "abstractcore")


@contextmanager
def running(names: list[str], source: int, body: dict[str, object]) -> Iterator[list[Gateway]]:
    """The gateways, when each has answered a request."""
    with ExitStack() as stack:
        started = []
        for name in names:
            try:
                started.append(_start(KINDS[name], source, stack))
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
        yield [gateway for gateway in started if _answers(gateway, body)]


def _start(kind: Kind, source: int, stack: ExitStack) -> Gateway:
    folder = Path(stack.enter_context(TemporaryDirectory()))
    port = free_port()
    argv = kind.argv(programs(kind), port, source, folder)
    process = subprocess.Popen(
        argv, env={**os.environ, **kind.env(source)}, stdout=subprocess.DEVNULL, stderr=(folder / "log").open("wb")
    )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()

    stack.callback(stop)
    return Gateway(kind, port, process, folder / "log", version=version(kind))


def _answers(gateway: Gateway, body: dict[str, object]) -> bool:
    until = time.monotonic() + 120
    while time.monotonic() < until and gateway.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", gateway.port), 1).close()
        except OSError:
            time.sleep(0.2)
            continue
        found = Load(gateway.port, body, gateway.headers, seconds=5).result()
        if found["right"]:
            forget_peak(gateway.pid)
            return True
        time.sleep(0.5)
    said = gateway.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    print(f"{gateway.name} is left out: it does not answer", *said[-8:], sep="\n  ", file=sys.stderr)
    return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as here:
        port: int = here.getsockname()[1]
        return port
