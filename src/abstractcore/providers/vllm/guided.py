"""How a constraint is written into a request, so that the server at hand obeys it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ...constraint import Constraint, JsonSchema, Regex
from ...errors import InvalidConstraintError, ProviderError
from ...structural_tag import StructuralTag
from ..request import GUIDED
from .dialect import Dialect, Surface


class Written(NamedTuple):
    """A constraint as request fields."""

    fields: Mapping[str, Any]
    spelling: str
    """The names of the fields, for people."""


def write(constraint: Constraint, surface: Surface, dialect: Dialect) -> Written | None:
    """Writes a constraint for a server; ``None`` if this server obeys no spelling of it.

    JSON on chats goes as ``response_format``, which every version obeys. All else goes as ``structured_outputs`` or
    ``guided_*``, whichever the server knows, and as both where nothing could be learned: each version that knows one
    of them ignores the other, and those that know both obey them together.
    """
    if not is_spelled(constraint, surface):
        schema = {"name": "answer", "schema": sendable(constraint)}
        return Written({"response_format": {"type": "json_schema", "json_schema": schema}}, "response_format")
    if isinstance(constraint, StructuralTag):
        return _write_tag(constraint, surface, dialect)
    new = {"structured_outputs": {constraint.kind: sendable(constraint)}}
    old = {f"guided_{constraint.kind}": sendable(constraint)}
    match dialect.spelling(surface):
        case "structured_outputs":
            return Written(new, f"structured_outputs.{constraint.kind}")
        case "guided":
            return Written(old, f"guided_{constraint.kind}")
        case "both":
            return Written(new | old, f"structured_outputs.{constraint.kind} + guided_{constraint.kind}")
    return None


def is_spelled(constraint: Constraint, surface: Surface) -> bool:
    """Whether versions differ in how they spell this constraint."""
    return not (isinstance(constraint, JsonSchema) and surface == "chat")


def _write_tag(constraint: StructuralTag, surface: Surface, dialect: Dialect) -> Written | None:
    """Writes a structural tag: as ``structured_outputs`` from 0.11.1 on; the older form also to 0.10.2 and 0.11.0."""
    tag = _with_explicit_dots(constraint.value)
    facts = dialect.facts[0] if dialect.facts else None
    obeyed = facts.structural_tag == "honoured" if facts else dialect.spelling(surface) == "structured_outputs"
    if obeyed:
        text = msgspec.json.encode(tag).decode()
        return Written({"structured_outputs": {"structural_tag": text}}, "structured_outputs.structural_tag")
    if facts and surface == "chat" and constraint.is_legacy and "structures" in facts.response_format_tags:
        return Written({"response_format": tag}, "response_format")
    return None


def _with_explicit_dots(part: Any) -> Any:
    if isinstance(part, Mapping):
        found = {name: _with_explicit_dots(value) for name, value in part.items()}
        if found.get("type") == "regex" and isinstance(found.get("pattern"), str):
            found["pattern"] = explicit_dots(found["pattern"])
        return found
    return [_with_explicit_dots(each) for each in part] if isinstance(part, list) else part


def sendable(constraint: Constraint) -> Any:
    """The constraint's value in the form that means the same to every engine behind vLLM."""
    if isinstance(constraint, Regex):
        return explicit_dots(constraint.pattern)
    if constraint.value is True:
        return {}
    return constraint.value


def suspect_engine(error: ProviderError, constraint: Constraint | None) -> None:
    r"""Adds what may be wrong where a server fails on a constraint: its engine knows less than the one here.

    Seen on 0.32.0: ``(?i)yes`` and ``\p{L}`` are answered with status 500 and no reason.
    """
    if constraint is not None and error.status == 500:
        error.hint = (
            f"the server's grammar engine may not know all of this {constraint.kind}: in regexes, try it "
            "without flags such as (?i) and without classes such as \\p{L}; the server's log has its reason"
        )


def explicit_dots(pattern: str) -> str:
    r"""Replaces each ``.`` of a regex by ``[^\n]``, which is what it means.

    xgrammar, vLLM's default engine, lets a dot match line feeds too (seen on 0.32.0: ``x.{3}y`` gave ``"xxx\ny"``).
    Patterns with the inline flag ``s``, or that take flags away, are left alone: the dot may have that very meaning.
    """
    if _DOT_FLAG.search(pattern):
        return pattern
    out: list[str] = []
    depth = 0  # of character classes, which may stand inside each other
    for piece in _PIECES.findall(pattern):
        if piece == "." and not depth:
            out.append(r"[^\n]")
            continue
        if piece[0] == "[":
            depth += 1
        elif piece == "]" and depth:
            depth -= 1
        out.append(piece)
    return "".join(out)


_DOT_FLAG: Final = re.compile(r"\(\?[imsxuUR]*[s-]")
_PIECES: Final = re.compile(r"\\.|\[\^?\]?|.", re.DOTALL)
"""An escape, the begin of a class (a bracket that comes first in it is one of its members), or a character."""


def lift(extra_body: Mapping[str, Any]) -> tuple[Constraint | None, dict[str, Any]]:
    """Takes a constraint written by hand out of ``extra_body``, so that it is negotiated and proved like any other.

    Returns:
        The constraint, if there is one that can be proved, and the remaining fields.

    Raises:
        InvalidConstraintError: There are several, or one that does not compile.
    """
    rest = dict(extra_body)
    found = [_CONSTRAINTS[kind](value) for kind, value in _hand_written(rest)]
    if any(other != found[0] for other in found[1:]):  # the same one in two spellings is what careful clients send
        raise InvalidConstraintError("extra_body holds several constraints; an answer can be held to one")
    if found:
        found[0].check()
    return (found[0] if found else None), rest


_CONSTRAINTS = {option.removeprefix("guided_"): make for option, make in GUIDED.items()}


def _hand_written(rest: dict[str, Any]) -> list[tuple[str, Any]]:
    """Removes the constraints that can be proved from the fields, and gives their kinds and values."""
    found = [(kind, rest.pop(f"guided_{kind}")) for kind in _CONSTRAINTS if rest.get(f"guided_{kind}") is not None]
    if rest.pop("guided_json_object", None):
        found.append(("json", {"type": "object"}))
    outputs = rest.get("structured_outputs")
    if isinstance(outputs, Mapping):
        kinds = [kind for kind in outputs if kind in _CONSTRAINTS and outputs[kind] is not None]
        if kinds and len(kinds) == len(outputs):
            found += [(kind, outputs[kind]) for kind in kinds]
            del rest["structured_outputs"]
        elif outputs.get("json_object"):
            found.append(("json", {"type": "object"}))
            del rest["structured_outputs"]
    wanted = rest.get("response_format")
    if isinstance(wanted, Mapping) and wanted.get("type") in ("json_schema", "json_object", "text"):
        if wanted["type"] != "text":  # text is what comes anyway, and the field kills the engine of 0.11.0
            schema = (wanted.get("json_schema") or {}).get("schema", {"type": "object"})
            found.append(("json", schema if wanted["type"] == "json_schema" else {"type": "object"}))
        del rest["response_format"]
    elif isinstance(wanted, Mapping) and wanted.get("type") == "structural_tag":
        found.append(("structural_tag", wanted))
        del rest["response_format"]
    return found
