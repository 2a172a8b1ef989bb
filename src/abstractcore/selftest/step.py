"""Steps with stable names, and what runs them. A step that crashes is an outcome, not the end of the test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from ..errors import AbstractCoreError, ConnectionFailedError, UnsupportedFeatureError
from .subject import Subject


class Verdict(StrEnum):
    """How a step came out."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"
    """It makes no sense here, or something that it needs is not there; the outcome says what."""


class NotTriedError(AbstractCoreError):
    """What a step tests can't be had here."""


class BrokenPromiseError(AbstractCoreError):
    """An answer came, and it is not what was asked for."""


class Outcome(Struct, frozen=True, kw_only=True):
    """A step and how it came out."""

    id: str
    title: str
    verdict: Verdict
    measured: str
    """What was seen: the figures, or what went wrong."""
    why: str | None = None
    cure: str | None = None
    seconds: float = 0.0
    unreachable: bool = False
    """The server itself can't be reached."""


class Step(NamedTuple):
    """One thing that is tried."""

    id: str
    """``family.subject``; it never changes, so that others may rely on it."""
    title: str
    run: Callable[[Subject], str]
    """Gives what was measured; raises what went wrong."""

    @property
    def family(self) -> str:
        """``library``, ``adapters`` or ``gateway``."""
        return self.id.partition(".")[0]


def perform(steps: Sequence[Step], subject: Subject) -> Iterator[Outcome]:
    """Runs one step after the other; when the server itself can't be reached, the others are not tried."""
    lost: str | None = None
    for step in steps:
        if lost is not None:
            yield Outcome(id=step.id, title=step.title, verdict=Verdict.NOT_TRIED, measured=lost)
            continue
        outcome = _perform(step, subject)
        if outcome.unreachable:
            lost = f"{step.id} could not reach the server"
        yield outcome


def _perform(step: Step, subject: Subject) -> Outcome:
    started = time.monotonic()
    error: AbstractCoreError | None = None
    verdict, measured = Verdict.PASSED, ""
    try:
        measured = step.run(subject)
    except (NotTriedError, UnsupportedFeatureError) as refusal:
        verdict, error = Verdict.NOT_TRIED, refusal
    except AbstractCoreError as failure:
        verdict, error = Verdict.FAILED, failure
    except Exception as crash:  # noqa: BLE001 - one broken step must not hide what the others find
        verdict = Verdict.FAILED
        measured = f"the step itself crashed: {type(crash).__name__}: {crash}"
    return Outcome(
        id=step.id,
        title=step.title,
        verdict=verdict,
        measured=error.message if error else measured,
        why=error.why if error and error.why and error.why not in error.message else None,
        cure=error.hint if error else None,
        seconds=time.monotonic() - started,
        unreachable=isinstance(error, ConnectionFailedError),
    )


def fails(outcomes: Sequence[Outcome]) -> bool:
    """Whether something that was tried did not work."""
    return any(outcome.verdict is Verdict.FAILED for outcome in outcomes)
