"""Choices and regexes as JSON schemas, for backends that hold an answer to a schema and to nothing else.

The backend writes a JSON string; here it is read back into the text that the caller asked for, and then proved like
any other answer.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..constraint import Choice, Constraint, JsonSchema, Regex
from ..wire.openai import Completion
from .draft import Draft
from .json_pattern import json_pattern

WRAPPER: Final = "value"
"""The property that holds a value which is no object, for backends whose schemas must be objects."""


class SchemaForm(msgspec.Struct, frozen=True):
    """A constraint as a JSON schema."""

    schema: dict[str, Any]
    is_text: bool
    """The schema describes a JSON string whose content is the answer."""
    wrapped: bool
    """The value stands in an object, as its property ``value``."""


def as_schema(constraint: Constraint, *, objects_only: bool = False) -> SchemaForm | None:
    """The JSON schema that says what a constraint says; ``None`` if there is none.

    Args:
        constraint: A JSON schema, a choice or a regex.
        objects_only: The backend takes only schemas of objects: others are put into one.
    """
    schema: Any
    if isinstance(constraint, JsonSchema):
        schema, is_text = constraint.value, False
        if not isinstance(schema, dict):
            return None
        wrap = objects_only and schema.get("type") != "object"
    elif isinstance(constraint, Choice):
        schema, is_text, wrap = {"type": "string", "enum": list(constraint.value)}, True, objects_only
    elif isinstance(constraint, Regex):
        schema, is_text, wrap = {"type": "string", "pattern": json_pattern(constraint.value)}, True, objects_only
    else:
        return None
    return SchemaForm(_wrapped(schema) if wrap else schema, is_text, wrap)


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that holds the value. Definitions stay at the top, where references look for them."""
    inner = {name: part for name, part in schema.items() if name not in _DEFINITIONS}
    return {
        **{name: _lowered(schema[name]) for name in _DEFINITIONS if name in schema},
        "type": "object",
        "properties": {WRAPPER: _lowered(inner)},
        "required": [WRAPPER],
        "additionalProperties": False,
    }


def _lowered(schema: Any) -> Any:
    """A schema whose references to the root, or into it, hold when the root is the wrapped value."""
    if isinstance(schema, list):
        return [_lowered(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    lowered = {name: _lowered(part) for name, part in schema.items()}
    to = schema.get("$ref")
    if isinstance(to, str) and to.startswith("#") and not to.startswith(("#/$defs/", "#/definitions/")):
        lowered["$ref"] = f"#/properties/{WRAPPER}{to[1:]}"
    return lowered


_DEFINITIONS: Final = ("$schema", "$defs", "definitions")
"""Keywords that belong at the root of a schema."""


def ask_by_schema(draft: Draft, form: SchemaForm, spelling: str) -> None:
    """Has the answer read back, and says that the constraint is emulated, if it is."""
    draft.spelling = spelling
    if not form.is_text and not form.wrapped:
        return

    def read_back(completion: Completion) -> Completion:
        for answer in completion.answers:
            answer.content = unwrap(answer.content, form)
        return completion

    draft.hold_text = True
    draft.revise.append(read_back)
    kind = draft.request.constraint.kind
    draft.emulated[f"guided_{kind}"] = f"asked for as a JSON schema in {spelling}, and read back here"


def unwrap(text: str, form: SchemaForm) -> str:
    """The text that stands in the JSON; of JSON that was cut short the part that is there. Other text is kept."""
    try:
        value = _decoded(text)
    except (ValueError, RecursionError):
        return _unwrap_cut(text, form)
    if form.wrapped:
        if not isinstance(value, dict) or WRAPPER not in value:
            return text
        value = value[WRAPPER]
    if not form.is_text:
        return msgspec.json.encode(value).decode()
    return value if isinstance(value, str) else text


def _decoded(text: str) -> Any:
    """The document; line feeds and the like may stand as they are in its strings, where a pattern asked for them."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        import json

        return json.loads(text, strict=False)


def _unwrap_cut(text: str, form: SchemaForm) -> str:
    rest = text.lstrip()
    if form.wrapped and f'{{"{WRAPPER}":'.startswith("".join(rest.split())):
        return ""  # the value has not begun
    if form.wrapped:
        head, mark, rest = rest.partition(":")
        if not mark or head.strip(' {\n\t"') != WRAPPER:
            return text
        rest = rest.lstrip()
    if not form.is_text:
        return rest
    if not rest.startswith('"'):
        return text if rest else ""
    for cut in range(_LONGEST_ESCAPE):
        try:
            found = msgspec.json.decode(f'{rest[: len(rest) - cut]}"', type=str)
        except msgspec.DecodeError:
            continue
        return found
    return text


_LONGEST_ESCAPE: Final = 12
r"""Characters of ``\ud83d\ude00``, which a cut may leave in pieces."""
