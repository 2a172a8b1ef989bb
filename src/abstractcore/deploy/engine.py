"""The engine of containers: docker or podman, spoken to by its own command line.

Every answer is read through templates that give one JSON document a line, so that a warning printed beside it does no
harm. What the engine refuses is raised with its cause first and its own words behind it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import DeployError
from . import runtime
from .causes import explain
from .container import LABEL

ENGINES: Final = ("docker", "podman")
_QUICK: Final = 60.0
"""Seconds that a question to the engine may take."""
_JSON: Final = ("--format", "{{json .}}")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command of the engine said."""

    code: int
    lines: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.code == 0

    @property
    def text(self) -> str:
        """All it said, errors among it."""
        return "\n".join(self.lines)

    def documents(self) -> list[Any]:
        """The JSON documents among its lines."""
        return list(self._documents())

    def _documents(self) -> Iterator[Any]:
        for line in self.lines:
            try:
                if line[:1] in ("{", "["):
                    yield json.loads(line)
            except (ValueError, RecursionError):
                continue  # a warning that begins like a document


class Engine:
    """One engine of containers.

    Args:
        program: ``docker`` or ``podman``, or the path of one.
        environ: The environment of its commands; names the daemon and its certificates.
    """

    def __init__(self, program: str = "docker", environ: Mapping[str, str] = os.environ) -> None:
        self.program = program
        self._environ = dict(environ)

    @property
    def name(self) -> str:
        """``docker`` or ``podman``."""
        return os.path.basename(self.program)  # noqa: PTH119 - a program's name, not a file

    def ask(
        self,
        *arguments: str,
        limit: float | None = _QUICK,
        on_line: Callable[[str], None] = lambda line: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Runs a command, whatever it answers.

        Args:
            arguments: After the program; there is no shell.
            limit: Seconds; ``None`` for as long as it takes.
            on_line: Gets each line as it comes.
            on_tick: Called about twice a second.

        Raises:
            DeployError: The program can't be run, or does not end in time.
        """
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            on_line(line)

        done = runtime.run([self.program, *arguments], env=self._environ, on_line=take, on_tick=on_tick, limit=limit)
        return Reply(done.code, tuple(lines))

    def do(self, *arguments: str, limit: float | None = _QUICK) -> Reply:
        """Runs a command that has to succeed.

        Raises:
            DeployError: It did not; with its cause, and the engine's own words.
        """
        reply = self.ask(*arguments, limit=limit)
        if not reply.ok:
            raise refused(f"{self.name} {arguments[0]} failed", reply)
        return reply

    def info(self) -> Mapping[str, Any]:
        """What the engine says of itself.

        Raises:
            DeployError: There is no daemon.
        """
        reply = self.ask("info", *_JSON)
        found = next((document for document in reply.documents() if isinstance(document, dict)), {})
        if not reply.ok or found.get("ServerErrors"):
            errors = found.get("ServerErrors")
            said = errors if isinstance(errors, list) else [errors] if errors else []
            said = said or [line for line in reply.lines if line[:1] not in "{["]
            raise refused(f"{self.name} does not answer", Reply(reply.code or 1, tuple(map(str, said))))
        return found

    def inspect(self, name: str) -> Mapping[str, Any] | None:
        """What is in force in a container; ``None`` if there is none of that name."""
        return self._inspect("container", name)

    def image(self, name: str) -> Mapping[str, Any] | None:
        """An image that is here already; ``None`` if it isn't."""
        return self._inspect("image", name)

    def exists(self, kind: str, name: str) -> bool:
        """Whether there is a network or a volume of that name."""
        return self._inspect(kind, name) is not None

    def _inspect(self, kind: str, name: str) -> Mapping[str, Any] | None:
        reply = self.ask(kind, "inspect", *_JSON, name)
        if reply.ok:
            found: Any = next(iter(reply.documents()), None)
            found = found[0] if isinstance(found, list) and found else found
            if isinstance(found, dict):
                return found
            raise refused(f"{self.name} {kind} inspect {name} printed nothing that can be read", reply)
        if (
            any(f"no such {word}" in reply.text.lower() for word in (kind, "object", "image"))
            or "not found" in reply.text
        ):
            return None
        raise refused(f"{self.name} {kind} inspect {name} failed", reply)

    def labelled(self, kind: str, project: str) -> tuple[str, ...]:
        """The names of what carries a project's label.

        Args:
            kind: ``container``, ``network`` or ``volume``.
            project: The deployment's name.
        """
        every = ("--all",) if kind == "container" else ()
        field = "Names" if kind == "container" else "Name"
        reply = self.do(
            kind, "ls", *every, "--filter", f"label={LABEL}.project={project}", "--format", f"{{{{.{field}}}}}"
        )
        return tuple(line.strip() for line in reply.lines if line.strip())

    def pull(self, image: str, on_line: Callable[[str], None]) -> None:
        """Gets an image from its registry, however long that takes.

        Raises:
            DeployError: It can't be had.
        """
        reply = self.ask("pull", image, limit=None, on_line=on_line)
        if not reply.ok:
            raise refused(f"the image {image} can't be had", reply)

    def remove(self, *names: str) -> None:
        """Removes containers, running or not; those that aren't there are no failure."""
        if names:
            reply = self.ask("rm", "--force", "--volumes", *names)
            if not reply.ok and "no such container" not in reply.text.lower():
                raise refused(f"{self.name} rm failed", reply)

    def logs(self, name: str, *, tail: int | None = None) -> tuple[str, ...]:
        """What a container has written so far."""
        return self.do("logs", *(("--tail", str(tail)) if tail is not None else ()), name).lines

    def follow(
        self,
        name: str,
        on_line: Callable[[str], None],
        on_tick: Callable[[], None] = lambda: None,
        *,
        tail: int | None = None,
    ) -> Reply:
        """Hands over a container's log as it is written, until the container ends or a callback raises."""
        lines = ("--tail", str(tail)) if tail is not None else ()
        return self.ask("logs", "--follow", *lines, name, limit=None, on_line=on_line, on_tick=on_tick)

    def execute(self, name: str, argv: Sequence[str], *, limit: float, user: str | None = None) -> Reply:
        """Runs a command inside a running container.

        Args:
            name: The container.
            argv: The command; there is no shell.
            limit: Seconds.
            user: In place of the container's own.
        """
        return self.ask("exec", *(("--user", user) if user else ()), name, *argv, limit=limit)


def find_engine(chosen: str | None = None, environ: Mapping[str, str] = os.environ) -> Engine:
    """The engine of this machine.

    Args:
        chosen: ``docker`` or ``podman``; whichever is there, docker first, when left out.
        environ: The environment of its commands.

    Raises:
        DeployError: It isn't installed.
    """
    for name in (chosen,) if chosen else ENGINES:
        if program := shutil.which(name, path=environ.get("PATH")):
            return Engine(program, environ)
    raise DeployError(
        f"{chosen or 'neither docker nor podman'} is {'not ' if chosen else ''}installed here",
        why=f"no program of {'that name' if chosen else 'these names'} lies on the PATH",
        hint="apt-get install docker.io (Debian, Ubuntu), or: https://docs.docker.com/engine/install",
    )


def refused(what: str, reply: Reply) -> DeployError:
    """The error for a command that failed: the cause if it is known, and in any case the engine's own words."""
    said = [
        line for line in reply.lines if not line.startswith(("Run 'docker ", "See 'docker ", "Error: failed to start"))
    ]
    words = " ".join(said) or f"exit code {reply.code}"
    known = explain(said)
    error = DeployError(
        known.what if known else what, why=known.words if known else words, hint=known.cure if known else None
    )
    error.log_tail = tuple(said[-40:])
    return error
