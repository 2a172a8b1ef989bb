"""What a client wants of a message: read, held against what the backend obeys, and written as it obeys it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ...constraint import JsonSchema
from ...errors import UnsupportedFeatureError
from ...tools import ToolDefinition
from ...types import GenerateRequest
from ..chat.protocol import check_fields
from ..errors import GatewayError
from ..fields import GUIDED
from ..passing import Backing
from ..promise import Promise, constraint_of, decoded, tool_of

PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"
OLD_FORMAT: Final = "output_format"
"""What ``output_config.format`` was called before; vLLM ignores it."""
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def prepare(given: Mapping[str, msgspec.Raw], backing: Backing) -> tuple[bytes, Promise | None]:
    """The body that is sent, and what is held against the answer.

    Raises:
        GatewayError: A field is unknown or of the wrong type.
        UnsupportedFeatureError: The backend would not do it.
        InvalidConstraintError: A constraint does not compile.
    """
    if backing.known is not None:
        check_fields(given.keys(), backing.known | GUIDED | {OLD_FORMAT})
    fields: dict[str, Any] = dict(given)
    config = decoded(given, "output_config", dict) or {}
    wanted = config.get("format") or decoded(given, OLD_FORMAT, dict)
    schema = _schema_of(wanted)
    constraint, spelling = constraint_of(given, schema, "output_config.format")
    emulated: dict[str, str] = {}
    if constraint is not None:
        if not isinstance(constraint, JsonSchema):
            raise UnsupportedFeatureError(
                f"{backing.provider} can't do {spelling} in a message",
                feature=spelling,
                provider=backing.provider,
                why="Anthropic's protocol has a field for JSON schemas only",
                alternatives=["guided_json", "POST /v1/chat/completions, which has all constraints"],
            )
        for name in (*GUIDED, OLD_FORMAT):
            fields.pop(name, None)
        fields["output_config"] = {**config, "format": {"type": "json_schema", "schema": constraint.value}}
        spelling = "output_config.format"
    tools, choice, parallel = _tools_of(given, fields, backing, emulated)
    body = msgspec.json.encode({**fields, "model": backing.model})
    if constraint is None and not tools:
        return body, None
    request = GenerateRequest(
        messages=[],
        constraint=constraint,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_output_tokens=decoded(given, "max_tokens", int),
        on_cut="raise",
    )
    return body, Promise(request, spelling, emulated)


def prepare_count(given: Mapping[str, msgspec.Raw], backing: Backing) -> bytes:
    """The body that is sent to have a prompt's tokens counted.

    Raises:
        GatewayError: A field is unknown.
    """
    if backing.known is not None:
        check_fields(given.keys(), backing.known)
    return msgspec.json.encode({**given, "model": backing.model})


def _schema_of(wanted: Any) -> Any:
    if wanted is None:
        return None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema" or "schema" not in wanted:
        raise GatewayError(
            "the format of the answer is not in the protocol",
            code="invalid_type",
            param="output_config.format",
            hint='{"type": "json_schema", "schema": {...}}',
        )
    return wanted["schema"]


def _tools_of(
    given: Mapping[str, msgspec.Raw], fields: dict[str, Any], backing: Backing, emulated: dict[str, str]
) -> tuple[tuple[ToolDefinition, ...], str, bool | None]:
    """The tools that may be called, whether one must be, and whether several may be at once."""
    rows = decoded(given, "tools", list[dict[str, Any]]) or []
    if backing.provider == "vllm" and any(row.get("strict") is None for row in rows):
        fields["tools"] = [{**row, "strict": True} if row.get("strict") is None else row for row in rows]
        emulated["tools"] = "sent with strict: true, so that the server holds the arguments to their schemas"
    # Those that Anthropic defines come without a schema; their arguments may be any object.
    tools = tuple(tool_of(row.get("name"), row.get("input_schema"), "tools") for row in rows)
    choice = decoded(given, "tool_choice", dict) or {}
    kind = choice.get("type", "auto")
    several = None if choice.get("disable_parallel_tool_use") is None else not choice["disable_parallel_tool_use"]
    if kind == "tool":
        return tools, str(choice.get("name")), several
    if kind not in _CHOICES:
        raise GatewayError(
            f"tool_choice is {kind!r}", code="invalid_type", param="tool_choice", hint="auto, any, none or tool"
        )
    return tools, _CHOICES[kind], several
