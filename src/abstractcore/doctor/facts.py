"""What the checks ask for. Each fact is measured once, when a check first asks for it; nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from ..deploy.inspected import Inspected, read_container
from ..deploy.lifecycle.checks import Listener
from ..deploy.preflight import Machine
from ..errors import ProviderError
from ..wire.call import Answer

Json = Mapping[str, Any]
_SCRIPT: Final = Path(__file__).with_name("inside.py")


class Reply(Protocol):
    """What a command of the engine said."""

    @property
    def code(self) -> int:
        """Its exit code."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All it printed."""


class Engine(Protocol):
    """What runs the containers, as ``deploy.engine`` speaks to it."""

    @property
    def name(self) -> str:
        """``docker`` or ``podman``."""

    def info(self) -> Json:
        """What the daemon says of itself.

        Raises:
            DeployError: It can't be reached.
        """

    def inspect(self, name: str) -> Json | None:
        """A container as the engine describes it; ``None`` if there is none of this name."""

    def execute(self, name: str, argv: Sequence[str], *, limit: float) -> Reply:
        """Runs a command inside a container."""

    def logs(self, name: str, *, tail: int | None = None) -> Sequence[str]:
        """What a container has written."""

    def do(self, *arguments: str) -> Reply:
        """Runs a command that has to succeed; only fixes do."""


class Http(Protocol):
    """Asks one server."""

    base_url: str

    def get(self, path: str, *, key: str | None = None) -> Answer:
        """Asks below the server's root; no key is sent unless one is given.

        Raises:
            ProviderError: There is no answer.
        """

    def post(self, path: str, body: Json, *, key: str | None = None) -> Answer:
        """Same, with a JSON body."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined."""

    server: str | None = None
    """Name of the server's container."""
    client: str | None = None
    """Name of the client's container."""
    base_url: str | None = None
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DaemonLimits:
    """What the daemon of containers may hand on to them."""

    memlock: int | None
    """Bytes; ``None`` means no limit."""
    may_raise: bool
    """Whether it has CAP_SYS_RESOURCE, and so may go beyond."""


@dataclass
class Facts:
    """All that can be asked about a subject."""

    subject: Subject
    engine: Engine | None
    """``None`` where there is no Docker and no podman."""
    machine: Machine
    http: Http | None
    """``None`` where no address of the server is known or can be reached from here."""
    answers: Callable[[], str]
    """A question to the server that must be answered within a pattern; gives the answer, or raises."""
    driver_cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver can do."""
    daemon_limits: DaemonLimits | None = None
    """What the daemon may hand on; ``None`` where it does not run here, or nobody may look."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """That of this process."""
    planned: Callable[[], Sequence[str]] | None = None
    """How the running containers differ from what was planned for them; ``None`` where there is no plan."""
    key_path: Path | None = None
    """The file on this machine from which the client has its key."""
    listeners: Callable[[], Sequence[Listener]] = tuple
    """Who listens on the ports of this machine."""
    _inside: dict[str, Json] = field(default_factory=dict)

    @cached_property
    def daemon(self) -> Json:
        """What the daemon says of itself."""
        assert self.engine is not None
        return self.engine.info()

    @cached_property
    def server(self) -> Inspected | None:
        """The server's container."""
        return self._container(self.subject.server)

    @cached_property
    def client(self) -> Inspected | None:
        """The client's container."""
        return self._container(self.subject.client)

    @property
    def containers(self) -> tuple[Inspected, ...]:
        """Those that exist, the server's first."""
        return tuple(found for found in (self.server, self.client) if found)

    def _container(self, name: str | None) -> Inspected | None:
        document = self.engine.inspect(name) if name and self.engine else None
        return read_container(document) if document else None

    def inside(self, name: str, *, url: str | None = None, paths: Sequence[str] = ()) -> Json:
        """What a probe inside a running container measures, as ``inside.py`` says.

        Raises:
            LookupError: The container has no Python 3, or the probe failed there.
        """
        key = f"{name} {url} {paths}"
        if key not in self._inside:
            self._inside[key] = self._probe(name, json.dumps({"url": url, "paths": list(paths)}))
        return self._inside[key]

    def _probe(self, name: str, asked: str) -> Json:
        assert self.engine is not None
        source = _SCRIPT.read_text(encoding="utf-8")
        reply = self.engine.execute(name, ("python3", "-c", source, asked), limit=60.0)
        line = reply.lines[-1] if reply.lines else ""
        if reply.code or not line.startswith("{"):
            raise LookupError(f"the probe inside {name} ended with {reply.code}: {line[:200]}")
        found: Json = json.loads(line)
        return found

    @cached_property
    def version(self) -> str | None:
        """The server's version, if it tells."""
        if self.http is None:
            return None
        try:
            answer = self.http.get("/version")
        except ProviderError:
            return None
        return str(json.loads(answer.body).get("version")) if answer.status == 200 else None
