"""What a request to Ollama says in its own way: constraints, reasoning, tools; and what may not go past the checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...errors import ConfigurationError, UnsupportedFeatureError
from ...tools import call_schema, read_emulated
from ...wire import ollama as wire
from ...wire.openai import Completion
from ..draft import Draft
from ..emulation import as_schema, ask_by_schema

EFFORTS: Final = ("low", "medium", "high", "max")
"""What ``thinking`` may be besides on and off."""
_BY_OPTION: Final = {
    "format": "guided_json, guided_choice or guided_regex",
    "grammar": "guided_regex or guided_json",
    "images": "media",
    "logprobs": "logprobs",
    "prompt": "the prompt",
    "raw": "raw_prompt",
    "system": "system_prompt",
    "think": "thinking",
}
"""Fields that would go past the checks; and the option of ``generate`` that does not."""


def shape(draft: Draft) -> None:
    """Writes constraint, reasoning, tools and the wish for log probabilities into the draft.

    Raises:
        ConfigurationError: Options contradict each other.
        UnsupportedFeatureError: A promise that this backend can't keep.
    """
    _shape_constraint(draft)
    _shape_thinking(draft)
    _shape_tools(draft)
    if draft.request.logprobs is not None:
        draft.revise.append(_with_logprobs)


def _shape_constraint(draft: Draft) -> None:
    constraint = draft.request.constraint
    if constraint is None:
        return
    form = as_schema(constraint)
    if form is None:
        raise draft.refuse(
            f"guided_{constraint.kind} with {constraint.value!r}",
            why="its format takes a schema that is an object",
            alternatives=["guided_json={} for any JSON"],
        )
    draft.fields["format"] = form.schema
    ask_by_schema(draft, form, "format")


def _shape_thinking(draft: Draft) -> None:
    wanted = draft.request.thinking
    if wanted is None:
        return
    if draft.request.raw_prompt is not None:
        raise ConfigurationError("thinking works through the chat template, which raw_prompt leaves out")
    if isinstance(wanted, bool) or wanted in EFFORTS:
        draft.fields["think"] = wanted
        return
    raise draft.refuse(
        "thinking with a limit of tokens" if isinstance(wanted, int) else f"thinking={wanted!r}",
        why="its field think is true, false or an effort",
        alternatives=[f"thinking=True, False, {', '.join(map(repr, EFFORTS))}"],
    )


def _shape_tools(draft: Draft) -> None:
    request = draft.request
    if not request.tools or request.tool_choice == "none":
        return  # a model that is not told of tools calls none
    if request.constraint is not None:
        raise draft.refuse(
            f"tools beside guided_{request.constraint.kind}",
            why="a constrained answer has no room for a call",
            alternatives=["tool_choice='none'", "run_tools(), which holds the final answer to the constraint"],
        )
    draft.fields["tools"] = [known.to_openai(strict=False) for known in request.tools]
    if request.tool_choice == "auto":
        return
    wanted = [known for known in request.tools if request.tool_choice in ("required", known.name)]
    draft.fields["format"] = call_schema(wanted, several=request.parallel_tool_calls is True)
    draft.hold_text = True
    draft.revise.append(_read_calls)
    draft.emulated["tool_choice"] = f"{request.tool_choice}: the call is asked for as JSON in format, and read here"


def _read_calls(completion: Completion) -> Completion:
    """Makes tool calls of the JSON that stands for them; what is no such JSON stays text, and is refused later."""
    for answer in completion.answers:
        calls = None if answer.tool_calls else read_emulated(answer.content, "call")
        if calls is not None:
            answer.tool_calls, answer.content = calls, ""
            answer.finish_reason = wire.called(answer.finish_reason, has_calls=True)
    return completion


def _with_logprobs(completion: Completion) -> Completion:
    """Servers of before 0.12.11 ignore the wish."""
    answer = completion.answers[0]
    if answer.content and answer.logprobs is None:
        raise UnsupportedFeatureError(
            "ollama gave no logprobs", feature="logprobs", provider="ollama",
            why="the server answered as if it did not know the field",
            hint="a server of Ollama 0.12.11 or later",
        )  # fmt: skip
    return completion


def check_fields(draft: Draft) -> None:
    """Refuses fields of ``extra_body`` that would go past the checks, and options that the server would ignore.

    Raises:
        ConfigurationError: The options are no object.
        UnsupportedFeatureError: There is such a field or option.
    """
    given = draft.request.extra_body
    inner = given.get("options")
    if inner is not None and not isinstance(inner, Mapping):
        raise ConfigurationError(f"extra_body['options'] is an object of options; it is {inner!r}")
    if draft.request.allow_unknown:
        return
    for name in given:
        if name in _BY_OPTION:
            raise draft.refuse(
                name,
                why="as a field of extra_body it would go past the checks of what is promised",
                alternatives=[f"give {_BY_OPTION[name]} to generate()", "allow_unknown=True sends it all the same"],
            )
    unknown = [name for name in inner or () if name not in wire.OPTIONS]
    if unknown:
        raise draft.refuse(
            f"the option {unknown[0]}",
            why="the server would ignore it in silence",
            alternatives=[f"one of: {', '.join(sorted(wire.OPTIONS))}", "allow_unknown=True"],
        )
