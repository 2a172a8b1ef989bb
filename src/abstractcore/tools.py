"""Tools that a model may call: their definitions, their schemas, and whether a call keeps to them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, overload

import msgspec
from msgspec import Struct

from .constraint import JsonSchema
from .errors import ConfigurationError
from .types import ToolCall

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

CHOICES: Final = ("auto", "required", "none")
"""What ``tool_choice`` may be, besides the name of a tool."""


class ToolDefinition(Struct, frozen=True, eq=False):
    """A tool as a model is told of it.

    Args:
        name: What the model calls it.
        parameters: JSON Schema of the arguments, an object.
        description: When and for what it is to be used.
        strict: Have the server hold the arguments to the schema while they are generated. By default where the server
            can; ``False`` for schemas that its engine doesn't take. Arguments are checked here in any case.
        function: What ``run_tools`` calls.
        convert: Makes the function's keyword arguments from the call's.

    Raises:
        ConfigurationError: The name is empty or taken by a choice.
        InvalidConstraintError: The parameters are no JSON Schema.
    """

    name: str
    parameters: Mapping[str, Any]
    description: str = ""
    strict: bool | None = None
    function: Callable[..., Any] | None = None
    convert: Callable[[Mapping[str, Any]], dict[str, Any]] = dict

    def __post_init__(self) -> None:
        if not self.name or self.name in CHOICES:
            raise ConfigurationError(f"a tool can't have the name {self.name!r}", hint="give it another name")
        JsonSchema(dict(self.parameters)).check()

    def __eq__(self, other: object) -> bool:
        """Whether a model is told the same."""
        return isinstance(other, ToolDefinition) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        name, parameters, description, strict = self._told()
        return f"ToolDefinition({name!r}, {parameters!r}, {description!r}, {strict!r})"

    def _told(self) -> tuple[str, Mapping[str, Any], str, bool | None]:
        return self.name, self.parameters, self.description, self.strict

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        strict: bool | None = None,
    ) -> ToolDefinition:
        """Makes a tool of a function: the schema from its type hints, the descriptions from its docstring.

        Raises:
            ConfigurationError: A parameter can't be given by name, or its type has no JSON Schema.
        """
        known = getattr(function, _MARK, None)
        if isinstance(known, ToolDefinition) and (name, description, strict) == (None, None, None):
            return known
        from .signature import name_of, read_signature  # with inspect, a tenth of what a client costs to make

        signature = read_signature(function)
        return cls(
            name or name_of(function),
            signature.schema,
            signature.summary if description is None else description,
            strict,
            function,
            signature.convert,
        )

    @classmethod
    def from_openai(cls, tool: Mapping[str, Any]) -> ToolDefinition:
        """Reads a tool in OpenAI's form, with or without the outer ``{"type": "function", ...}``.

        Anthropic's name for the parameters, ``input_schema``, is understood as well.

        Raises:
            ConfigurationError: It has no name.
        """
        inner = tool.get("function", tool)
        if tool.get("type", "function") != "function" or not isinstance(inner, Mapping) or not inner.get("name"):
            raise ConfigurationError(
                "a tool is not in OpenAI's form",
                why=f"it has the keys {sorted(tool)}",
                hint='{"type": "function", "function": {"name": ..., "description": ..., "parameters": {...}}}',
            )
        return cls(
            inner["name"],
            inner.get("parameters") or inner.get("input_schema") or {"type": "object", "properties": {}},
            inner.get("description") or "",
            inner.get("strict"),
        )

    def to_openai(self, *, strict: bool) -> dict[str, Any]:
        """In OpenAI's form.

        Args:
            strict: Whether the server holds arguments to the schema of a tool that says so.
        """
        function: dict[str, Any] = {"name": self.name, "parameters": self.parameters}
        if self.description:
            function["description"] = self.description
        if strict:
            function["strict"] = self.strict is not False
        return {"type": "function", "function": function}

    @property
    def is_async(self) -> bool:
        """Whether the function must be awaited."""
        call = getattr(self.function, "__call__", None)  # noqa: B004 - an object may have an async __call__
        from inspect import iscoroutinefunction

        return iscoroutinefunction(self.function) or iscoroutinefunction(call)


Tool: TypeAlias = ToolDefinition | Callable[..., Any] | Mapping[str, Any]
"""A definition, a function, or a mapping in OpenAI's form."""

_MARK: Final = "__abstractcore_tool__"


@overload
def tool(function: FunctionT) -> FunctionT: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, strict: bool | None = None
) -> Callable[[FunctionT], FunctionT]: ...


def tool(
    function: FunctionT | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    strict: bool | None = None,
) -> FunctionT | Callable[[FunctionT], FunctionT]:
    """Marks a function as a tool and gives it back unchanged. Needed only to say more than the function says itself.

    Args:
        function: The function, when the decorator is used without brackets.
        name: Instead of the function's own name.
        description: Instead of its docstring.
        strict: As in ``ToolDefinition``.

    Raises:
        ConfigurationError: A parameter can't be given by name, or its type has no JSON Schema.
    """

    def mark(marked: FunctionT) -> FunctionT:
        definition = ToolDefinition.from_function(marked, name=name, description=description, strict=strict)
        setattr(marked, _MARK, definition)
        return marked

    return mark if function is None else mark(function)


def read_tools(tools: Iterable[Tool]) -> tuple[ToolDefinition, ...]:
    """Brings tools of all forms into one.

    Raises:
        ConfigurationError: One is no tool, or two have the same name.
        InvalidConstraintError: The parameters of one are no JSON Schema.
    """
    found = tuple(_definition(given) for given in tools)
    names = [definition.name for definition in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"two tools have the name {twice!r}")
    return found


def _definition(given: Tool) -> ToolDefinition:
    if isinstance(given, ToolDefinition):
        return given
    if isinstance(given, Mapping):
        return ToolDefinition.from_openai(given)
    if callable(given):
        return ToolDefinition.from_function(given)
    raise ConfigurationError(f"a tool is a function, a ToolDefinition or a mapping; got {type(given).__name__}")


def read_choice(choice: Any, tools: Sequence[ToolDefinition]) -> str:
    """The name of a choice or of a tool: ``tool_choice`` in all its forms.

    Args:
        choice: ``auto``, ``required``, ``none``, a tool's name, the tool itself, or OpenAI's form of a named one.
        tools: What there is to choose from.

    Raises:
        ConfigurationError: There is no such tool.
    """
    name = choice
    if isinstance(choice, Mapping):
        name = (choice.get("function") or choice).get("name")
    elif not isinstance(choice, str):
        name = _definition(choice).name
    names = [definition.name for definition in tools]
    if name not in CHOICES and name not in names:
        raise ConfigurationError(
            f"tool_choice is {name!r}, which is none of the tools",
            hint=f"give auto, required, none, or one of: {', '.join(names)}",
        )
    return str(name)


def fault(call: ToolCall, tools: Sequence[ToolDefinition]) -> str | None:
    """Where a call departs from the tools, or ``None``."""
    definition = next((known for known in tools if known.name == call.name), None)
    if definition is None:
        return f"it calls {call.name!r}; there is only {', '.join(known.name for known in tools) or 'no tool'}"
    if call.raw_arguments is not None:
        return f"the arguments of {call.name} are not a JSON object: {call.raw_arguments[:60]!r}"
    proof = JsonSchema(dict(definition.parameters)).prove(msgspec.json.encode(call.arguments).decode())
    return None if proof.holds else f"the arguments of {call.name} break its schema {proof.why}"


def call_schema(tools: Sequence[ToolDefinition], *, several: bool) -> dict[str, Any]:
    """The JSON Schema of a call to one of the tools, for servers that know constraints but no tools.

    Args:
        tools: The tools that may be called.
        several: Let the model make several calls at once: an array of them.
    """
    at = {known.name: f"tool{index}" for index, known in enumerate(tools)}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": known.name}, "arguments": {"$ref": f"#/$defs/{at[known.name]}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for known in tools
    ]
    one: dict[str, Any] = calls[0] if len(calls) == 1 else {"anyOf": calls}
    schema = {"type": "array", "items": one, "minItems": 1} if several else one
    return {
        "$defs": {at[known.name]: _moved(known.parameters, f"#/$defs/{at[known.name]}") for known in tools},
        **schema,
    }


_DATA: Final = frozenset({"const", "default", "enum", "examples"})
"""Keywords whose values are no schemas."""
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose values have schemas under names of the author's own."""


def _moved(schema: Any, to: str) -> Any:
    """A schema whose references still hold when it stands at another place."""
    if isinstance(schema, list):
        return [_moved(part, to) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            moved[key] = to + value[1:]
        elif key in _NAMED and isinstance(value, Mapping):
            moved[key] = {name: _moved(part, to) for name, part in value.items()}
        else:
            moved[key] = value if key in _DATA else _moved(value, to)
    return moved


class _Call(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


def read_emulated(text: str, prefix: str) -> list[ToolCall] | None:
    """The calls in an answer that was held to ``call_schema``; ``None`` if it is not such a text, or only a part of it.

    Args:
        text: The answer.
        prefix: What the calls' ids begin with.
    """
    try:
        rows = msgspec.json.decode(text, type=list[_Call] | _Call)
    except (msgspec.DecodeError, RecursionError):
        return None
    return [
        ToolCall(name=row.name, arguments=row.arguments, call_id=f"{prefix}-{index}")
        for index, row in enumerate(rows if isinstance(rows, list) else [rows])
    ]
