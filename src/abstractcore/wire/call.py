"""What a plan and a driver say to each other.

A *plan* is a generator that decides everything about a piece of work (requests, retries, negotiation, parsing,
proof) and does no I/O. It yields steps; a driver in ``transport`` performs them and sends the outcome back:

=================  ==========================================  =====================================
the plan yields    the driver does                             the driver sends back
=================  ==========================================  =====================================
``Call``           sends it and reads the whole answer         ``Answer`` with status, headers, body
``Call(stream)``   sends it and reads the head of the answer   ``Answer`` with an empty body
``READ``           waits for bytes of the open stream          bytes as they came; ``b""`` at a clean end
``ReadWithin``     the same, but no longer than it says        the same
``Pause``          waits                                       ``None``
``Work``           runs it, where it holds nobody up           ``None``
``Emit``           hands the items to the caller               ``None``
=================  ==========================================  =====================================

A failed step is thrown into the plan as a ``ProviderError``, so that the plan can retry or add what it knows.
A ``Call`` or the plan's end closes the open stream: an answer that was not read to its end is aborted, which stops
the generation on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import ProviderError


class Timeouts(Struct, frozen=True):
    """Time limits of one request, in seconds; ``None`` means no limit.

    The total has none by default: a long answer is not a failure, a silent server is.
    """

    connect: float | None = 10.0
    """Until the connection stands, TLS included."""
    first_byte: float | None = 600.0
    """From the sent request to the first of the answer; vLLM sends the head of a stream while it still queues."""
    idle: float | None = 120.0
    """The longest silence after that. Comments and empty events are silence."""
    total: float | None = None
    """From the start of the call to the last byte."""


class Call(Struct, frozen=True):
    """One HTTP request."""

    method: str
    url: str
    """Absolute: ``http://host:port/path``, ``https://...``, or ``http+unix://%2Frun%2Fvllm.sock/path``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Not in the ``repr``: they hold the key."""
    body: bytes | None = None
    """Not in the ``repr`` either: it holds the prompt."""
    stream: bool = False
    """Read the body step by step with ``READ``."""
    timeouts: Timeouts = Timeouts()
    repeatable: bool = False
    """May be sent again after a failure in which no byte of an answer arrived."""

    def __repr__(self) -> str:
        shown = f"{self.method} {self.url}, stream={self.stream}, repeatable={self.repeatable}, {self.timeouts}"
        return f"Call({shown})"


class Answer(Struct, frozen=True):
    """The answer to a ``Call``; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    """Not in the ``repr``."""
    elapsed: float = 0.0
    """Seconds from the start of the call to the head of the answer."""
    retries: tuple[str, ...] = ()
    """Why the request was sent again before, and after how long; empty if the first attempt was answered."""

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.headers!r}, elapsed={self.elapsed:.3f}, retries={self.retries})"


class Pause(Struct, frozen=True):
    """Wait this many seconds."""

    seconds: float


class Work(Struct, frozen=True):
    """Do this, which may take long: an event loop goes on meanwhile. It keeps its outcome, and raises nothing."""

    run: Callable[[], None]


ResultT = TypeVar("ResultT")


class Emit(Struct, frozen=True):
    """Hand these items to the caller, in order."""

    items: list[Any]


class _Read:
    """Type of ``READ``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "READ"


READ: Final = _Read()


class ReadWithin(Struct, frozen=True):
    """Wait for bytes of the open stream, but no longer than this: what has come of late was no content."""

    seconds: float
    phase: str = "idle"
    """The limit of ``Timeouts`` that runs out then."""


Step: TypeAlias = Call | _Read | ReadWithin | Pause | Work
Plan: TypeAlias = Generator[Step, Any, ResultT]
"""A plan with one result."""
StreamPlan: TypeAlias = Generator[Step | Emit, Any, None]
"""A plan that hands out items while it runs."""


def limited(plan: Plan[ResultT], limits: Timeouts) -> Plan[ResultT]:
    """Runs a plan with these time limits on each of its requests, whatever limits they have themselves."""
    resume: Callable[[], Step] = partial(next, plan)
    while True:
        try:
            step = resume()
        except StopIteration as done:
            result: ResultT = done.value
            return result
        try:
            outcome = yield replace(step, timeouts=limits) if isinstance(step, Call) else step
        except ProviderError as error:
            resume = partial(plan.throw, error)
        else:
            resume = partial(plan.send, outcome)


def worked(compute: Callable[[], ResultT]) -> Plan[ResultT]:
    """Has the driver do a computation that may take long; its result."""
    results: list[ResultT] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(compute())
        except BaseException as error:  # noqa: BLE001 - raised again in the plan
            errors.append(error)

    yield Work(run)
    if errors:
        raise errors.pop()
    return results.pop()
