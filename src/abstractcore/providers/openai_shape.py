"""How constraints, tools and reasoning are written for backends that take no more than OpenAI's own fields. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ..tools import CHOICES, ToolDefinition
from ..wire.openai import Completion
from ..wire.openai_strict import Strict, strict_form, without_nulls
from .draft import Draft
from .emulation import as_schema, ask_by_schema

RESPONSE_FORMAT: Final = "response_format"


def shape_constraint(draft: Draft, *, objects_only: bool, strict_rules: bool) -> None:
    """Writes the constraint as ``response_format``.

    Args:
        draft: The request.
        objects_only: The backend takes only schemas of objects.
        strict_rules: The backend's strict mode takes only a part of JSON Schema.
    """
    constraint = draft.request.constraint
    if constraint is None:
        return
    if draft.request.raw_prompt is not None:
        raise draft.refuse(
            f"raw_prompt with guided_{constraint.kind}",
            why="its completions endpoint has no field for constraints",
            alternatives=["leave raw_prompt out: chats can be constrained"],
        )
    form = as_schema(constraint, objects_only=objects_only)
    if form is None:
        raise draft.refuse(f"guided_{constraint.kind}", why=f"no JSON Schema object says what {constraint!r} says")
    schema, strict = form.schema, True
    if strict_rules:
        found = strict_form(form.schema)
        strict = isinstance(found, Strict)
        if isinstance(found, Strict):
            schema = found.schema
            _say_unsent(draft, RESPONSE_FORMAT, found)
            if found.nullable:
                _prune_answers(draft, form.schema)
        else:
            draft.knobs["strict"] = f"sent with strict: false, since {found}; the proof here holds the answer to it"
    draft.fields[RESPONSE_FORMAT] = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": strict},
    }
    ask_by_schema(draft, form, RESPONSE_FORMAT)


def _say_unsent(draft: Draft, where: str, form: Strict) -> None:
    if form.unsent:
        draft.knobs[f"strict {where}"] = (
            f"proved here only, since strict mode doesn't know it: {', '.join(form.unsent)}"
        )


_LEFT_OUT: Final = "strict mode wants all properties, so those left out were asked for as null and taken out here"


def _prune_answers(draft: Draft, schema: Mapping[str, Any]) -> None:
    def prune(completion: Completion) -> Completion:
        for answer in completion.answers:
            try:
                document = msgspec.json.decode(answer.content)
            except (msgspec.DecodeError, RecursionError):
                continue  # cut short, or no JSON: the proof says so
            pruned = without_nulls(document, schema)
            if pruned != document:
                answer.content = msgspec.json.encode(pruned).decode()
        return completion

    draft.hold_text = True
    draft.revise.append(prune)
    draft.emulated["optional properties"] = _LEFT_OUT


def shape_tools(draft: Draft, *, strict: bool, strict_rules: bool, by_name: bool) -> None:
    """Writes the tools.

    Args:
        draft: The request.
        strict: Tools may say ``strict``.
        strict_rules: Strict mode takes only a part of JSON Schema.
        by_name: The backend takes the name of a tool as ``tool_choice``.
    """
    request = draft.request
    if not request.tools:
        return
    tools, choice = request.tools, request.tool_choice
    if choice not in CHOICES and not by_name:
        tools, choice = tuple(known for known in tools if known.name == request.tool_choice), "required"
        draft.emulated["tool_choice"] = f"{request.tool_choice}: only this tool was told, and a call required"
    write: Callable[[ToolDefinition], dict[str, Any]] = lambda known: known.to_openai(strict=strict)  # noqa: E731
    if strict_rules:
        write = lambda known: _strict_tool(draft, known)  # noqa: E731
    draft.fields["tools"] = [write(known) for known in tools]
    draft.fields["tool_choice"] = choice if choice in CHOICES else {"type": "function", "function": {"name": choice}}
    if request.parallel_tool_calls is not None:
        draft.fields["parallel_tool_calls"] = request.parallel_tool_calls


def _strict_tool(draft: Draft, known: ToolDefinition) -> dict[str, Any]:
    written = known.to_openai(strict=True)
    if known.strict is False:
        return written
    found = strict_form(known.parameters)
    if not isinstance(found, Strict):
        draft.knobs[f"strict {known.name}"] = f"sent with strict: false, since {found}; calls are checked here"
        written["function"]["strict"] = False
        return written
    written["function"]["parameters"] = found.schema
    _say_unsent(draft, known.name, found)
    if found.nullable:
        _prune_calls(draft, known)
    return written


def _prune_calls(draft: Draft, known: ToolDefinition) -> None:
    def prune(completion: Completion) -> Completion:
        for answer in completion.answers:
            for call in answer.tool_calls:
                if call.name == known.name and call.raw_arguments is None:
                    call.arguments = without_nulls(call.arguments, known.parameters)
        return completion

    draft.revise.append(prune)
    draft.emulated[f"optional arguments of {known.name}"] = _LEFT_OUT


def shape_thinking(draft: Draft) -> None:
    """Writes how hard the model reasons as ``reasoning_effort``."""
    wanted = draft.request.thinking
    if wanted is None:
        return
    if draft.request.raw_prompt is not None:
        raise draft.refuse("thinking with raw_prompt", why="its completions endpoint has no field for it")
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        raise draft.refuse(
            f"thinking={wanted}",
            why="it has efforts, and no limit of tokens for the reasoning alone",
            alternatives=["thinking='low', 'medium' or 'high'", "thinking=False"],
        )
    draft.fields["reasoning_effort"] = wanted if isinstance(wanted, str) else "medium" if wanted else "none"
