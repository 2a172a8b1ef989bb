"""vllm-router, a load balancer in Rust, as the way to the replicas of a large fleet: configured and run by us.

It spreads requests; health, adapters and what clients are told stay with the gateway. Where it fails, the gateway goes
to the replicas itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ..deploy import runtime
from ..deploy.demo_server import free_port
from ..errors import DeployError, MissingExtraError, ProviderError
from ..settings import state_dir
from ..transport.aio import AsyncDriver
from ..transport.http_sync import HttpTransport
from ..transport.sync import SyncDriver
from ..wire.call import Answer, Call, Plan, Timeouts
from .choice import SLACK
from .vitals import State

if TYPE_CHECKING:
    from ..transport import AsyncTransport
    from .backend import Backend, Replica

PROGRAM: Final = "vllm-router"
START_SECONDS: Final = 60.0
TICK: Final = 0.5
PORTS: Final = range(30000, 30200)
_KEPT: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "RUST_LOG", "TMPDIR")
"""Variables that it gets; keys are not among them."""
_QUICK: Final = Timeouts(connect=1.0, first_byte=2.0, idle=2.0, total=2.0)
_LOG: Final = logging.getLogger("abstractcore.server")


def argv(program: str, workers: Sequence[str], port: int, metrics_port: int) -> tuple[str, ...]:
    """The command line of the router.

    Its health checks are those of a router (``/health``): what they can't see, such as a frozen engine, the gateway
    tells it.

    Args:
        program: The router's.
        workers: Addresses of the replicas, without ``/v1``.
        port: To listen on, on this machine only.
        metrics_port: For its own metrics.
    """
    return (
        program, "--host", "127.0.0.1", "--port", str(port), "--worker-urls", *workers,
        "--policy", "cache_aware", "--balance-abs-threshold", str(SLACK), "--balance-rel-threshold", "2.0",
        "--prometheus-host", "127.0.0.1", "--prometheus-port", str(metrics_port),
        "--health-check-interval-secs", "1", "--health-check-timeout-secs", "2",
        "--health-failure-threshold", "1", "--health-success-threshold", "1",
        "--worker-startup-check-interval", "1", "--worker-startup-timeout-secs", "5",
        "--retry-max-retries", "3", "--request-timeout-secs", "3600", "--log-level", "warning",
    )  # fmt: skip


def find_program(environ: Mapping[str, str] = os.environ) -> str:
    """Where the router is: beside this Python, or on the path.

    Raises:
        MissingExtraError: Nowhere.
    """
    beside = Path(sys.executable).with_name(PROGRAM)
    found = str(beside) if beside.exists() else shutil.which(PROGRAM, path=environ.get("PATH"))
    if found is None:
        raise MissingExtraError(
            f"a backend wants {PROGRAM} as its data plane, and it is not installed",
            hint='pip install "abstractcore[router]"',
        )
    return found


def workers_of(backend: Backend) -> list[str]:
    """The addresses of a backend's replicas, as the router takes them."""
    return [row.endpoint.root for row in backend.replicas if row.endpoint is not None]


def command_of(backend: Backend) -> tuple[str, ...]:
    """A command line of the router for a backend, for running it elsewhere."""
    return argv(PROGRAM, workers_of(backend), PORTS[0], PORTS[0] + 1)


@contextmanager
def data_planes(backends: Iterable[Backend], port: int) -> Iterator[None]:
    """Runs the routers that the configuration asks for while a block runs.

    Args:
        backends: Those of a gateway.
        port: The gateway's, to tell its routers from those of others.

    Raises:
        MissingExtraError: The router is not installed.
        DeployError: One does not start.
    """
    with ExitStack() as stack:
        for backend in backends:
            if backend.config.data_plane is not None:
                process = _start(backend, port)
                stack.callback(runtime.stop_server, process, grace=5.0)
        yield


def _start(backend: Backend, gateway_port: int) -> runtime.ServerProcess:
    program = find_program()
    port = free_port(PORTS)
    folder, name = state_dir(), f"router-{backend.name}-{gateway_port or os.getpid()}"
    pid_file, log = folder / f"{name}.json", folder / f"{name}.log"
    left = runtime.find_server(pid_file)
    if left is not None:
        if _lives(int(left.note.get("gateway", 0))):
            raise DeployError(
                f"another gateway on port {gateway_port} has a router for its backend {backend.name!r}",
                why=f"its process id is {left.note['gateway']}",
                hint="name another port with --port",
            )
        runtime.stop_server(left, grace=5.0)  # its gateway was killed
    command = argv(program, workers_of(backend), port, free_port(range(port + 1, PORTS.stop)))
    env = {name: os.environ[name] for name in _KEPT if name in os.environ}
    url = f"http://127.0.0.1:{port}"
    note = {"gateway": str(os.getpid()), "url": url}
    process = runtime.start_server(command, env=env, log=log, pid_file=pid_file, note=note)
    try:
        _wait(process, url, log)
    except BaseException:
        runtime.stop_server(process, grace=1.0)
        raise
    backend.set_front(url)
    return process


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid > 0


def _wait(process: runtime.ServerProcess, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while runtime.is_alive(process) and time.monotonic() < deadline:
        if _is_ready(url):
            return
        time.sleep(0.1)
    error = DeployError(f"{PROGRAM} did not become ready", hint=f"its log: {log}")
    error.log_tail = tuple(log.read_text("utf-8", "replace").splitlines()[-20:])
    error.why = error.log_tail[-1] if error.log_tail else "it wrote nothing"
    raise error


def _is_ready(url: str) -> bool:
    with closing(HttpTransport()) as transport:
        try:
            # Its /health is 503 when any worker is down; that concerns the worker.
            return SyncDriver(transport).run(_get(f"{url}/readiness")).status in (200, 503)
        except ProviderError:
            return False


def _get(url: str, method: str = "GET") -> Plan[Answer]:
    answer: Answer = yield Call(method, url, timeouts=_QUICK)
    return answer


class FrontWatcher:
    """Looks at the router of a backend, and tells it which replicas get no requests.

    Args:
        backend: The backend.
        front: The router.
        transport: Sends the requests.
    """

    def __init__(self, backend: Backend, front: Replica, transport: AsyncTransport) -> None:
        self._backend = backend
        self._front = front
        self._driver = AsyncDriver(transport)
        self._root = front.endpoint.root if front.endpoint is not None else ""
        self._removed: set[Replica] = set()

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(TICK)

    async def look(self) -> None:
        """Looks once."""
        vitals = self._front.vitals
        before = vitals.state
        self._front.streams_move()
        try:
            answer = await self._driver.run(_get(f"{self._root}/readiness"))
        except ProviderError as error:
            vitals.fall(monotonic(), error.message)
        else:
            if answer.status == 200:
                vitals.rise(monotonic())
                await self._tell()
            else:
                vitals.fall(monotonic(), f"its /readiness answers {answer.status}")
        if vitals.state is State.DOWN and before is not State.DOWN:
            _LOG.warning("%s: requests go to the replicas without the router: %s", self._backend.name, vitals.why)

    async def _tell(self) -> None:
        """Takes replicas that are down out of the router, and back in when they answer."""
        for row in self._backend.replicas:
            out = row in self._removed
            if row.endpoint is None or row.up is not out:
                continue
            verb = "add_worker" if row.up else "remove_worker"
            await self._driver.run(_get(f"{self._root}/{verb}?url={quote(row.endpoint.root, safe='')}", "POST"))
            if row.up:
                self._removed.discard(row)
            else:
                self._removed.add(row)
                # Which requests the router gave to this one, nobody knows; those that stand still may be moved.
                self._front.cut(row.vitals.why or "", still_for=row.vitals.patience)
