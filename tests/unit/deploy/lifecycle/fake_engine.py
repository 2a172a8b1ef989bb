"""An engine in memory: its containers are those that a real Docker inspected, its server writes a real vLLM's log."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Final

from abstractcore.deploy.container import LABEL
from abstractcore.deploy.engine import Engine, Reply

from ..engine_recordings import Recorded, image, log, recorded, said

TOKEN: Final = {"health": 200, "status": 200, "said": "", "seconds": 0.1}
ANSWER: Final = {"schema": "abstractcore.answer/1", "content": "Hi.", "model": "m", "usage": {"output_tokens": 2}}
INFO: Final = {"Name": "elsewhere", "DockerRootDir": "/var/lib/docker", "SecurityOptions": []}


class FakeEngine(Engine):
    """Answers commands as Docker does; ``asked`` has all of them."""

    def __init__(self, kind: str = "private") -> None:
        super().__init__("docker", {})
        self.recorded: Recorded = recorded(kind)
        self.asked: list[tuple[str, ...]] = []
        self.containers: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, str] = {}
        self.volumes: dict[str, str] = {}
        self.images: set[str] = {spec.image for spec in self.recorded.deployment.containers}
        self.log: list[str] = log("started")
        self.canary: dict[str, Any] = dict(TOKEN)
        self.answer: Reply = Reply(0, (json.dumps(ANSWER),))
        self.refuse: dict[str, Reply] = {}
        """Commands that fail, by how they begin."""
        self.exit_code: int | None = None
        """Of a server that ends by itself."""
        self.make: Callable[[dict[str, Any]], None] = lambda document: None
        """Changes what a new container is like."""

    @property
    def deployment(self) -> Any:
        return self.recorded.deployment

    def begins(self, *words: str) -> list[tuple[str, ...]]:
        """Commands that begin like this."""
        return [command for command in self.asked if command[: len(words)] == words]

    def ask(
        self,
        *arguments: str,
        limit: float | None = None,
        on_line: Callable[[str], None] = lambda line: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> Reply:
        self.asked.append(arguments)
        line = " ".join(arguments)
        for begin, reply in self.refuse.items():
            if line.startswith(begin):
                return reply
        method: Callable[..., Reply] = getattr(self, f"_{arguments[0]}")
        return method(*arguments[1:], on_line=on_line, on_tick=on_tick)

    def _info(self, *words: str, **_: Any) -> Reply:
        return Reply(0, (json.dumps(INFO),))

    def _container(self, verb: str, *words: str, **_: Any) -> Reply:
        if verb == "inspect":
            return _document(self.containers.get(words[-1]), "no-container")
        return Reply(0, tuple(n for n, d in self.containers.items() if _is_labelled(d["Config"]["Labels"], words)))

    def _image(self, verb: str, *words: str, **_: Any) -> Reply:
        return _document(image() if words[-1] in self.images else None, "no-image")

    def _network(self, verb: str, *words: str, **_: Any) -> Reply:
        return _collection(self.networks, "network", verb, words)

    def _volume(self, verb: str, *words: str, **_: Any) -> Reply:
        return _collection(self.volumes, "volume", verb, words)

    def _create(self, *words: str, **_: Any) -> Reply:
        name = words[words.index("--name") + 1]
        document = copy.deepcopy(self.recorded.containers[name])
        document["Config"]["Labels"] = dict(w.split("=", 1) for at, w in enumerate(words) if words[at - 1] == "--label")
        self.make(document)
        self.containers[name] = document
        return Reply(0, ("0" * 64,))

    def _start(self, name: str, **_: Any) -> Reply:
        self.containers[name]["State"] |= {"Status": "running", "StartedAt": "2026-11-22T02:08:45.570318138Z"}
        return Reply(0, (name,))

    def _logs(self, *words: str, on_line: Callable[[str], None], on_tick: Callable[[], None]) -> Reply:
        if "--follow" not in words:
            return Reply(0, tuple(self.log))
        for line in self.log:
            on_line(line)
        if self.exit_code is not None:
            self.containers[words[-1]]["State"] |= {"Status": "exited", "ExitCode": self.exit_code}
        on_tick()
        return Reply(0, tuple(self.log))

    def _exec(self, name: str, *words: str, **_: Any) -> Reply:
        return self.answer if words[0] == "abstractcore" else Reply(0, (json.dumps(self.canary),))

    def _stop(self, *words: str, **_: Any) -> Reply:
        self.containers[words[-1]]["State"] |= {"Status": "exited", "ExitCode": 143}
        return Reply(0, ())

    def _rm(self, *words: str, **_: Any) -> Reply:
        for name in words:
            self.containers.pop(name, None)
        return Reply(0, ())

    def _pull(self, name: str, on_line: Callable[[str], None], **_: Any) -> Reply:
        on_line("0123456789ab: Pulling fs layer")
        on_line("0123456789ab: Pull complete")
        self.images.add(name)
        return Reply(0, ())

    def _manifest(self, *words: str, **_: Any) -> Reply:
        return Reply(0, ())


def _document(found: Any, missing: str) -> Reply:
    return Reply(1, tuple(said(missing).splitlines())) if found is None else Reply(0, (json.dumps(found),))


def _is_labelled(labels: dict[str, str], words: tuple[str, ...]) -> bool:
    name, _, value = words[words.index("--filter") + 1].removeprefix("label=").partition("=")
    return labels.get(name) == value


def _collection(held: dict[str, str], kind: str, verb: str, words: tuple[str, ...]) -> Reply:
    if verb == "inspect":
        return _document({} if words[-1] in held else None, f"no-{kind}")
    if verb == "ls":
        return Reply(
            0, tuple(name for name, project in held.items() if _is_labelled({f"{LABEL}.project": project}, words))
        )
    if verb == "create":
        held[words[-1]] = words[words.index("--label") + 1].partition("=")[2]
    else:
        del held[words[-1]]
    return Reply(0, ())
