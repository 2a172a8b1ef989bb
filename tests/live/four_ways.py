"""One question in four ways at the same time: blocking and asynchronous, as a plain request and as a stream."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from abstractcore import VLLMProvider
from abstractcore.errors import AbstractCoreError, StreamInterruptedError

from .real_faults import RealFault

PATIENCE: Final = 300.0
"""Seconds after which something that should come to be has failed."""


@dataclass
class Outcome:
    """What a caller got."""

    stream: bool
    text: str = ""
    finish_reason: str | None = None
    time_to_first_token: float = 0.0
    error: AbstractCoreError | None = None
    ended_at: float = 0.0


def plain(llm: VLLMProvider, outcome: Outcome, options: dict[str, Any]) -> None:
    answer = llm.generate(**options)
    outcome.text, outcome.finish_reason = answer.content, answer.finish_reason


def stream(llm: VLLMProvider, outcome: Outcome, options: dict[str, Any]) -> None:
    for part in llm.generate(**options, stream=True):
        _add(outcome, part)


def aplain(llm: VLLMProvider, outcome: Outcome, options: dict[str, Any]) -> None:
    async def run() -> None:
        answer = await llm.agenerate(**options)
        outcome.text, outcome.finish_reason = answer.content, answer.finish_reason

    asyncio.run(run())


def astream(llm: VLLMProvider, outcome: Outcome, options: dict[str, Any]) -> None:
    async def run() -> None:
        async for part in await llm.agenerate(**options, stream=True):
            _add(outcome, part)

    asyncio.run(run())


def _add(outcome: Outcome, part: Any) -> None:
    outcome.text += part.content
    outcome.finish_reason = part.finish_reason
    if part.finish_reason:
        outcome.time_to_first_token = part.metadata["timings"]["time_to_first_token"]


WAYS: Final = (plain, aplain, stream, astream)


class FourWays:
    """Asks when the block begins; when it ends, all have an outcome.

    Args:
        make: Makes a provider; called once for each way.
        options: Those of ``generate``.
        plain_options: More of them, for the plain requests.
    """

    def __init__(
        self, make: Callable[[], VLLMProvider], options: dict[str, Any], plain_options: dict[str, Any] | None = None
    ) -> None:
        self.outcomes = [Outcome(stream=way in (stream, astream)) for way in WAYS]
        self._make = make
        self._options = {False: {**options, **(plain_options or {})}, True: options}
        self._together = threading.Barrier(len(WAYS))
        self._threads = [
            threading.Thread(target=self._ask, args=(way, outcome), daemon=True)
            for way, outcome in zip(WAYS, self.outcomes, strict=True)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a caller hangs"

    def _ask(self, way: Any, outcome: Outcome) -> None:
        llm = self._make()
        self._together.wait(PATIENCE)
        try:
            way(llm, outcome, self._options[outcome.stream])
        except AbstractCoreError as error:
            outcome.error = error
        outcome.ended_at = time.monotonic()

    def begun(self) -> bool:
        """Whether all streams have text."""
        return all(outcome.text for outcome in self.outcomes if outcome.stream)

    def got(self, fault: RealFault) -> None:
        """Holds all outcomes to what the table says."""
        for outcome in self.outcomes:
            held(fault, outcome)


def held(fault: RealFault, outcome: Outcome) -> None:
    """Holds an outcome to what the table says."""
    expected = fault.gives(stream=outcome.stream)
    if not expected:
        assert outcome.error is None, repr(outcome.error)
        assert outcome.finish_reason in ("stop", "length")
        assert outcome.text
        return
    assert type(outcome.error) in expected, repr(outcome.error)
    assert fault.says in str(outcome.error)
    assert outcome.finish_reason is None, "nothing says that the answer is complete"
    assert bool(outcome.text) == (fault.partial and outcome.stream), "no error is given as text"
    if isinstance(outcome.error, StreamInterruptedError):
        assert outcome.error.partial == outcome.text, "the text that had come is kept"


def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
