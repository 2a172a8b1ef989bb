"""The time limits of a call hold for what is asked before it, too: which model is served, what a server understands."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from ..errors import ProviderError
from ..types import GenerateRequest
from ..wire.call import Call, Pause, Plan, Step, Timeouts
from .exchange import Job

T = TypeVar("T")


def in_time(request: GenerateRequest, limits: Timeouts, plan: Plan[Job]) -> Plan[Job]:
    """Runs the plan that decides a request within the request's own limits; what is left of the total is the job's.

    Args:
        request: Its ``timeout`` says whether there is a limit of the caller's at all.
        limits: Those of the call.
        plan: Decides the request.
    """
    if request.timeout is None:
        return (yield from plan)
    started = time.monotonic()
    job, asked = yield from _within(plan, limits, started)
    if not asked or limits.total is None:
        return job
    left = replace(limits, total=max(0.0, started + limits.total - time.monotonic()))
    return replace(job, request=msgspec.structs.replace(job.request, timeout=left))


def _within(plan: Plan[T], limits: Timeouts, started: float) -> Generator[Step, Any, tuple[T, bool]]:
    """The plan's result, and whether it asked anything."""
    resume: Callable[[], Step] = partial(next, plan)
    asked = False
    while True:
        try:
            step = resume()
        except StopIteration as done:
            return done.value, asked
        left = None if limits.total is None else max(0.0, started + limits.total - time.monotonic())
        asked = True
        try:
            outcome = yield _sooner(step, limits, left)
        except ProviderError as error:
            resume = partial(plan.throw, error)
        else:
            resume = partial(plan.send, outcome)


def _sooner(step: Step, limits: Timeouts, left: float | None) -> Step:
    """A step with the shorter of its own and the call's limits."""
    if isinstance(step, Pause):
        return step if left is None else Pause(min(step.seconds, left))
    if not isinstance(step, Call):
        return step
    own = step.timeouts
    shorter = Timeouts(
        _least(own.connect, limits.connect),
        _least(own.first_byte, limits.first_byte),
        _least(own.idle, limits.idle),
        _least(own.total, left),
    )
    return replace(step, timeouts=shorter)


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
