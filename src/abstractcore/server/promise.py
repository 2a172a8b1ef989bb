"""What a passed-on request promises, and the proof that its answer keeps it: the constraint and the tools. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..constraint import Constraint, JsonSchema
from ..errors import InvalidConstraintError
from ..providers.proof import settle
from ..providers.tool_calls import settle_calls
from ..providers.vllm.guided import lift
from ..tools import ToolDefinition
from ..types import Alternative, GenerateRequest, Usage
from .errors import GatewayError
from .fields import GUIDED


@dataclass(frozen=True, slots=True)
class Promise:
    """What an answer is held to.

    Args:
        request: Constraint, tools and limit, as the provider's own checks read them.
        spelling: The field that carries the constraint.
        emulated: What the gateway changed to have the promise kept.
    """

    request: GenerateRequest
    spelling: str = ""
    emulated: Mapping[str, str] = field(default_factory=dict)

    def settle(self, answers: Sequence[Alternative], usage: Usage | None) -> dict[str, Any]:
        """Checks an answer; ``answers`` are the texts of one answer, all its calls with the first.

        Returns:
            What the answer says of its proof.

        Raises:
            ConstraintViolationError: It departs from the constraint, or its calls from the tools.
        """
        said: dict[str, Any] = {"emulated": dict(self.emulated)} if self.emulated else {}
        settle_calls(answers[0], self.request, usage)
        if answers[0].tool_calls:
            said["tools"] = {"calls": len(answers[0].tool_calls), "proved": True}
        elif self.request.constraint is not None:
            proofs = [settle(answer, self.request, self.spelling) for answer in answers]
            said["constraint"] = proofs[0]
        return said


def constraint_of(fields: Mapping[str, msgspec.Raw], schema: Any, spelling: str) -> tuple[Constraint | None, str]:
    """The one constraint of a request, compiled, and the field that asked for it.

    Args:
        fields: The request's.
        schema: The JSON Schema that the protocol's own field asks for; ``None`` if it asks for none.
        spelling: That field.

    Raises:
        InvalidConstraintError: There are several, or one that does not compile.
    """
    names = [name for name in (*sorted(GUIDED), "structured_outputs") if name in fields]
    given = {name: msgspec.json.decode(fields[name]) for name in names}
    lifted, rest = lift(given)
    if rest.get("structured_outputs"):
        raise InvalidConstraintError(
            "structured_outputs does not hold one constraint that is known here",
            why=f"it has {sorted(rest['structured_outputs'])}"
            if isinstance(rest["structured_outputs"], dict)
            else None,
            hint='{"regex": ...}, {"json": ...}, {"choice": [...]}, {"grammar": ...} or {"structural_tag": ...}',
        )
    if schema is None:
        return lifted, next((name for name in names if given[name] is not None), "")
    if lifted is not None:
        raise InvalidConstraintError(f"the request holds several constraints: {spelling} and {', '.join(names)}")
    own = JsonSchema(schema)
    own.check()
    return own, spelling


def decoded(fields: Mapping[str, msgspec.Raw], name: str, kind: type) -> Any:
    """A field of a request, decoded; ``None`` if it is not there.

    Raises:
        GatewayError: It has the wrong type.
    """
    try:
        return msgspec.json.decode(fields[name], type=kind | None) if name in fields else None
    except msgspec.ValidationError as error:
        raise GatewayError(f"the field {name!r} is not valid: {error}", code="invalid_type", param=name) from None


def tool_of(name: Any, parameters: Any, param: str) -> ToolDefinition:
    """A tool as calls are held against it.

    Raises:
        GatewayError: It has no name, or its parameters are no schema.
    """
    if not isinstance(name, str) or not isinstance(parameters, dict | None):
        raise GatewayError("a tool has no name, or no schema", code="invalid_type", param=param)
    return ToolDefinition(name, parameters or {"type": "object"})


def spliced(document: bytes, extra: Mapping[str, Any]) -> bytes:
    """A JSON object with one more field, ``abstractcore``; its other bytes stay as they are."""
    if not extra:
        return document
    body = document.rstrip()
    assert body.endswith(b"}"), "an object"
    return body[:-1] + b',"abstractcore":' + msgspec.json.encode(extra) + b"}"
