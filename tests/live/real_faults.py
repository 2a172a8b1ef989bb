"""What a real vLLM does when it breaks, and what callers get: the tests obey it, and docs/faults.md shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from abstractcore.errors import (
    AbstractCoreError,
    AdapterError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    RequestTimeoutError,
    StreamInterruptedError,
)

Errors = tuple[type[AbstractCoreError], ...]


@dataclass(frozen=True, kw_only=True)
class RealFault:
    """One way in which a real server breaks.

    Args:
        breaks: What goes wrong, in words.
        shown_by: File and test, below tests/live.
        plain: What a plain request raises, one of these; nothing if a complete answer comes all the same.
        stream: The same for a stream.
        partial: Whether a stream has handed out text before it breaks.
        says: Words of the error: the fact, or what to do.
    """

    breaks: str
    shown_by: str
    plain: Errors = ()
    stream: Errors = ()
    partial: bool = False
    says: str = ""

    def gives(self, *, stream: bool) -> Errors:
        """The errors that a caller may get."""
        return self.stream if stream else self.plain


LOADING: Final = RealFault(
    breaks="still loads its model",
    shown_by="test_faults.py::test_a_server_is_stopped_and_started_again",
    plain=(ConnectionFailedError,),
    stream=(ConnectionFailedError,),
    says="if it still loads its model: wait_until_ready(600)",
)
FROZEN: Final = RealFault(
    breaks="has a frozen engine, and `/health` answers 200",
    shown_by="test_faults.py::test_a_frozen_engine",
    plain=(RequestTimeoutError,),
    stream=(StreamInterruptedError,),
    says="its queue may be long, or its engine frozen",
)
FREEZES: Final = RealFault(
    breaks="has an engine that freezes in the middle of an answer",
    shown_by="test_faults.py::test_an_engine_that_freezes_and_goes_on",
    plain=(RequestTimeoutError,),
    stream=(StreamInterruptedError,),
    partial=True,
    says="its queue may be long, or its engine frozen",
)
FROZE: Final = RealFault(
    breaks="has an engine that stood still for less than the time limits",
    shown_by="test_faults.py::test_an_engine_that_freezes_and_goes_on",
)
REFUSES: Final = RealFault(
    breaks="can't do what a schema wants: 400, or an error event, then `[DONE]`, in a stream of status 200",
    shown_by="test_faults.py::test_an_error_event_and_then_done",
    plain=(InvalidRequestError,),
    stream=(StreamInterruptedError,),
    says='Unimplemented keys: ["uniqueItems"]',
)
QUEUED: Final = RealFault(
    breaks="has more requests than it runs at once; they wait in its queue",
    shown_by="test_faults.py::test_a_long_queue",
)
QUEUED_TOO_LONG: Final = RealFault(
    breaks="has a queue that takes longer than the time to the first token may be",
    shown_by="test_faults.py::test_a_long_queue",
    plain=(RequestTimeoutError,),
    stream=(StreamInterruptedError,),
    says="its queue may be long, or its engine frozen",
)
STOPPED: Final = RealFault(
    breaks="is stopped (SIGTERM) in the middle of an answer",
    shown_by="test_faults.py::test_a_server_is_stopped_and_started_again",
    plain=(ProviderAPIError, ConnectionFailedError, RequestTimeoutError),
    stream=(StreamInterruptedError,),
    partial=True,
)
ADAPTER_LOST: Final = RealFault(
    breaks="was started again and has lost the adapter that this client had loaded",
    shown_by="test_faults.py::test_a_server_is_stopped_and_started_again",
    plain=(AdapterError,),
    stream=(AdapterError,),
    says="is lost: the server has restarted since",
)
ADAPTER_GONE: Final = RealFault(
    breaks="was started again and has lost the adapter that another client had loaded",
    shown_by="test_faults.py::test_a_server_is_stopped_and_started_again",
    plain=(ModelNotFoundError,),
    stream=(ModelNotFoundError,),
    says="served here: tiny",
)
ADAPTER_RACE: Final = RealFault(
    breaks="lets two processes load and unload one adapter at the same time, and it is gone when it is asked",
    shown_by="test_adapters.py::test_two_processes_at_the_same_time",
    plain=(AdapterError,),
    stream=(AdapterError,),
    says="another client unloaded it",
)
ENGINE_DIES: Final = RealFault(
    breaks="has an engine that is killed in the middle of an answer",
    shown_by="test_faults.py::test_an_engine_that_is_killed",
    plain=(ProviderAPIError,),
    stream=(StreamInterruptedError,),
    partial=True,
    says="is dead (/health answers 503)",
)
ENGINE_DEAD: Final = RealFault(
    breaks="has a dead engine, and its HTTP side lives",
    shown_by="test_faults.py::test_an_engine_that_is_killed",
    plain=(ProviderAPIError,),
    stream=(ProviderAPIError, StreamInterruptedError),
    says="is dead (/health answers 503)",
)
KILLED: Final = RealFault(
    breaks="is killed in the middle of an answer",
    shown_by="test_faults.py::test_a_server_that_is_killed",
    plain=(ConnectionFailedError,),
    stream=(StreamInterruptedError,),
    partial=True,
    says="the connection to",
)

REAL_FAULTS: Final = (
    LOADING, FROZEN, FREEZES, FROZE, REFUSES, QUEUED, QUEUED_TOO_LONG, STOPPED, KILLED, ENGINE_DIES, ENGINE_DEAD,
    ADAPTER_LOST, ADAPTER_GONE, ADAPTER_RACE,
)  # fmt: skip
