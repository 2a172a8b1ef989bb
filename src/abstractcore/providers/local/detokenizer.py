"""From tokens to text as they come, and where the text has to end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

_BROKEN: Final = "\ufffd"
"""What stands where bytes are no whole character, or not yet."""


class Detokenizer:
    """Turns tokens into text, one by one. A character may take several tokens; it is given out with the last of them.

    Args:
        decode: The text of tokens.
        context: The tokens before: some tokenizers write the first one of a text in another way than the others.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = list(context)
        self._begin = 0
        """Where the tokens begin that are decoded again with the next one."""
        self._shown = len(self._tokens)
        """How many tokens are given out."""

    def add(self, token: int) -> str:
        """The text that is certain with one more token."""
        self._tokens.append(token)
        before, text = self._decode(self._tokens[self._begin : self._shown]), self._text()
        if len(text) <= len(before) or text.endswith(_BROKEN):
            return ""
        self._begin, self._shown = self._shown, len(self._tokens)
        return text[len(before) :]

    def rest(self) -> str:
        """What is left at the end, broken characters and all."""
        before, text = self._decode(self._tokens[self._begin : self._shown]), self._text()
        self._begin = self._shown = len(self._tokens)
        return text[len(before) :]

    def _text(self) -> str:
        return self._decode(self._tokens[self._begin :])


class StopStrings:
    """Ends a text before the first of some strings to be complete, wherever its pieces begin and end.

    Args:
        strings: None of them empty.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found: str | None = None
        """The string that ended the text."""

    def add(self, piece: str) -> str:
        """What may be given out with one more piece; nothing after an end was found."""
        if self.found is not None:
            return ""
        if not self._strings:
            return piece
        text = self._held + piece
        places = [(at + len(stop), at, stop) for stop in self._strings if (at := text.find(stop)) >= 0]
        if places:
            _, at, self.found = min(places)
            self._held = ""
            return text[:at]
        keep = max(self._overlap(text, stop) for stop in self._strings)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """How many characters at the end of a text may become the stop string."""
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return length
        return 0
