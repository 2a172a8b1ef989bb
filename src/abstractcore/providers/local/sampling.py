"""Chooses the next token: penalties, temperature, top-k, top-p, min-p, seed. Pure, and the same for all engines.

The scores (logits) stay on the device where the model put them; what is needed of them is asked for piece by piece,
best first. At each step exactly one random number is drawn, so a seed gives the same answer again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from msgspec import Struct

from .engine import EngineError

if TYPE_CHECKING:
    from random import Random


class Scores(Protocol):
    """One number for each token of the vocabulary: how likely it comes next, as an unscaled logarithm."""

    def allowed(self, mask: bytes) -> Self:
        """The same, with minus infinity for the tokens whose bit is not set (bit ``i % 8`` of byte ``i // 8``)."""

    def at(self, tokens: Sequence[int]) -> list[float]:
        """Those of some tokens."""

    def replaced(self, tokens: Sequence[int], values: Sequence[float]) -> Self:
        """The same, with other values for some tokens."""

    def best(self, count: int) -> list[tuple[int, float]]:
        """The highest ones with their tokens, in descending order; fewer if there are no more."""

    def log_total(self, temperature: float) -> float:
        """The logarithm of the sum of ``exp(score / temperature)``."""


class Sampling(Struct, frozen=True, kw_only=True):
    """How the next token is chosen."""

    temperature: float = 1.0
    """0 takes the best one."""
    top_k: int = 0
    """Only among that many; 0 for all."""
    top_p: float = 1.0
    """Only among the likeliest ones that make up this share."""
    min_p: float = 0.0
    """Only among those that have at least this share of the likeliest one's probability."""
    repetition_penalty: float = 1.0
    """Divides the scores of what was seen, in the prompt or since; above 1 repeats less."""
    presence_penalty: float = 0.0
    """Taken off the scores of what was generated already."""
    frequency_penalty: float = 0.0
    """The same, once for each time."""

    @classmethod
    def of(cls, body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Self:
        """Reads the fields of a request.

        Raises:
            EngineError: A value is out of its range.
        """
        given = {name: body.get(name, defaults.get(name)) for name in _RANGES}
        values = {name: value for name, value in given.items() if value is not None}
        for name, value in values.items():
            low, high, words = _RANGES[name]
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise EngineError(f"{name} must be {words}; it is {value!r}", param=name)
        if values.get("top_p") == 0:
            raise EngineError("top_p must be above 0 and at most 1; it is 0", param="top_p")
        if values.get("repetition_penalty") == 0:
            raise EngineError("repetition_penalty must be above 0; it is 0", param="repetition_penalty")
        if values.get("top_k", 0) < 0:  # some say -1 for all
            values["top_k"] = 0
        return cls(**values)


_RANGES: Final[Mapping[str, tuple[float, float, str]]] = {
    "temperature": (0, math.inf, "at least 0"),
    "top_k": (-1, math.inf, "a count, or 0 for all"),
    "top_p": (0, 1, "above 0 and at most 1"),
    "min_p": (0, 1, "from 0 to 1"),
    "repetition_penalty": (0, math.inf, "above 0"),
    "presence_penalty": (-2, 2, "from -2 to 2"),
    "frequency_penalty": (-2, 2, "from -2 to 2"),
}


def penalized(scores: Scores, sampling: Sampling, prompt: Collection[int], counts: Mapping[int, int]) -> Scores:
    """The scores after all penalties.

    Args:
        scores: As the model gave them.
        sampling: How strong they are.
        prompt: The tokens that were read.
        counts: How often each token was generated.
    """
    repetition, presence, frequency = (
        sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty,
    )  # fmt: skip
    if repetition == 1 and not presence and not frequency:
        return scores
    seen = sorted({*prompt, *counts} if repetition != 1 else counts)
    if not seen:
        return scores
    values = []
    for token, score in zip(seen, scores.at(seen), strict=True):
        scaled = score / repetition if score > 0 else score * repetition
        count = counts.get(token, 0)
        values.append(scaled - (presence if count else 0.0) - frequency * count)
    return scores.replaced(seen, values)


def pick(scores: Scores, sampling: Sampling, random: Random) -> int:
    """The next token."""
    if sampling.temperature == 0 or sampling.top_k == 1:
        return scores.best(1)[0][0]
    share = random.random()
    if sampling.top_p < 1 or sampling.min_p > 0:
        kept = list(_kept(scores, sampling))
        share *= kept[-1][1]
        return next((token for token, total in kept if total > share), kept[-1][0])
    token = -1
    for token, total in _shares(scores, sampling):  # noqa: B007 - the last one, if rounding leaves a gap
        if total > share:
            break
    return token


def _kept(scores: Scores, sampling: Sampling) -> Iterator[tuple[int, float]]:
    """The tokens to choose among, with the sum of the shares up to each."""
    before = 0.0
    likeliest = None
    for token, total in _shares(scores, sampling):
        likeliest = total if likeliest is None else likeliest
        if total - before < sampling.min_p * likeliest:
            return
        yield token, total
        before = total
        if total >= sampling.top_p:
            return


def _shares(scores: Scores, sampling: Sampling) -> Iterator[tuple[int, float]]:
    """The tokens, likeliest first, with the sum of the shares up to each; only as many are ranked as are asked for."""
    temperature, limit = sampling.temperature, sampling.top_k
    if limit:
        ranked = scores.best(limit)
        highest = ranked[0][1]
        whole = highest / temperature + math.log(
            math.fsum(math.exp((score - highest) / temperature) for _, score in ranked)
        )
        pages = iter([ranked])
    else:
        whole = scores.log_total(temperature)
        pages = (scores.best(count) for count in _PAGES)
    total, last = 0.0, 0
    seen: set[int] = set()
    for page in pages:
        for token, score in page:
            if token in seen:
                continue
            seen.add(token)
            if score == -math.inf:
                return
            total += math.exp(score / temperature - whole)
            yield token, total
        if len(page) == last:
            return
        last = len(page)


_PAGES: Final = (64, 1024, 16384, 1 << 30)


def logprobs_of(scores: Scores, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The log probability of a token, and the likeliest tokens with theirs, before any sampling parameter."""
    whole = scores.log_total(1.0)
    top = [(other, score - whole) for other, score in scores.best(count)] if count else []
    return scores.at([token])[0] - whole, top
