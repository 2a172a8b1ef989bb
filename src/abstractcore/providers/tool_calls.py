"""Holds the tool calls of a finished answer against the tools, on every backend: few servers check them."""

from __future__ import annotations

from ..errors import ToolCallError, TruncatedOutputError
from ..tools import CHOICES, fault
from ..types import Alternative, GenerateRequest, Usage
from .request import limit_of


def settle_calls(answer: Alternative, request: GenerateRequest, usage: Usage | None) -> None:
    """Checks the calls of one answer, and that there is one where one is due.

    Raises:
        TruncatedOutputError: The length limit cut a call, or the answer before its call.
        ToolCallError: A call of no known tool or with arguments that break its schema, or no call where one was due.
    """
    why = _fault(answer, request)
    if _was_cut(answer, request, usage) and (why or answer.tool_calls):
        text = _text(answer)
        limit = limit_of(request)
        raise TruncatedOutputError(
            f"{limit} cut the answer before its tool call was complete",
            text=text,
            constraint=request.tools,
            why=why or "the finish reason is 'length', so a further call may be missing",
            hint="the partial text is in the error's .partial; give a higher limit",
        )
    if why:
        error = ToolCallError(
            "the answer's tool calls are not what was asked for",
            text=_text(answer),
            constraint=request.tools,
            why=why,
            hint="the calls are in the error's .calls; run_tools tells the model and lets it try again",
        )
        error.calls = tuple(answer.tool_calls)
        raise error


def _fault(answer: Alternative, request: GenerateRequest) -> str | None:
    calls, choice = answer.tool_calls, request.tool_choice
    for call in calls:
        why = fault(call, request.tools)
        if why is not None:
            return why
    if not request.tools or choice == "auto":
        wanted = None
    elif choice == "none":
        wanted = "tool_choice is 'none', but there are calls" if calls else None
    elif not calls:
        wanted = f"tool_choice is {choice!r}, but there is no call; the text begins {answer.content[:60]!r}"
    elif choice not in CHOICES and any(call.name != choice for call in calls):
        wanted = f"tool_choice is {choice!r}, but {', '.join(call.name for call in calls)} is called"
    else:
        wanted = None
    if wanted is None and request.parallel_tool_calls is False and len(calls) > 1:
        return f"parallel_tool_calls is False, but there are {len(calls)} calls"
    return wanted


def _was_cut(answer: Alternative, request: GenerateRequest, usage: Usage | None) -> bool:
    """Whether the length limit ended the answer. Some versions say ``tool_calls`` of a call that was cut."""
    if answer.finish_reason == "length":
        return True
    if not usage or request.n != 1 or request.max_output_tokens is None:
        return False
    unreadable = any(call.raw_arguments is not None for call in answer.tool_calls)
    return unreadable and usage.output_tokens >= request.max_output_tokens


def _text(answer: Alternative) -> str:
    raw = [call.raw_arguments for call in answer.tool_calls if call.raw_arguments is not None]
    return raw[0] if raw else answer.content
