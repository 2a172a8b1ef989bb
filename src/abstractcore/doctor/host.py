"""Checks of the machine: whether containers can be started on it as asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..deploy.container import option
from ..deploy.preflight import LEAST_SHM
from ..errors import DeployError
from .check import Check
from .facts import Facts
from .finding import Finding, error, ok, warning

_MIB: Final = 2**20


def _daemon(facts: Facts) -> Iterator[Finding]:
    if facts.engine is None:
        if facts.subject.base_url is None:
            yield error(
                "neither docker nor podman is installed",
                expected="one of them",
                why="there is nothing that could run a container",
                cure="apt-get install docker.io (Debian, Ubuntu)",
            )
        return
    try:
        found = facts.daemon
    except DeployError as problem:
        yield error(
            problem.message,
            expected="a daemon that answers",
            why=problem.why or "nothing can be started without one",
            cure=problem.hint or "systemctl start docker",
        )
        return
    rootless = " (rootless)" if "rootless" in str(found.get("SecurityOptions")) else ""
    yield ok(f"{facts.engine.name} {found.get('ServerVersion', '')}{rootless} answers")


def _gpu_runtime(facts: Facts) -> Iterator[Finding]:
    if facts.engine is None or facts.engine.name != "docker":
        return
    try:
        found = facts.daemon
    except DeployError:
        return
    has = "nvidia" in (found.get("Runtimes") or {}) or "nvidia.com/gpu" in str(found.get("DiscoveredDevices"))
    if has:
        yield ok("the NVIDIA runtime is registered")
    elif facts.machine.gpus:
        yield error(
            f"{len(facts.machine.gpus)} GPUs here, but the daemon knows the runtimes "
            f"{', '.join(found.get('Runtimes') or ()) or 'none'}",
            expected="nvidia among them, or CDI devices",
            why="--gpus all ends in 'could not select device driver'",
            cure="install the NVIDIA container toolkit, then: nvidia-ctk runtime configure --runtime=docker; "
            "systemctl restart docker",
        )


def _shm(facts: Facts) -> Iterator[Finding]:
    total = facts.machine.shm
    if total is None or facts.engine is None:
        return
    if total >= LEAST_SHM:
        yield ok(f"shared memory (/dev/shm) has {total // _MIB} MiB")
    elif facts.server is not None and facts.server.ipc == "host":
        yield error(
            f"shared memory (/dev/shm) has {total // _MIB} MiB, and the server uses the host's",
            expected=f"{LEAST_SHM // _MIB} MiB or more",
            why="with several ranks, and always on a CPU, vLLM ends in 'Insufficient space in /dev/shm'",
            cure="mount -o remount,size=8g /dev/shm",
        )
    else:
        yield warning(
            f"shared memory (/dev/shm) has {total // _MIB} MiB",
            expected=f"{LEAST_SHM // _MIB} MiB or more for --ipc=host",
            why="a server with --ipc=host would not start",
            cure="mount -o remount,size=8g /dev/shm, or abstractcore up MODEL --profile private",
        )


def _memlock(facts: Facts) -> Iterator[Finding]:
    limits = facts.daemon_limits
    if limits is None:
        return
    if limits.memlock is None or limits.may_raise:
        yield ok("containers may have any memlock")
        return
    yield warning(
        f"the daemon may not raise memlock above {limits.memlock // 1024} KiB",
        expected="no limit, or CAP_SYS_RESOURCE",
        why="a container with --ulimit memlock=-1 does not start ('error setting rlimit type 8'); it matters for RDMA"
        " only: a GPU's memory is never swapped",
        cure=f"systemctl edit docker: LimitMEMLOCK=infinity; or abstractcore up MODEL --allow memlock={limits.memlock}",
    )


def _port(facts: Facts) -> Iterator[Finding]:
    """Whether another program holds the port of a server that shares the host's network."""
    server = facts.server
    if server is None or server.network != "host" or server.state.running or option(server.argv, "--uds"):
        return
    port = int(option(server.argv, "--port") or 8000)
    holder = next((row for row in facts.listeners() if row.port == port), None)
    if holder is None:
        yield ok(f"port {port} is free")
        return
    yield error(
        f"port {port} is held by {holder.process or 'another program'}",
        expected="a free port",
        why="the server ends in 'Address already in use'",
        cure=f"stop it, or: abstractcore up MODEL --port {port + 1}",
    )


CHECKS: Final = (
    Check("host.daemon", "containers can be started", _daemon),
    Check("host.gpu_runtime", "containers can have GPUs", _gpu_runtime),
    Check("host.memlock", "containers can have the limits that are asked for", _memlock),
    Check("host.port", "the server's port is free", _port),
    Check("host.shm", "the host's shared memory is large enough", _shm),
)
