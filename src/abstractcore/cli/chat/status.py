"""The line at the bottom: whom one talks to, what the answer is held to, how fast it was, how full the context is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ...types import GenerateResponse
from ..visible import visible

_BETWEEN: Final = " | "


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of the last answer."""

    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    """Seconds."""
    context_used: int | None = None
    """Tokens of prompt and answer."""


@dataclass(frozen=True, slots=True)
class Status:
    """All that the line may say."""

    provider: str
    model: str | None
    adapter: str | None = None
    constraint: str | None = None
    """Its kind."""
    context_length: int | None = None
    figures: Figures = field(default_factory=Figures)


def figures_of(last: GenerateResponse) -> Figures:
    """The figures of an answer, from its last chunk."""
    timings = last.metadata.get("timings", {})
    used = last.usage.total_tokens if last.usage else None
    return Figures(timings.get("tokens_per_second"), timings.get("time_to_first_token"), used or None)


def status_line(status: Status, width: int) -> str:
    """The line, no wider than the terminal: what matters least is left out first.

    Args:
        status: What there is to say.
        width: Columns.
    """
    # In the order of the line; the number says what goes first when it gets narrow.
    parts = [(5, status.provider), (0, status.model or "no model: /model NAME")]
    if status.adapter:
        parts.append((1, f"adapter {status.adapter}"))
    if status.constraint:
        parts.append((2, f"held to {status.constraint}"))
    figures = status.figures
    if figures.tokens_per_second is not None:
        parts.append((3, f"{figures.tokens_per_second:.1f} tokens/s"))
    if figures.time_to_first_token is not None:
        parts.append((6, f"first after {figures.time_to_first_token:.2f} s"))
    if context := _context(figures.context_used, status.context_length):
        parts.append((4, context))
    parts = [(rank, " ".join(visible(text).split())) for rank, text in parts]
    while len(parts) > 1 and len(_joined(parts)) > width:
        parts.remove(max(parts))
    return _joined(parts)[: max(width, 0)]


def _joined(parts: list[tuple[int, str]]) -> str:
    return f" {_BETWEEN.join(text for _, text in parts)} "


def _context(used: int | None, length: int | None) -> str | None:
    if length is None:
        return None if used is None else f"{used} tokens"
    return f"{used or 0} of {length} tokens ({(used or 0) / length:.0%})"
