"""What a client wants of a response: read, held against what the backend obeys, and written as it obeys it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...constraint import Constraint, JsonSchema
from ...errors import UnsupportedFeatureError
from ...providers.vllm.guided import sendable
from ...tools import CHOICES, ToolDefinition
from ...types import GenerateRequest
from ..chat.protocol import check_fields
from ..errors import GatewayError
from ..fields import GUIDED
from ..passing import Backing
from ..promise import Promise, constraint_of, decoded, tool_of

PATH: Final = "/v1/responses"
_MEANT: Final = {
    "messages": "input",
    "prompt_tokens": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": 'text, as {"format": {...}}',
    "reasoning_effort": 'reasoning, as {"effort": ...}',
}  # fmt: skip
"""Fields of chats that have another name here."""


def prepare(given: Mapping[str, msgspec.Raw], backing: Backing) -> tuple[bytes, Promise | None]:
    """The body that is sent, and what is held against the answer.

    Raises:
        GatewayError: A field is unknown or of the wrong type.
        UnsupportedFeatureError: The backend would not do it.
        InvalidConstraintError: A constraint does not compile.
    """
    _check_names(given, backing)
    fields: dict[str, Any] = dict(given)
    schema = _format_of(given, backing)
    constraint, spelling = constraint_of(given, schema, "text.format")
    emulated: dict[str, str] = {}
    if constraint is not None and schema is None:
        spelling = _write(fields, constraint, spelling, backing)
    tools, choice = _tools_of(given, fields, backing, emulated)
    body = msgspec.json.encode({**fields, "model": backing.model})
    if constraint is None and not tools:
        return body, None
    if decoded(given, "background", bool):
        raise UnsupportedFeatureError(
            "an answer in the background can't be proved",
            feature="background",
            provider=backing.provider,
            why="nobody waits for it here",
            alternatives=["leave background out: constraints and tools are proved before the answer is given"],
        )
    request = GenerateRequest(
        messages=[],
        constraint=constraint,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=decoded(given, "parallel_tool_calls", bool),
        max_output_tokens=decoded(given, "max_output_tokens", int),
        on_cut="raise",
    )
    return body, Promise(request, spelling, emulated)


def _check_names(given: Mapping[str, msgspec.Raw], backing: Backing) -> None:
    if backing.known is None:
        return
    for name, meant in _MEANT.items():
        if name in given and name not in backing.known:
            raise GatewayError(
                f"unknown field {name!r}: responses have none of this name",
                code="unknown_field",
                param=name,
                hint=f"give {meant}",
            )
    check_fields(given.keys(), backing.known | GUIDED)


def _format_of(given: Mapping[str, msgspec.Raw], backing: Backing) -> Any:
    """The schema that ``text.format`` asks for."""
    text = decoded(given, "text", dict) or {}
    wanted = text.get("format") or {"type": "text"}
    if not isinstance(wanted, dict):
        raise GatewayError("text.format is no object", code="invalid_type", param="text.format")
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return {"type": "object"}
        case "json_schema":
            return wanted.get("schema", {})
    if backing.cloud:
        return None
    raise _refusal(
        f"text.format of type {wanted.get('type')!r}", backing, ["text", "json_object", "json_schema", "guided_regex"]
    )


def _write(fields: dict[str, Any], constraint: Constraint, spelling: str, backing: Backing) -> str:
    """Writes a constraint that came in vLLM's way as this backend obeys it."""
    for name in GUIDED:
        fields.pop(name, None)
    if backing.known and "structured_outputs" in backing.known:
        fields["structured_outputs"] = {constraint.kind: sendable(constraint)}
        return f"structured_outputs.{constraint.kind}"
    if not isinstance(constraint, JsonSchema):
        raise _refusal(spelling or f"guided_{constraint.kind}", backing, ["text.format", "/v1/chat/completions"])
    text = msgspec.json.decode(fields["text"]) if "text" in fields else {}
    schema = {"type": "json_schema", "name": "answer", "schema": constraint.value, "strict": True}
    fields["text"] = {**text, "format": schema}
    fields.pop("structured_outputs", None)
    return "text.format"


def _tools_of(
    given: Mapping[str, msgspec.Raw], fields: dict[str, Any], backing: Backing, emulated: dict[str, str]
) -> tuple[tuple[ToolDefinition, ...], str]:
    """The functions that may be called, and whether one must be."""
    rows = decoded(given, "tools", list[dict[str, Any]]) or []
    functions = [row for row in rows if row.get("type") == "function"]
    if len(functions) < len(rows) and not backing.cloud:
        other = next(row.get("type") for row in rows if row not in functions)
        raise _refusal(f"tools of type {other!r}", backing, ["tools of type 'function'"])
    choice = msgspec.json.decode(given["tool_choice"]) if "tool_choice" in given else "auto"
    tools = tuple(tool_of(row.get("name"), row.get("parameters"), "tools") for row in functions)
    if functions and backing.provider == "vllm" and any(row.get("strict") is None for row in functions):
        # Without it the arguments are not held to their schema: a string was seen where an object was due.
        strict = [{**row, "strict": True} if row.get("strict") is None else row for row in rows]
        fields["tools"] = strict
        emulated["tools"] = "sent with strict: true, so that the server holds the arguments to their schemas"
    if isinstance(choice, dict) and choice.get("type") == "function":
        return tools, str(choice.get("name"))
    if choice is None or choice in CHOICES:
        return tools, choice or "auto"
    if backing.cloud:
        return tools, "auto"
    what = choice.get("type") if isinstance(choice, dict) else choice
    raise _refusal(
        f"tool_choice {what!r}", backing, ["auto", "none", "required", 'or {"type": "function", "name": ...}']
    )


def _refusal(feature: str, backing: Backing, alternatives: list[str]) -> UnsupportedFeatureError:
    return UnsupportedFeatureError(
        f"{backing.provider} can't do {feature} in a response",
        feature=feature,
        provider=backing.provider,
        why="it would answer as if nothing had been asked",
        alternatives=alternatives,
    )
