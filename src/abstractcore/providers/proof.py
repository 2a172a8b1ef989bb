"""Holds a finished answer against its constraint. The last step of every constrained call, on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.json import encode

from ..constraint import Constraint, JsonSchema
from ..errors import ConstraintViolationError, TruncatedOutputError
from ..types import Alternative, GenerateRequest
from .request import limit_of

_DECLINED: Final = ("refusal", "content_filter")
"""Finish reasons by which clouds say that the model, or a filter, declines; no text beside them is an answer."""


LIGHT: Final = 4096
"""Characters of a text whose proof holds nobody up."""
_HEAVY_SCHEMA: Final = 16 * 1024
"""Bytes of a schema that is worth a thread whatever the text."""


def is_heavy(answers: Sequence[Alternative], constraint: Constraint | None) -> bool:
    """Whether to hold answers against their promises may take so long that others should not wait for it."""
    if constraint is not None and constraint.kind in ("grammar", "structural_tag"):
        return True  # an ambiguous one takes a second for a line of text
    size = sum(
        len(answer.content) + sum(len(encode(call.arguments)) for call in answer.tool_calls) for answer in answers
    )
    return size > LIGHT or (isinstance(constraint, JsonSchema) and len(encode(constraint.schema)) > _HEAVY_SCHEMA)


def settle(answer: Alternative, request: GenerateRequest, spelling: str) -> dict[str, Any]:
    """Proves one answer, trims it if it was cut and may be trimmed, and says what was done.

    Args:
        answer: The answer; its ``content`` is shortened if it is trimmed.
        request: The request that it answers.
        spelling: The request field that carried the constraint.

    Returns:
        The entry ``constraint`` of the response's metadata.

    Raises:
        TruncatedOutputError: The length limit cut the answer before it was complete.
        ConstraintViolationError: The answer does not satisfy the constraint.
    """
    constraint: Constraint = request.constraint
    text = answer.content
    if answer.finish_reason in _DECLINED:
        raise ConstraintViolationError(
            f"the model declined to answer, so there is no {constraint.kind}",
            text=text,
            constraint=constraint,
            spelling=spelling,
            why=f"the finish reason is {answer.finish_reason!r}; the text begins {text[:200]!r}",
            hint="the text is in the error's .text",
        )
    record: dict[str, Any] = {"kind": constraint.kind, "spelling": spelling, "proved": True}
    cut = answer.finish_reason == "length" and not constraint.complete(text)
    # A limit may fall inside a character, which the server then shows as U+FFFD.
    proof = constraint.begins(text.rstrip("\N{REPLACEMENT CHARACTER}")) if cut else constraint.prove(text)
    if proof.holds and cut:
        return record | _trim(answer, request, spelling)
    if not proof.holds:
        raise ConstraintViolationError(
            f"the answer does not satisfy the {constraint.kind} that was asked for",
            text=text,
            constraint=constraint,
            spelling=spelling,
            why=f"{proof.why}; it was sent as {spelling} and the server answered as if all were well",
            hint="the text is in the error's .text; does a proxy drop fields, or does the server read it differently?",
        )
    if proof.checker == "none":
        return record | {"proved": False, "unproved": proof.why}
    return record | {"checker": proof.checker}


def _trim(answer: Alternative, request: GenerateRequest, spelling: str) -> dict[str, Any]:
    constraint: Constraint = request.constraint
    limit = limit_of(request)
    wanted = request.on_cut or ("raise" if request.max_output_tokens else "trim")
    kept = constraint.trim(answer.content) if wanted == "trim" else None
    if kept is None:
        tip = "on_cut='trim' keeps the longest part that satisfies it" if wanted == "raise" else None
        raise TruncatedOutputError(
            f"{limit} cut the answer before it satisfied the {constraint.kind}",
            text=answer.content,
            constraint=constraint,
            spelling=spelling,
            why=f"the finish reason is 'length' after {len(answer.content)} characters"
            + (f" and {len(answer.reasoning)} of reasoning" if answer.reasoning else ""),
            hint=f"the partial text is in the error's .partial; give a higher limit or a bounded pattern; {tip}"
            if tip and constraint.kind in ("regex", "grammar", "structural_tag")
            else "the partial text is in the error's .partial; give a higher limit or a bounded constraint",
        )
    cut = answer.content[len(kept) :]
    answer.content = kept
    return {"checker": constraint.prove(kept).checker, "trimmed": True, "cut_by": limit, "cut_text": cut}
