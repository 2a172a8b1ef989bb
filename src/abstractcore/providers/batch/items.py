"""What a batch gives back."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from ...errors import AbstractCoreError
from ...types import GenerateResponse


class BatchItem(Struct, kw_only=True):
    """What became of one prompt: a response or an error, never both."""

    index: int
    """The prompt's place in the input, from 0."""
    response: GenerateResponse | None = None
    """The answer, its constraint proved like that of a single call."""
    error: AbstractCoreError | None = None
    """Why there is none."""
    resumed: bool = False
    """Whether the answer was read from the file of an earlier run; it has no ``raw_response`` then."""

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return self.response is not None


class BatchResult(Struct, kw_only=True):
    """All items of a batch, in the order of the prompts."""

    items: list[BatchItem]
    seconds: float
    """How long this run took."""
    concurrency: int
    """How many requests were in flight together at most."""

    def __repr__(self) -> str:
        # Short: asyncio writes the result of its main task down, to no purpose, and there may be a million items.
        return f"BatchResult({len(self.items)} items, {len(self.failures)} failures, {self.seconds:.1f} s)"

    def __iter__(self) -> Iterator[BatchItem]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> BatchItem:
        return self.items[index]

    @property
    def failures(self) -> list[BatchItem]:
        """The items without an answer."""
        return [item for item in self.items if item.error is not None]

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompts that this run sent and got answers to."""
        return sum(item.response.input_tokens or 0 for item in self.items if item.response and not item.resumed)

    @property
    def output_tokens(self) -> int:
        """Tokens that were generated in this run."""
        return sum(item.response.output_tokens or 0 for item in self.items if item.response and not item.resumed)

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second, over the whole run."""
        return self.output_tokens / self.seconds if self.seconds > 0 else 0.0


class BatchProgress(Struct, kw_only=True, frozen=True):
    """How far a batch is."""

    done: int
    """Items that are finished, failed and resumed ones included."""
    failed: int
    resumed: int
    """Items taken over from an earlier run."""
    total: int | None
    """All items, if the prompts have a length."""
    in_flight: int
    output_tokens: int
    """Tokens generated so far in this run."""
    seconds: float
    """Since this run began."""

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second so far."""
        return self.output_tokens / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the items finished in this run; ``None`` if it can't be known."""
        finished = self.done - self.resumed
        if self.total is None or finished == 0:
            return None
        return max(0, self.total - self.done) * self.seconds / finished
