"""JSON, one document a line, as Ollama streams it."""

from __future__ import annotations

from typing import Final

from ..errors import ProviderAPIError

MAX_LINE_BYTES: Final = 1 << 20


class LineParser:
    """Turns the bytes of one stream into lines, wherever the reads happen to cut it.

    Lines come without the white space at their end; blank ones are left out.

    Args:
        max_line_bytes: Largest line that is accepted.
    """

    __slots__ = ("_max", "_tail")

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._tail = bytearray()  # the line that has not ended

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the lines that they complete.

        Raises:
            ProviderAPIError: A line is larger than ``max_line_bytes``; the parser can't go on.
        """
        lines = data.split(b"\n")
        last = lines.pop()
        if lines and self._tail:
            lines[0] = bytes(self._tail) + lines[0]
            self._tail.clear()
        self._tail += last
        largest = max(len(self._tail), *map(len, lines)) if lines else len(self._tail)
        if largest > self._max:
            raise ProviderAPIError(
                f"The server sent a stream line of at least {largest:,} bytes; {self._max:,} are accepted.",
                hint="ask for less in one line: fewer logprobs, fewer choices",
            )
        return [line for line in map(bytes.rstrip, lines) if line]

    def close(self) -> bytes:
        """End the stream and return the line that never ended; ``b""`` at a clean end.

        Whether it is a whole document, sent without its line feed, is for the JSON decoder to say.
        """
        rest = bytes(self._tail).strip()
        self._tail.clear()
        return rest
