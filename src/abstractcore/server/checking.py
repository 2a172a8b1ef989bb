"""Says whether a constraint compiles, and whether a text satisfies it: for those who write one, while they write it.

A constraint from outside may take seconds of CPU time. It is compiled in a thread of its own with a limit on its size
and on its time, and on how many are at it: the gateway goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from ..errors import InvalidConstraintError
from ..providers.vllm.guided import lift
from .chat.protocol import check_fields, typed
from .chat.types import ResponseFormat, StructuredOutputs
from .errors import GatewayError
from .route import Route
from .spec import Spec

if TYPE_CHECKING:
    from .asgi import Request
    from .gateway import Gateway

PATH: Final = "/v1/constraints/check"
MOST_BYTES: Final = 128 * 1024
"""Of a constraint and its text together. A regex of this size was compiled within half a second."""
MOST_SECONDS: Final = 3.0
MOST_AT_ONCE: Final = 2
_SEATS: Final = BoundedSemaphore(MOST_AT_ONCE)
_THREADS: Final = ThreadPoolExecutor(MOST_AT_ONCE, "constraint-check")


class CheckRequest(Struct, kw_only=True, omit_defaults=True):
    """One constraint, in any spelling that completions take, and perhaps a text."""

    guided_regex: str | None = None
    guided_json: dict[str, Any] | bool | str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    guided_structural_tag: dict[str, Any] | str | None = None
    guided_json_object: bool | None = None
    structured_outputs: StructuredOutputs | None = None
    response_format: ResponseFormat | None = None
    text: str | None = None
    """What is held against it."""


class CheckAnswer(Struct, omit_defaults=True):
    """What is known of a constraint."""

    valid: bool
    """Whether it compiles."""
    kind: str | None = None
    """``regex``, ``json``, ``choice``, ``grammar`` or ``structural_tag``."""
    satisfied: bool | None = None
    """Whether the text satisfies it."""
    message: str | None = None
    """What is wrong with it."""
    why: str | None = None
    """The engine's own words; of a text, where it departs."""
    hint: str | None = None


_READER: Final = msgspec.json.Decoder(CheckRequest)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
SPEC: Final = Spec(
    about="Nothing is sent to any backend. Regexes are Rust's, grammars GBNF or Lark, as vLLM's engines read them.",
    body=CheckRequest,
    answer=CheckAnswer,
    fails=(503,),
    examples={
        "a regular expression": {"guided_regex": "[0-9]{3}-[A-Z]{2}", "text": "123-AB"},
        "a choice": {"guided_choice": ["yes", "no"]},
    },
)


def checked(given: dict[str, Any], text: str | None) -> CheckAnswer:
    """Compiles a constraint, and holds a text against it.

    Raises:
        GatewayError: There is none.
    """
    try:
        constraint, _ = lift(given)
        if constraint is None:
            raise GatewayError(
                "there is no constraint that is known here",
                code="missing_field",
                param="guided_regex",
                hint="guided_json, guided_regex, guided_choice, guided_grammar or guided_structural_tag",
            )
        answer = CheckAnswer(valid=True, kind=constraint.kind)
        if text is not None:
            proof = constraint.prove(text)
            answer.satisfied, answer.why = proof.holds, proof.why
    except InvalidConstraintError as error:
        return CheckAnswer(valid=False, message=error.message, why=error.why, hint=error.hint)
    return answer


async def check(gateway: Gateway, request: Request) -> None:
    """Answers at once, or says that it would take too long."""
    body = await request.body(min(MOST_BYTES, gateway.config.limits.max_body_bytes))
    asked, fields = typed(body, _READER), typed(body, _FIELDS)
    check_fields(fields, CheckRequest.__struct_fields__)
    fields.pop("text", None)
    if not _SEATS.acquire(blocking=False):
        raise GatewayError("other constraints are being checked", status=503, code="overloaded", retry_after=1)
    work = _THREADS.submit(checked, fields, asked.text)
    work.add_done_callback(lambda _: _SEATS.release())  # when the thread is free, however long that takes
    try:
        answer = await asyncio.wait_for(asyncio.wrap_future(work), MOST_SECONDS)
    except TimeoutError:
        answer = CheckAnswer(
            valid=False,
            message=f"it takes longer than {MOST_SECONDS:g} s to check",
            why="a server would spend as much on it, while others wait",
            hint="bound its repetitions, shorten its lists, make its grammar unambiguous",
        )
    await request.json(answer)


ROUTES: Final = (Route("POST", PATH, check, "Say whether a constraint compiles.", spec=SPEC),)
