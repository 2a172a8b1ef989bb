"""The loop that makes an answer, token by token, on whatever computes the scores. No framework is needed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, Protocol, Self

from msgspec import Struct

from ...types import TokenLogprob
from .detokenizer import Detokenizer, StopStrings
from .engine import Delta, EngineError, too_long
from .guided import Guide
from .sampling import Sampling, Scores, logprobs_of, penalized, pick
from .tokenizer import ModelTokenizer

_CONTEXT_TOKENS: Final = 8
"""Tokens of the prompt that the answer's first ones are decoded together with."""


class Decoder(Protocol):
    """A model that remembers what it has read of one text."""

    def read(self, tokens: Sequence[int]) -> Scores:
        """Reads more tokens, and gives the scores of what comes after them."""


class Wish(Struct, frozen=True, kw_only=True):
    """What a request asks of the loop."""

    sampling: Sampling
    limit: int | None
    """Most tokens of an answer."""
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    """How many of the likeliest tokens to report; 0 for the chosen one only."""

    @classmethod
    def of(cls, body: Mapping[str, Any], prompt: int, context: int | None, defaults: Mapping[str, Any]) -> Self:
        """Reads the fields of a request.

        Args:
            body: The request, in OpenAI's form.
            prompt: Tokens of the prompt.
            context: Tokens that prompt and answer may have together.
            defaults: The model's own sampling parameters.

        Raises:
            EngineError: A value is out of its range, or prompt and answer don't fit into the context.
        """
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if context is not None:
            if prompt + (limit or 1) > context:
                raise too_long(prompt, limit or 1, context)
            limit = limit or context - prompt
        stop = body.get("stop") or ()
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(isinstance(text, str) and text for text in stop):
            raise EngineError("stop strings must be texts, and not empty", param="stop")
        logprobs = body.get("top_logprobs", body.get("logprobs"))
        return cls(
            sampling=Sampling.of(body, defaults),
            limit=limit,
            stop=stop,
            seed=body.get("seed"),
            logprobs=None if logprobs is None or logprobs is False else int(logprobs),
        )


class Choice:
    """One answer on its way.

    Args:
        decoder: The model, which has read nothing yet.
        tokenizer: Its tokenizer.
        prompt: What it reads first.
        wish: What is asked for.
        guide: Holds the answer to a constraint.
        index: Which of several answers it is.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: ModelTokenizer,
        prompt: Sequence[int],
        wish: Wish,
        *,
        guide: Guide | None = None,
        index: int = 0,
    ) -> None:
        self._decoder, self._tokenizer, self._prompt, self._wish = decoder, tokenizer, prompt, wish
        self._guide, self._index = guide, index
        self._random = Random() if wish.seed is None else Random(wish.seed + index)  # noqa: S311 - no secret
        self._text = Detokenizer(tokenizer.decode, prompt[-_CONTEXT_TOKENS:])
        self._stop = StopStrings(wish.stop)
        self._counts: Counter[int] = Counter()
        self.generated = 0
        """Tokens so far, the end token included."""

    def deltas(self, cancelled: Callable[[], bool]) -> Iterator[Delta]:
        """Generates the answer; the last delta has the finish reason, unless it was cancelled."""
        unread: Sequence[int] = self._prompt
        while not cancelled():
            scores = self._decoder.read(unread)
            token, logprobs = self._choose(scores)
            unread = [token]
            self.generated += 1
            reason = self._end_by(token)
            piece = "" if token in self._tokenizer.ends else self._text.add(token)
            text = self._stop.add(piece + (self._text.rest() if reason else ""))
            if self._stop.found is not None:
                reason = "stop"
            elif reason:
                text += self._stop.rest()
            if text or logprobs or reason:
                yield Delta(text, self._index, reason, logprobs=logprobs)
            if reason:
                return

    def _choose(self, scores: Scores) -> tuple[int, Sequence[TokenLogprob]]:
        wish = self._wish
        changed = penalized(scores, wish.sampling, self._prompt, self._counts)
        if self._guide is not None:
            changed = changed.allowed(self._guide.mask())
        token = pick(changed, wish.sampling, self._random)
        self._counts[token] += 1
        if wish.logprobs is None:
            return token, ()
        chosen, top = logprobs_of(scores, token, wish.logprobs)
        spell = self._tokenizer.spell
        return token, [TokenLogprob(spell(token), chosen, {spell(other): value for other, value in top})]

    def _end_by(self, token: int) -> str | None:
        """The finish reason, if the answer ends with this token for any reason but a stop string."""
        if token in self._tokenizer.ends or (self._guide is not None and self._guide.advance(token)):
            return "stop"
        return "length" if self._wish.limit is not None and self.generated >= self._wish.limit else None
