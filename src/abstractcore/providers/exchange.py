"""One request to a backend: asked, read, checked and proved, in whichever protocol the backend speaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import (
    ConnectionFailedError,
    ProviderAPIError,
    ProviderError,
    RequestTimeoutError,
    StreamInterruptedError,
)
from ..types import GenerateRequest, GenerateResponse, Usage
from ..wire.call import READ, Answer, Call, Emit, Plan, ReadWithin, Step, StreamPlan, Timeouts, worked
from ..wire.failure import UNREADABLE, holds_failure
from ..wire.openai import Completion
from ..wire.openai_protocol import OPENAI
from ..wire.protocol import WireProtocol
from ..wire.stream import ABORTED
from .endpoint import Endpoint, checked, failed
from .proof import is_heavy, settle
from .request import timeouts_of
from .tool_calls import settle_calls

T = TypeVar("T")


class Job(Struct, frozen=True):
    """A request that is decided: nothing about it is left to find out."""

    endpoint: Endpoint
    request: GenerateRequest
    model: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What the backend adds to the body: constraints in its spelling, its own fields."""
    spelling: str = ""
    """The field that carries the constraint."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the response says besides: the server's version, what was emulated."""
    hold_text: bool = False
    """Don't hand the text of a stream out as it comes: it is no text for the caller yet, but JSON to be read back."""
    revise: Sequence[Callable[[Completion], Completion]] = ()
    """Run on the whole answer before its proof: each gives it on, changed or not, or raises for a broken promise."""
    confirm: Callable[[Endpoint, str, str | None], Plan[None]] | None = None
    """Run where the answer names another model than was asked (endpoint, asked, answered): raises unless both are
    the same one."""
    inspect: Callable[[Completion], Plan[None]] | None = None
    """Run on the whole answer where the server has to be asked something about it: raises for a broken promise."""
    protocol: WireProtocol = OPENAI

    @property
    def choices(self) -> int:
        """How many choices the request asks for."""
        return self.protocol.choices(self.request, self.fields)

    def body(self, *, stream: bool) -> dict[str, Any]:
        """The JSON of the request."""
        return {**self.protocol.body(self.request, self.model, stream=stream), **self.fields}

    def call(self, *, stream: bool) -> Call:
        """The HTTP request."""
        return self.endpoint.post(
            self.endpoint.base_url + self.protocol.path(self.request),
            self.body(stream=stream),
            stream=stream,
            timeouts=timeouts_of(self.request, self.endpoint.timeouts),
        )


def complete(job: Job) -> Plan[GenerateResponse]:
    """Asks for a whole answer, proves it and gives it."""
    started = time.perf_counter()
    call = job.call(stream=False)
    answer = yield from checked(job.endpoint, call, model=job.model)
    completion = read(job.protocol.read, job.endpoint, call, answer, model=job.model, protocol=job.protocol.name)
    _check_ends(job, call, completion)
    yield from confirmed(job, completion)
    return (yield from _proved(job, completion, partial(respond, job, completion, started, None, answer.retries)))


def _proved(job: Job, completion: Completion, prove: Callable[[], GenerateResponse]) -> Plan[GenerateResponse]:
    """The response, made where its proof holds nobody up."""
    if is_heavy(completion.answers, job.request.constraint):
        return (yield from worked(prove))
    return prove()


def _check_ends(job: Job, call: Call, completion: Completion) -> None:
    """Holds a whole answer to what a stream is held to: every choice is there and came to an end."""
    wanted, answers = job.choices, completion.answers
    why = None
    if len(answers) < wanted:
        why = f"it has {len(answers)} of {wanted} choices"
    elif any(answer.finish_reason in (None, "", ABORTED) for answer in answers):
        why = "the server aborted the request" if answers[0].finish_reason else "a choice has no finish reason"
    if why:
        raise ProviderAPIError(
            f"{job.endpoint.provider}: the answer is not complete: {why}",
            provider=job.endpoint.provider,
            model=job.model,
            url=call.url,
            request_id=completion.response_id,
        )


def stream(job: Job) -> StreamPlan:
    """Asks for a stream and hands its chunks out as they come; the last one only after all is proved."""
    started = time.perf_counter()
    call = job.call(stream=True)
    answer = yield from checked(job.endpoint, call, model=job.model)
    reader = job.protocol.reader(provider=job.endpoint.provider, url=call.url, n=job.choices)
    if not answer.headers.get("content-type", "").startswith(job.protocol.content_type):
        raise reader.interrupted(
            "the answer is no event stream", why=f"its content type is {answer.headers.get('content-type')!r}"
        )
    patience = Patience(call.timeouts, time.monotonic())
    try:
        while data := (yield patience.step):
            chunks = reader.feed(data)
            if job.hold_text:
                chunks = [replace(chunk, content="") for chunk in chunks if chunk.reasoning or chunk.logprobs]
            if chunks:
                yield Emit(chunks)
            if reader.failed is not None:
                raise reader.failed
            patience.look(reader.progress, time.monotonic())
        completion = reader.finish()
        yield from confirmed(job, completion)
    except (ConnectionFailedError, RequestTimeoutError) as error:
        raise reader.interrupted(error.message, why=error.why) from error
    except StreamInterruptedError as error:
        job.endpoint.discreet(error)
        raise
    prove = partial(respond, job, completion, started, reader.first_at, answer.retries)
    last = yield from _proved(job, completion, prove)
    if job.hold_text and last.content:
        yield Emit([replace(last, finish_reason=None, usage=None, alternatives=[], metadata={}, score=None)])
    last.content, last.reasoning, last.logprobs = "", None, None
    yield Emit([last])


class Patience:
    """How long the next bytes of a stream may take: comments and empty events buy no time.

    Args:
        timeouts: Limits of the call.
        now: When the head of the answer came, on a monotonic clock.
    """

    __slots__ = ("_moved_at", "_progress", "_timeouts", "step")

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self._timeouts = timeouts
        self._moved_at = now
        self._progress = 0
        self.step: Step = READ
        """What the plan yields next."""

    def look(self, progress: int, now: float) -> None:
        """Something came; ``progress`` says how much of an answer there is by now."""
        if progress != self._progress:
            self._progress, self._moved_at, self.step = progress, now, READ
            return
        phase = "idle" if progress else "first_byte"
        limit: float | None = getattr(self._timeouts, phase)
        self.step = READ if limit is None else ReadWithin(max(0.0, self._moved_at + limit - now), phase)


def confirmed(job: Job, completion: Completion) -> Plan[None]:
    """Proves that the model that was asked answered; costs a request only where the names differ.

    Raises:
        ProviderError: Another one did, or the backend's own inspection finds a fault.
    """
    if job.confirm is not None and completion.model != job.model:
        yield from job.confirm(job.endpoint, job.model, completion.model)
    if job.inspect is not None:
        yield from job.inspect(completion)


def respond(
    job: Job, completion: Completion, started: float, first_at: float | None, retries: Sequence[str] = ()
) -> GenerateResponse:
    """The response for a completion whose promises are all kept.

    Raises:
        ConstraintViolationError: They are not.
        ProviderError: They are not.
    """
    seconds = time.perf_counter() - started
    for revise in job.revise:
        completion = revise(completion)
    for answer in completion.answers:
        settle_calls(answer, job.request, completion.usage)
    metadata: dict[str, Any] = {"request_id": completion.response_id, **job.metadata}
    if retries:
        metadata["retries"] = list(retries)
    if job.request.constraint is not None:
        proofs = [settle(answer, job.request, job.spelling) for answer in completion.answers]
        metadata["constraint"] = proofs[0]
    metadata["timings"] = _timings(completion.usage, seconds, None if first_at is None else first_at - started)
    first, *others = completion.answers
    return GenerateResponse(
        content=first.content,
        model=completion.model,
        finish_reason=first.finish_reason,
        usage=completion.usage,
        tool_calls=first.tool_calls,
        reasoning=first.reasoning,
        reasoning_blocks=first.reasoning_blocks,
        logprobs=first.logprobs,
        alternatives=others,
        metadata=metadata,
        raw_body=completion.raw_body,
        gen_time=seconds * 1e3,
        score=first.score,
    )


def _timings(usage: Usage | None, seconds: float, to_first: float | None) -> dict[str, float]:
    timings = {"total": seconds}
    if to_first is not None:
        timings["time_to_first_token"] = to_first
    if usage and usage.output_tokens and seconds > 0:
        timings["tokens_per_second"] = usage.output_tokens / seconds
    return timings


def read(
    reader: Callable[[bytes], T],
    endpoint: Endpoint,
    call: Call,
    answer: Answer,
    *,
    model: str | None = None,
    protocol: str = OPENAI.name,
) -> T:
    """Reads a success answer, and raises if it is a failure in disguise or not in the protocol."""
    try:
        return reader(answer.body)
    except UNREADABLE as error:
        disguised = _failure_within(endpoint, call, answer, model)
        if disguised is not None:
            raise disguised from None
        failure = ProviderAPIError(
            f"{endpoint.provider}: the answer is not in the protocol",
            provider=endpoint.provider,
            model=model,
            url=call.url,
            status=answer.status,
            why=f"{error}; it begins {answer.body[:80]!r}",
            hint=f"does {endpoint.base_url} really speak {protocol}?",
        )
        raise endpoint.discreet(failure) from error


def _failure_within(endpoint: Endpoint, call: Call, answer: Answer, model: str | None) -> ProviderError | None:
    try:
        document = msgspec.json.decode(answer.body)
    except UNREADABLE:
        return None
    return failed(endpoint, call, answer, answer.body, model=model) if holds_failure(document) else None
