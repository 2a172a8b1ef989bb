"""How llguidance is fed, and what it may take: its own limits, and one on time, which it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from time import thread_time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

PROOF_SECONDS: Final = 0.1
"""CPU time that one check may take. An ambiguous grammar takes cubic time: 94 s were measured on 1,000 letters."""
PROOF_SECONDS_PER_BYTE: Final = 2e-6
"""And what is added for a long text: twice of what JSON takes, four times of what a regex takes."""


def steps(matcher: LLMatcher, data: bytes, size: int = 16) -> Iterator[int]:
    """Feeds a text to a matcher, and gives how many bytes of each piece fit; ends at the first that does not all fit.

    In pieces, since the matcher knows no limit on time: it would not come back before the end of the text, and no other
    thread would run. Ends early, too, if the whole takes too long.
    """
    now = thread_time()
    until = now + PROOF_SECONDS + len(data) * PROOF_SECONDS_PER_BYTE
    at = 0
    while at < len(data) and now < until:
        piece = list(data[at : at + size])
        fitting = matcher.validate_tokens(piece)
        matcher.consume_tokens(piece[:fitting])
        if fitting:
            yield fitting
        at += fitting
        if fitting < len(piece):
            return
        before, now = now, thread_time()
        if now - before > PROOF_SECONDS / 20:
            size = 1


def gave_up(matcher: LLMatcher) -> bool:
    """Whether the matcher stopped at one of its own limits rather than at the text."""
    if not matcher.is_error() and not matcher.is_stopped():
        matcher.compute_bitmask()
    return matcher.is_error()


@lru_cache(maxsize=1)
def limits() -> LLParserLimits:
    """What the engine may take for one piece of a text."""
    from llguidance import LLParserLimits

    # A server spends its limits per token, a proof once per answer, so these are several times the defaults.
    return LLParserLimits(
        initial_lexer_fuel=4_000_000,
        step_lexer_fuel=4_000_000,
        max_lexer_states=500_000,
        max_items_in_row=20_000,
        step_max_items=500_000,
    )


@lru_cache(maxsize=1)
def byte_tokenizer() -> LLTokenizer:
    """Tokens that are bytes, so that a text needs no model's tokenizer."""
    from llguidance import LLTokenizer

    return LLTokenizer("byte")
