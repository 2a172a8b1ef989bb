"""What the soak asks, and what must come of it: good answers, faults, and streams that are given up."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any, Final

from abstractcore import VLLMProvider
from abstractcore.errors import (
    AbstractCoreError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    StreamInterruptedError,
)
from abstractcore.wire.call import Timeouts

PROMPT: Final = "List the numbers from one to ten."
SCHEMA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
    "required": ["name", "age", "tags"],
}
LATE: Final = Timeouts(connect=30, first_byte=0.3, idle=30, total=60)
STALLED: Final = Timeouts(connect=30, first_byte=30, idle=0.3, total=60)


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Args:
        name: Its name in the results.
        options: Of ``generate``.
        stream: Read as a stream.
        wants: The error that must come; ``None`` for a complete answer.
        leave_after: Give the stream up after so many chunks.
        text: What a complete answer must be.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    stream: bool = False
    wants: type[AbstractCoreError] | None = None
    leave_after: int | None = None
    text: str | None = None


def told(**options: object) -> dict[str, Any]:
    """Options of a request to the load source."""
    user = ",".join(f"{name}={value}" for name, value in options.items())
    return {"extra_body": {"user": user}, "allow_unknown": True}


def scripted(llm: VLLMProvider) -> list[Case]:
    """Cases for the load source, which breaks on demand."""
    chunks = 20
    text = "".join(part.content for part in llm.generate(PROMPT, stream=True, **told(chunks=chunks)))
    plain = llm.generate(PROMPT, max_output_tokens=256).content
    statuses = {400: InvalidRequestError, 429: RateLimitError, 500: ProviderAPIError, 503: ServerOverloadedError}
    broken: dict[str, dict[str, Any]] = {
        name: told(chunks=chunks, **{name: value})
        for name, value in (("error", 3), ("reset", 5), ("cut", 7), ("finish", 0))
    }
    return [
        Case("plain", {"max_output_tokens": 256}, text=plain),
        Case("proved", {"guided_json": SCHEMA, "max_output_tokens": 256}),
        Case("proved stream", {"guided_json": SCHEMA, "max_output_tokens": 256}, stream=True),
        *[Case("stream", told(chunks=chunks), stream=True, text=text)] * 3,
        Case("slow stream", told(chunks=chunks, spacing=10), stream=True, text=text),
        Case("no [DONE]", told(chunks=chunks, done=0), stream=True, text=text),
        *(Case(name, options, stream=True, wants=StreamInterruptedError) for name, options in broken.items()),
        Case("stall", {**told(chunks=chunks, stall=4), "timeout": STALLED}, stream=True, wants=StreamInterruptedError),
        Case("late", {**told(chunks=chunks, delay=5000), "timeout": LATE}, stream=True, wants=RequestTimeoutError),
        Case("late plain", {**told(delay=5000), "timeout": LATE}, wants=RequestTimeoutError),
        *(Case(f"status {code}", told(status=code), wants=error) for code, error in statuses.items()),
        Case("status 500, stream", told(status=500), stream=True, wants=ProviderAPIError),
        *[Case("given up", told(chunks=2000, spacing=5), stream=True, leave_after=3)] * 2,
        Case("given up at once", told(chunks=2000, spacing=5), stream=True, leave_after=0),
    ]


def real() -> list[Case]:
    """Cases for a real vLLM, which can't be told to break."""
    few = {"max_output_tokens": 12, "temperature": 0}
    return [
        Case("plain", few),
        Case("stream", few, stream=True),
        Case("choice", {"guided_choice": ["yes", "no"], "temperature": 0}),
        Case("choice, stream", {"guided_choice": ["yes", "no"], "temperature": 0}, stream=True),
        Case("refused", {"max_output_tokens": 10_000_000}, wants=InvalidRequestError),
        Case("no such model", {**few, "model": "there-is-none"}, wants=ModelNotFoundError),
        Case("too late", {"max_output_tokens": 400, "timeout": 0.3}, wants=RequestTimeoutError),
        *[Case("given up", {"max_output_tokens": 400}, stream=True, leave_after=3)] * 2,
    ]


class Tally:
    """What came of the requests; one for all workers, whose threads only ever add."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.wrong: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.done.values())

    def note(self, case: Case, text: str | None, error: AbstractCoreError | None) -> None:
        """Writes down a request and whether its end was the right one; ``text`` is ``None`` if it was given up."""
        self.done[case.name] = self.done.get(case.name, 0) + 1
        said = None
        if error is not None and (case.wants is None or not isinstance(error, case.wants)):
            said = f"{case.name}: {type(error).__name__}: {error.message}"
        elif error is None and case.wants is not None and text is not None:
            said = f"{case.name}: an answer in place of {case.wants.__name__}"
        elif error is None and case.text is not None and text is not None and text != case.text:
            said = f"{case.name}: another text"
        if said:
            self.wrong[said] = self.wrong.get(said, 0) + 1


def ask(llm: VLLMProvider, case: Case, tally: Tally) -> None:
    """One request, blocking."""
    text, error = None, None
    try:
        if not case.stream:
            text = llm.generate(PROMPT, **case.options).content
        else:
            parts: list[str] = []
            for part in llm.generate(PROMPT, stream=True, **case.options):
                if len(parts) == case.leave_after:
                    break  # dropped: nobody closes it
                parts.append(part.content)
            else:
                text = "".join(parts)
    except AbstractCoreError as caught:
        error = caught
    tally.note(case, text, error)


async def aask(llm: VLLMProvider, case: Case, tally: Tally, chance: random.Random) -> None:
    """One request in an event loop; one that is given up ends by closing, by dropping or by cancelling its task."""
    text, error = None, None
    if case.leave_after is not None and chance.random() < 0.4:
        task = asyncio.create_task(_read(llm, case))
        await asyncio.sleep(chance.random() * 0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        try:
            if case.stream:
                text = await _read(llm, case, close=chance.random() < 0.5)
            else:
                text = (await llm.agenerate(PROMPT, **case.options)).content
        except AbstractCoreError as caught:
            error = caught
    tally.note(case, text, error)


async def _read(llm: VLLMProvider, case: Case, *, close: bool = True) -> str | None:
    parts: list[str] = []
    stream = await llm.agenerate(PROMPT, stream=True, **case.options)
    async for part in stream:
        if len(parts) == case.leave_after:
            if close:
                await stream.aclose()
            return None
        parts.append(part.content)
    return "".join(parts)
