"""What is fuzzed: a reader of bytes from outside, and what it may do with any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

Run = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Target:
    """One reader.

    Args:
        name: As on the command line of ``bench/fuzz.py``.
        reads: What its bytes are.
        run: Gives them to the reader; asserts what has to hold whatever they are.
        refuses: The errors that an input may be refused with. Anything else that is raised is a fault.
        seeds: Inputs from which others are made; from real servers where there are any.
        tokens: Pieces that are worth inserting.
        slow: An input costs milliseconds, so that the short run takes few.
    """

    name: str
    reads: str
    run: Run
    refuses: tuple[type[Exception], ...]
    seeds: Callable[[], Iterable[bytes]]
    tokens: tuple[bytes, ...] = ()
    slow: bool = False

    def outcome(self, data: bytes) -> str:
        """``answered``, or the name of the error by which the input is refused; a fault is raised."""
        try:
            self.run(data)
        except self.refuses as error:
            return type(error).__name__
        return "answered"
