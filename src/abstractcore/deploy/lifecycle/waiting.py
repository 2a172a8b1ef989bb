"""Waits for containers: follows the server's log until a token comes, and says why if none does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ...errors import DeployError
from ..causes import explain, first_error
from ..container import ContainerSpec
from ..engine import Engine
from ..inspected import State, read_container
from ..progress import Progress, Report
from .canary import Canary, ask_for_a_token
from .phases import Phases

_EVERY: Final = 1.0
"""Seconds between two looks at the container."""
_TOKEN: Final = 300.0
"""Seconds that the first token may take: kernels are compiled for it."""
_KILLED: Final = 137
_STALLS: Final = (
    (
        re.compile(r"vLLM is using nccl|NCCL version|custom_all_reduce"),
        "the GPUs do not hear each other: it hangs since NCCL has begun to talk",
        "--p2p off, or mend the host's IOMMU and ACS settings",
    ),
    (
        re.compile(r"[Dd]ownloading|Fetching \d+ files"),
        "the download of the model does not come to an end",
        "download it beforehand: hf download MODEL",
    ),
)
"""What a log that goes no further means, by its last lines."""


@dataclass(slots=True)
class _Watch:
    """One wait for a server."""

    engine: Engine
    spec: ContainerSpec
    model: str
    report: Report
    until: float
    restarts: int = 0
    """Before this wait began."""
    clock: Callable[[], float] = time.monotonic
    phases: Phases = field(default_factory=Phases)
    lines: list[str] = field(default_factory=list)
    canary: Canary | None = None
    state: State = field(default_factory=lambda: State(status="created"))
    next_look: float = 0.0
    outcome: Literal["ready", "ended", "late"] = "ended"

    def read(self, line: str) -> None:
        self.lines.append(line)
        if self.phases.read(line):
            self.report(self.phases.latest)

    def look(self) -> None:
        now = self.clock()
        if now < self.next_look:
            return
        self.report(self.phases.latest)
        self.state = state_of(self.engine, self.spec.name)
        if not self.state.running or self.state.restarts > self.restarts:
            raise self._over("ended")
        if self.phases.listening:
            self.canary = ask_for_a_token(self.engine, self.spec, self.model, limit=_TOKEN)
            if self.canary.answers:
                raise self._over("ready")
        if self.clock() > self.until:
            raise self._over("late")
        self.next_look = self.clock() + _EVERY

    def _over(self, outcome: Literal["ready", "ended", "late"]) -> _OverError:
        self.outcome = outcome
        return _OverError()


class _OverError(Exception):
    """Watching is over; ``outcome`` of the watch says how."""


def state_of(engine: Engine, name: str) -> State:
    """How a container fares."""
    document = engine.inspect(name)
    return State(status="gone") if document is None else read_container(document).state


def wait_for_server(engine: Engine, spec: ContainerSpec, model: str, report: Report, *, limit: float) -> Canary:
    """Waits until a started server gives one token.

    Args:
        engine: The engine of containers.
        spec: The server's container.
        model: The name that it serves.
        report: Gets the progress, phases ``load``, ``weights``, ``compile``, ``ready``.
        limit: Seconds.

    Raises:
        DeployError: It ended, or gave none in time; the first line is the cause, ``log_tail`` has the last lines.
    """
    before = state_of(engine, spec.name).restarts
    watch = _Watch(engine, spec, model, report, time.monotonic() + limit, before)
    try:
        engine.follow(spec.name, watch.read, watch.look)
    except _OverError:
        pass
    if watch.outcome == "ready" and watch.canary is not None:
        return watch.canary
    if watch.outcome == "late":
        raise _too_late(watch, limit)
    watch.state = state_of(engine, spec.name)
    if watch.state.status != "gone":
        watch.lines[:] = engine.logs(spec.name)  # the last of them may have been on their way
    raise ended(spec.name, watch.state, watch.lines)


def ended(name: str, state: State, lines: Sequence[str]) -> DeployError:
    """The error for a container that ended while it was starting: the cause, if its log or its end names one.

    Args:
        name: The container.
        state: How it ended.
        lines: Its log.
    """
    known = explain(lines)
    said = first_error(lines)
    if state.error and (refused := explain(state.error)):
        message, why, hint = refused.what, refused.words, refused.cure
    elif known and known.id != "engine.failed":
        message, why, hint = known.what, f"{known.words} ({known.matters})", known.cure
    elif state.out_of_memory or state.exit_code == _KILLED:
        message = f"{name} was killed while it was starting: there is not enough memory"
        why = f"exit code {state.exit_code}{', out of memory' if state.out_of_memory else ''}"
        hint = "free -g; dmesg | tail (names what the kernel killed)"
    else:
        message = f"{name} ended while it was starting"
        why = said or state.error or (lines[-1].strip() if lines else f"exit code {state.exit_code}, it wrote nothing")
        hint = ""
    error = DeployError(message, why=why, hint=hint or None)
    error.log_tail = tuple(lines[-40:])
    return error


def _too_late(watch: _Watch, limit: float) -> DeployError:
    tail = [line for line in watch.lines if line.strip()][-5:]
    stall = next(((what, cure) for text, what, cure in _STALLS if any(text.search(line) for line in tail)), None)
    came = watch.phases.latest.text
    if watch.canary is not None:
        came = f"{came}; /health {watch.canary.health}, one token: {watch.canary.status} {watch.canary.said}".rstrip()
    error = DeployError(
        stall[0] if stall else f"{watch.spec.name} was not ready in time",
        why=f"after {limit:.0f} s it got as far as: {came}",
        hint=stall[1] if stall else "give it longer: --timeout SECONDS",
    )
    error.log_tail = tuple(watch.lines[-40:])
    return error


def wait_for_client(engine: Engine, spec: ContainerSpec, report: Report, *, limit: float = 60.0) -> None:
    """Waits until the client's container has come through its start: its page has answered, or it needs no check.

    Raises:
        DeployError: It ended, or its healthcheck still fails.
    """
    until = time.monotonic() + limit
    while True:
        report(Progress("client", f"waiting for {spec.name}"))
        document = engine.inspect(spec.name)
        found = read_container(document) if document else None
        state = found.state if found else State(status="gone")
        if not state.running or state.restarts:
            raise ended(spec.name, state, engine.logs(spec.name) if found else ())
        if state.health in {None, "healthy"}:
            return
        # Its own check, at once: the engine would wait for a whole interval first.
        check = found.healthcheck.command if found and found.healthcheck else ()
        if check and engine.execute(spec.name, check, limit=limit).ok:
            return
        if time.monotonic() > until:
            error = DeployError(
                f"{spec.name} is {state.health}", why=f"after {limit:.0f} s its healthcheck still fails"
            )
            error.log_tail = engine.logs(spec.name, tail=40)
            raise error
        time.sleep(0.25)
