"""What the gateway counts, in Prometheus' text format (0.0.4). Plain numbers: one thread, no locks.

Labels have few values: routes of our own table, statuses, backends of the configuration. No name of a client's makes
a label, so that nobody can grow the page.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ..errors import ConstraintViolationError
from .errors import status_of

if TYPE_CHECKING:
    from .asgi import Request
    from .route import Route

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
LEFT: Final = 499
"""The status of requests whose client went away before there was one, as nginx writes it."""


class Family(NamedTuple):
    """One row of the table of metrics."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Family(
    "abstractcore_requests_total", "counter", "Requests that were answered.", ("route", "method", "status", "backend")
)
SECONDS: Final = Family(
    "abstractcore_request_seconds", "histogram", "From the head of a request to the end of its answer.", ("route",)
)
FIRST: Final = Family(
    "abstractcore_first_token_seconds",
    "histogram",
    "From the head of a request to the first byte of a streamed answer, which vLLM sends with the first token.",
    ("backend",),
)
TOKENS: Final = Family(
    "abstractcore_tokens_total",
    "counter",
    "Tokens of prompts (input) and answers (output), where the backend said how many.",
    ("backend", "direction"),
)
PROOFS: Final = Family(
    "abstractcore_proofs_total",
    "counter",
    "Answers that were held against a constraint: held, or failed and refused.",
    ("backend", "outcome"),
)
FAILURES: Final = Family(
    "abstractcore_failures_total", "counter", "Requests that failed, also within a stream that had begun.", ("code",)
)
RETRIES: Final = Family(
    "abstractcore_retries_total", "counter", "Requests that were sent once more, to the same or another replica.",
    ("backend",),
)  # fmt: skip
SHED: Final = Family("abstractcore_shed_total", "counter", "Requests refused at once because of a limit.", ("reason",))
LEFT_EARLY: Final = Family(
    "abstractcore_clients_left_total", "counter", "Clients that went away before their answer was complete."
)
IN_FLIGHT: Final = Family("abstractcore_requests_in_flight", "gauge", "Requests that are being answered.")
REPLICA_UP: Final = Family(
    "abstractcore_replica_up", "gauge", "Whether a replica takes requests.", ("backend", "replica")
)
REPLICA_IN_FLIGHT: Final = Family(
    "abstractcore_replica_in_flight", "gauge", "Requests that a replica works on.", ("backend", "replica")
)
INFO: Final = Family("abstractcore_info", "gauge", "The version that runs.", ("version",))
CPU: Final = Family("process_cpu_seconds_total", "counter", "CPU time of this process.")
MEMORY: Final = Family("process_resident_memory_bytes", "gauge", "Memory of this process.")
FILES: Final = Family("process_open_fds", "gauge", "Open files and connections of this process.")
FAMILIES: Final = (
    REQUESTS, SECONDS, FIRST, TOKENS, PROOFS, FAILURES, RETRIES, SHED, LEFT_EARLY, IN_FLIGHT, REPLICA_UP,
    REPLICA_IN_FLIGHT, INFO, CPU, MEMORY, FILES,
)  # fmt: skip


class Histogram:
    """How long something took, counted by bounds."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self, family: Family, label: str) -> Iterator[str]:
        """Its part of the page."""
        name, total = family.name, 0
        own = _label(family.labels[0], label)
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{own},le="{bound}"}} {total}'
        yield f"{name}_sum{{{own}}} {self._sum!r}"
        yield f"{name}_count{{{own}}} {total}"


class Metrics:
    """Counts requests as they end."""

    def __init__(self) -> None:
        self._counters: dict[Family, Counter[tuple[str, ...]]] = {
            family: Counter() for family in FAMILIES if family.kind == "counter"
        }
        self._requests = self._counters[REQUESTS]
        self._histograms: dict[Family, dict[str, Histogram]] = {SECONDS: {}, FIRST: {}}

    def count(self, family: Family, *labels: str, by: int = 1) -> None:
        """Counts something."""
        self._counters[family][labels] += by

    def retried(self, backend: str, times: int) -> None:
        """So many requests to a backend were sent once more, since the start."""
        self._counters[RETRIES][backend,] = times

    def shed(self, reason: str) -> None:
        """A request was refused because of a limit."""
        self.count(SHED, reason)

    def done(self, request: Request, route: Route | None, *, left: bool) -> None:
        """A request is over.

        Args:
            request: It.
            route: Where it went, if there is such a place.
            left: Whether its client went away.
        """
        path = route.path if route else "other"
        backend = request.backend or ""
        status = request.status or LEFT
        self._requests[path, request.method if route else "", str(status), backend] += 1
        self._observe(SECONDS, path, monotonic() - request.started)
        if request.streamed:
            self._observe(FIRST, backend, request.begun - request.started)
        if left:
            self.count(LEFT_EARLY)
        if request.usage is not None:
            self.count(TOKENS, backend, "input", by=request.usage[0])
            self.count(TOKENS, backend, "output", by=request.usage[1])
        if request.proof:
            self.count(PROOFS, backend, "held")
        if request.failure is not None:
            self.count(FAILURES, status_of(request.failure)[1])
            if isinstance(request.failure, ConstraintViolationError):
                self.count(PROOFS, backend, "failed")

    def _observe(self, family: Family, label: str, seconds: float) -> None:
        row = self._histograms[family]
        found = row.get(label)
        if found is None:
            found = row[label] = Histogram()
        found.observe(seconds)

    def text(self, gauges: Mapping[Family, Mapping[tuple[str, ...], float]]) -> str:
        """The page.

        Args:
            gauges: What is measured now, by its labels.
        """
        lines: list[str] = []
        for family in FAMILIES:
            lines += (f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {family.kind}")
            if family.kind == "histogram":
                for label, histogram in self._histograms[family].items():
                    lines += histogram.lines(family, label)
            else:
                values = gauges.get(family) or self._counters.get(family) or {}
                lines += _lines(family, values or ({} if family.labels else {(): 0}))
        return "\n".join(lines) + "\n"


def _lines(family: Family, values: Mapping[tuple[str, ...], float]) -> Iterator[str]:
    for labels, value in values.items():
        own = ",".join(map(_label, family.labels, labels))
        yield f"{family.name}{{{own}}} {value}" if own else f"{family.name} {value}"


def _label(name: str, value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{name}="{escaped}"'
