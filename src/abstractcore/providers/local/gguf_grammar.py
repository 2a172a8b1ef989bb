"""Constraints as llama.cpp takes them: all kinds as one grammar for llguidance, which is part of it. Pure.

llama.cpp answers 200 with free text where such a grammar does not compile, so each is compiled here first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .engine import EngineError

_PREFIX: Final = "%llguidance {}\n"
"""What tells llama.cpp that the grammar is llguidance's, not its own."""
_SPACING: Final = {"whitespace_pattern": r"[ \t\n]{1,20}"}
"""JSON allows any amount of white space; small models run away in it."""
_SLASHES: Final = re.compile(r"\\.|/|\n", re.DOTALL)


def write(structured: Mapping[str, Any]) -> str:
    """The grammar for the content of ``structured_outputs``.

    Raises:
        EngineError: The kind is unknown, there are several, or the engine inside llama.cpp can't compile it.
    """
    if len(structured) != 1 or next(iter(structured)) not in _WRITERS:
        raise EngineError(
            f"structured_outputs takes one of {', '.join(_WRITERS)}; it has {', '.join(structured) or 'none'}",
            param="structured_outputs",
        )
    ((kind, value),) = structured.items()
    text = _PREFIX + _WRITERS[kind](value)
    _compile(kind, text)
    return text


def _json(schema: Any) -> str:
    if isinstance(schema, dict):
        schema = {"x-guidance": _SPACING, **schema}
    return f"start: %json {msgspec.json.encode(schema).decode()}\n"


def _regex(pattern: str) -> str:
    """Lark ends a regex at the first slash, and has it on one line."""

    def escaped(found: re.Match[str]) -> str:
        piece = found.group()
        if piece in ("/", r"\/"):
            return r"\x2F"
        return r"\n" if piece in ("\n", "\\\n") else piece

    return f"start: /{_SLASHES.sub(escaped, pattern)}/\n" if pattern else 'start: ""\n'


def _choice(options: list[str]) -> str:
    return f"start: {' | '.join(msgspec.json.encode(option).decode() for option in options)}\n"


def _grammar(text: str) -> str:
    from llguidance.gbnf_to_lark import any_to_lark

    return str(any_to_lark(text.removeprefix(_PREFIX)))


_WRITERS: Final[Mapping[str, Callable[[Any], str]]] = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
}


def _compile(kind: str, text: str) -> None:
    from llguidance import LLMatcher, LLTokenizer

    grammar = LLMatcher.grammar_from_lark(text.removeprefix(_PREFIX))
    problem = LLMatcher(LLTokenizer("byte"), grammar, log_level=0).get_error()
    if problem:
        raise EngineError(
            f"llguidance can't hold an answer to this {kind}: {problem.strip()}", param=f"structured_outputs.{kind}"
        )
