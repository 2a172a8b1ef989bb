"""Runs plans on canned answers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from abstractcore.wire.call import Answer, Call


def play(plan: Generator[Any, Any, Any], answers: Sequence[Answer]) -> tuple[Any, list[Call]]:
    """Runs a plan on these answers, all of which must be asked for; its result and its calls."""
    calls = []
    left = list(answers)
    try:
        step = next(plan)
        while True:
            assert isinstance(step, Call)
            calls.append(step)
            step = plan.send(left.pop(0))
    except StopIteration as stop:
        assert not left
        return stop.value, calls
