"""Holds an answer to a constraint while it is generated, token by token, by llguidance.

The proof of a finished answer runs on the same engine with the same grammar, so that both mean the same: a dot of a
regex matches no line feed, classes are Unicode's.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ...constraint import Choice, Constraint, JsonSchema, Matched
from ...errors import InvalidConstraintError, UnsupportedFeatureError
from .engine import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_SPACING: Final = {"whitespace_pattern": r"[ \t\n]{1,20}"}
"""JSON allows any amount of white space; small models run away in it."""


def grammar_of(constraint: Constraint) -> str:
    """The constraint as a grammar in llguidance's own form.

    Raises:
        InvalidConstraintError: It has none.
    """
    from llguidance import LLMatcher

    if isinstance(constraint, Matched):
        return constraint.compiled()
    if isinstance(constraint, Choice):
        options = " | ".join(_quoted(option) for option in constraint.options)
        return LLMatcher.grammar_from_lark(f"start: {options}")
    if isinstance(constraint, JsonSchema) and constraint.schema is not False:
        schema = {} if constraint.schema is True else constraint.schema
        return LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_SPACING)  # type: ignore[arg-type]
    raise InvalidConstraintError(f"nothing can satisfy this {constraint.kind}: {constraint.value!r}")


def _quoted(text: str) -> str:
    """A text as Lark reads it: JSON's escapes, for control characters too."""
    return json.dumps(text).replace("\x7f", "\\u007f")


@lru_cache(maxsize=128)
def check(constraint: Constraint, provider: str) -> None:
    """Compiles a constraint as it will be compiled for a model, before one is loaded.

    Raises:
        InvalidConstraintError: Nothing can satisfy it.
        UnsupportedFeatureError: It is valid, but llguidance can't hold an answer to it.
    """
    from llguidance import LLMatcher

    problem = LLMatcher.validate_grammar(grammar_of(constraint))
    if problem and not problem.startswith("WARNING"):
        raise UnsupportedFeatureError(
            f"{provider} can't hold an answer to this {constraint.kind}",
            feature=f"guided_{constraint.kind}",
            provider=provider,
            why=f"llguidance: {problem.strip()}",
            alternatives=["leave that part out of the constraint and check it afterwards"],
        )


class Guide:
    """Follows one answer.

    Args:
        tokenizer: The model's vocabulary.
        grammar: As ``grammar_of`` gives it.

    Raises:
        EngineError: The grammar does not compile for this vocabulary.
    """

    def __init__(self, tokenizer: LLTokenizer, grammar: str) -> None:
        from llguidance import LLMatcher

        self._matcher: LLMatcher = LLMatcher(tokenizer, grammar, log_level=0)
        problem = self._matcher.get_error()
        if problem:
            raise EngineError(f"the constraint does not compile: {problem.strip()}", param="structured_outputs")

    def mask(self) -> bytes:
        """The tokens that may come next: bit ``i % 8`` of byte ``i // 8``; end tokens where the answer may end.

        Raises:
            EngineError: No token may.
        """
        mask = self._matcher.compute_bitmask()
        if self._matcher.is_error() or not any(mask):
            raise self._stuck()
        return mask

    def advance(self, token: int) -> bool:
        """Takes the token that was chosen; whether the answer is complete with it, and nothing may follow.

        Raises:
            EngineError: It was not among those that might come.
        """
        if not self._matcher.consume_token(token):
            raise self._stuck()
        return self._matcher.is_stopped()

    def _stuck(self) -> EngineError:
        reason = self._matcher.get_error().strip() or "no token of this model's vocabulary may come next"
        return EngineError(f"the constraint can't be followed any further: {reason}", status=500)
