"""Plans for answers that are instances of a class, over the plans of any provider."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ..errors import ConstraintViolationError, ProviderError
from ..structured import ResponseModel, read_partial
from ..types import GenerateRequest, GenerateResponse
from ..wire.call import Emit, Plan, StreamPlan


def complete(
    request: GenerateRequest, plan: Callable[[GenerateRequest], Plan[GenerateResponse]]
) -> Plan[GenerateResponse]:
    """Asks for an answer and reads it as an instance; asks again if validators refuse what the schema allowed.

    Raises:
        ConstraintViolationError: The last answer was refused too, or asking again could change nothing.
    """
    retries = 0
    while True:
        response = yield from plan(request)
        try:
            response.parsed = request.response_model.read(response.content)
        except ValueError as error:
            if retries >= request.max_retries or not _may_change(request):
                raise refused(request, response.content, error, retries) from error
            request = _corrected(request, response.content, error)
            retries += 1
        else:
            if retries:
                response.metadata["retries"] = retries
            return response


def stream(request: GenerateRequest, plan: StreamPlan) -> StreamPlan:
    """Adds to each chunk what is known of the answer so far, and to the last one the instance.

    Raises:
        ConstraintViolationError: The model's validators refuse what the schema allowed.
    """
    text = ""

    def read(chunk: GenerateResponse) -> GenerateResponse:
        nonlocal text
        text += chunk.content
        if chunk.finish_reason is None:
            chunk.partial = read_partial(text)
            return chunk
        try:
            chunk.parsed = request.response_model.read(text)
        except ValueError as error:
            raise refused(request, text, error, 0) from error
        return chunk

    return _changed(plan, read)


def refused(request: GenerateRequest, text: str, error: ValueError, retries: int) -> ConstraintViolationError:
    """The error for an answer that the response model does not take."""
    model: ResponseModel = request.response_model
    again = f" (asked {retries + 1} times)" if retries else ""
    return ConstraintViolationError(
        f"the answer satisfies the schema of {model.name}, but not the validators{again}",
        text=text,
        constraint=model.constraint,
        why=str(error),
        hint="the text is in the error's .text; write into the prompt what the validators ask for, "
        "or into the schema (Field(gt=0, pattern=...)), where the server can hold the answer to it",
    )


def _may_change(request: GenerateRequest) -> bool:
    """Whether asking again can give another answer: the conversation grows, or the sampling is free."""
    return request.raw_prompt is None or (request.sampling.get("temperature") != 0 and "seed" not in request.sampling)


def _corrected(request: GenerateRequest, text: str, error: ValueError) -> GenerateRequest:
    if request.raw_prompt is not None:
        return request
    correction = f"That answer is not valid: {error}. Answer again, with this corrected."
    more = [{"role": "assistant", "content": text}, {"role": "user", "content": correction}]
    return replace(request, messages=[*request.messages, *more])


def _changed(plan: StreamPlan, change: Callable[[GenerateResponse], GenerateResponse]) -> StreamPlan:
    """Runs a plan and changes what it hands out."""
    try:
        step = next(plan)
        while True:
            given = Emit([change(item) for item in step.items]) if isinstance(step, Emit) else step
            try:
                reply = yield given
            except ProviderError as error:  # a failed step, thrown in by the driver
                step = plan.throw(error)
            else:
                step = plan.send(reply)
    except StopIteration:
        return
    finally:
        plan.close()
