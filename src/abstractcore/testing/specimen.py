"""A text that satisfies a constraint: a short one, and the same each time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from ..constraint import Choice, Constraint, JsonSchema
from ..errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_BYTES: Final = 2000
"""What has come to no end by then comes to none on this walk."""
_KINDS: Final = (
    b'"}])>,:;',  # what closes goes first, so that the walk comes to an end soon
    b"0123456789",
    b"abcdefghijklmnopqrstuvwxyz",
    b"_-/.'!@#$%&(*+<=?[^`{|}~ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b" \n\t\r",
    b"\\",  # what opens an escape goes last
)
_KIND_OF: Final = {byte: kind for kind, members in reversed(list(enumerate(_KINDS))) for byte in members}
_PLACE_OF: Final = {byte: place for members in reversed(_KINDS) for place, byte in enumerate(members)}
_LAST: Final = 1000
"""Bytes that nobody types go after all others."""


def specimen(constraint: Constraint) -> str:
    """A text that satisfies the constraint.

    Raises:
        InvalidConstraintError: The constraint does not compile.
        UnsupportedFeatureError: None was found.
    """
    constraint.check()
    if isinstance(constraint, Choice):
        return constraint.options[0]
    grammar = _grammar(constraint)
    picks: tuple[Pick, ...] = (_first, _Fair())
    for pick in picks:
        text = None if grammar is None else _walk(grammar, pick)
        if text is not None and constraint.prove(text).holds:
            return text
    raise UnsupportedFeatureError(
        f"no text was found that satisfies the {constraint.kind}",
        feature=f"guided_{constraint.kind}",
        provider="echo",
        alternatives=["give EchoProvider the answer to this prompt"],
    )


Pick = Callable[[list[int]], int]


def _first(allowed: list[int]) -> int:
    """Always what closes, if it may."""
    return min(allowed, key=lambda byte: (_KIND_OF.get(byte, _LAST), _PLACE_OF.get(byte, byte)))


class _Fair:
    """Takes turns, so that no loop of the constraint is gone through for ever."""

    def __init__(self) -> None:
        self._kinds: deque[int] = deque(maxlen=16)
        self._used: Counter[int] = Counter()

    def __call__(self, allowed: list[int]) -> int:
        byte = min(allowed, key=self._cost)
        if len(allowed) > 1:
            self._kinds.append(_KIND_OF.get(byte, _LAST))
            self._used[byte] += 1
        return byte

    def _cost(self, byte: int) -> tuple[int, int, int]:
        kind = _KIND_OF.get(byte, _LAST)
        return kind + 2 * self._kinds.count(kind), self._used[byte], _PLACE_OF.get(byte, byte)


def _walk(grammar: str, pick: Pick) -> str | None:
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0)
    text = bytearray()
    while not matcher.is_error() and not matcher.is_accepting():
        allowed = _allowed(matcher)
        if not allowed or len(text) >= MAX_BYTES:
            return None
        text.append(pick(allowed))
        matcher.consume_token(text[-1])
    return None if matcher.is_error() else text.decode("utf-8", "replace")


def _allowed(matcher: LLMatcher) -> list[int]:
    mask = matcher.compute_bitmask()
    return [byte for byte in range(256) if mask[byte // 8] >> byte % 8 & 1]


def _grammar(constraint: Constraint) -> str | None:
    """The constraint in llguidance's form; ``None`` for kinds that it does not know."""
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import any_to_lark

    if isinstance(constraint, JsonSchema):
        return LLMatcher.grammar_from_json_schema(msgspec.json.encode(constraint.value).decode())
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(constraint.value)
    return LLMatcher.grammar_from_lark(any_to_lark(constraint.value)) if constraint.kind == "grammar" else None
