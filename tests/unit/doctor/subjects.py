"""Machines, containers and servers to be examined, each good unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from abstractcore.deploy.container import Gpus, Healthcheck, Port
from abstractcore.deploy.hardware import Gpu, parse_gpus
from abstractcore.deploy.inspected import Inspected, State
from abstractcore.deploy.lifecycle.checks import Listener
from abstractcore.deploy.preflight import Machine
from abstractcore.doctor import CHECKS, Result, examine
from abstractcore.doctor.facts import DaemonLimits, Facts, Json, Subject
from abstractcore.errors import ConnectionFailedError, DeployError
from abstractcore.wire.call import Answer

MIB = 2**20
SERVER = Inspected(
    name="vllm-server",
    image="vllm/vllm-openai:v0.32.0",
    image_id="sha256:1",
    argv=("vllm", "serve", "/models/m", "--host", "127.0.0.1", "--port", "8000", "--config", "/run/secrets/vllm.yaml"),
    environment={},
    gpus=None,
    ipc="private",
    shm_size=1024 * MIB,
    network="vllm",
    networks=("vllm",),
    aliases=("vllm-server",),
    address="172.18.0.2",
    ports=(),
    extra_hosts={},
    ulimits=(),
    user="2000:0",
    cap_add=(),
    cap_drop=("ALL",),
    security_opt=("no-new-privileges",),
    privileged=False,
    read_only=False,
    tmpfs={},
    mounts=(),
    healthcheck=Healthcheck(("curl", "http://127.0.0.1:8000/health")),
    stop_grace=60,
    restart="unless-stopped",
    init=True,
    labels={},
    state=State(status="running", started="2026-11-22T01:00:00Z"),
)
CLIENT = replace(
    SERVER,
    name="chatbot-main-gpu-agent",
    image="abstractcore/client:2.6.4",
    argv=("abstractcore",),
    environment={"VLLM_BASE_URL": "http://vllm-server:8000/v1"},
)
INSIDE: dict[str, Any] = {
    "uid": 2000,
    "shm": {"total": 1024 * MIB, "free": 1024 * MIB},
    "noexec": {},
    "unreadable": {},
    "environment": {},
    "reach": {"host": "vllm-server", "port": 8000, "connect_ms": 0.1, "status": 200},
}
SERVED = {"data": [{"id": "m"}]}


class Replied:
    """What a command inside a container said."""

    def __init__(self, lines: Sequence[str], code: int = 0) -> None:
        self.lines = tuple(lines)
        self.code = code


class FakeEngine:
    """Containers that are not there."""

    name = "docker"

    def __init__(self, inside: Json | None, info: Json | DeployError, log: Sequence[str] = ()) -> None:
        self._inside = inside
        self._info = info
        self._log = log
        self.done: list[tuple[str, ...]] = []

    def info(self) -> Json:
        if isinstance(self._info, DeployError):
            raise self._info
        return self._info

    def inspect(self, name: str) -> Json | None:
        return None

    def execute(self, name: str, argv: Sequence[str], *, limit: float) -> Replied:
        if self._inside is None:
            return Replied(['exec: "python3": executable file not found in $PATH'], 127)
        return Replied(["a warning beside it", msgspec.json.encode(self._inside).decode()])

    def logs(self, name: str, *, tail: int | None = None) -> Sequence[str]:
        return self._log

    def do(self, *arguments: str) -> Replied:
        self.done.append(arguments)
        return Replied([])


class FakeHttp:
    """A server that answers by a table: path to status and document, for who has the key and for who has not."""

    base_url = "http://127.0.0.1:8000/v1"

    def __init__(self, answers: Mapping[str, tuple[int, Any]], key: str | None = None) -> None:
        self._answers = answers
        self._key = key

    def get(self, path: str, *, key: str | None = None) -> Answer:
        if path == "/health" and not self._answers:
            raise ConnectionFailedError("connection refused")
        if self._key and path.startswith("/v1") and key != self._key:
            return Answer(401, {}, b'{"error": "Unauthorized"}')
        status, document = self._answers.get(path, (404, {}))
        return Answer(status, {}, msgspec.json.encode(document), 0.002)

    def post(self, path: str, body: Json, *, key: str | None = None) -> Answer:
        return self.get(path, key=key)


def facts(
    server: Inspected | None = SERVER,
    client: Inspected | None = CLIENT,
    *,
    inside: Json | None = INSIDE,
    info: Json | DeployError = {"ServerVersion": "28.2.2", "Runtimes": {"runc": {}, "nvidia": {}}},  # noqa: B006
    gpus: str | tuple[Gpu, ...] = (),
    shm: int = 8192 * MIB,
    http: FakeHttp | None = None,
    key: str | None = None,
    answers: Callable[[], str] = lambda: "1969",
    planned: Callable[[], Sequence[str]] | None = None,
    cuda: tuple[int, int] | None = None,
    limits: DaemonLimits | None = None,
    listening: Sequence[Listener] = (),
    log: Sequence[str] = (),
    key_path: Path | None = None,
) -> Facts:
    cards = parse_gpus(gpus) if isinstance(gpus, str) else gpus
    found = Facts(
        Subject("vllm-server" if server else None, "chatbot-main-gpu-agent" if client else None, None, key),
        FakeEngine(inside, info, log),
        Machine(cards, shm, None, (), "docker"),
        http,
        answers,
        cuda,
        limits,
        {},
        planned,
        key_path=key_path,
        listeners=lambda: listening,
    )
    found.__dict__.update(server=server, client=client)
    return found


def ask(check: str, found: Facts) -> list[Result]:
    return list(examine([row for row in CHECKS if row.id == check], found))


def the(check: str, found: Facts) -> Result:
    (result,) = ask(check, found)
    return result


def on_gpus(**changes: Any) -> Inspected:
    return replace(SERVER, gpus=Gpus(), **changes)


def published(address: str) -> Inspected:
    return replace(SERVER, ports=(Port(8000, 8000, address),))
