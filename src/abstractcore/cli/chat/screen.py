"""What is shown: answers on standard output, all else on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, TextIO

import click

from ...errors import AbstractCoreError
from ...types import GenerateResponse
from ..proved import proof_line
from ..visible import visible
from .conversation import advice

if TYPE_CHECKING:
    from .conversation import Conversation

_QUOTED: Final = "| "
_WAITING: Final = "\x1b[2m...\x1b[0m\r"
"""Shown until something comes; what comes is written over it."""
_CLEAR: Final = "\x1b[K"


class Screen:
    """Writes to a terminal, or to whatever stands in its place.

    Args:
        out: For answers.
        err: For all else.
        live: A person looks at it: reasoning is shown, and control characters are made visible.
        colour: Colours and dim text may be used.
    """

    def __init__(self, out: TextIO, err: TextIO, *, live: bool, colour: bool) -> None:
        self._out = out
        self._err = err
        self._live = live
        self._colour = colour
        self._showing: str | None = None
        """What is on the line now: ``answer`` or ``reasoning``."""

    def answer(self, conversation: Conversation, text: str) -> None:
        """Asks, and shows the answer as it comes.

        Raises:
            AbstractCoreError: There is no answer; what had come was shown, and marked as none.
            KeyboardInterrupt: It was stopped; the server was told.
        """
        self._showing = None
        self._wait()
        answer = conversation.ask(text)
        try:
            with closing(answer):
                last = self._show(answer)
        except KeyboardInterrupt:
            self._end_line()
            raise
        except AbstractCoreError as error:
            self._end_line(no_answer=True)
            self._show_partial(error)
            error.hint = advice(error) or error.hint
            raise
        self._end_line()
        self._conclude(last)

    def say(self, text: str, colour: str | None = None) -> None:
        """Says something about the conversation."""
        self._out.flush()
        text = visible(text) if self._live else text
        self._err.write((click.style(text, fg=colour) if colour and self._colour else text) + "\n")
        self._err.flush()

    def error(self, error: AbstractCoreError) -> None:
        """Shows an error: what failed, the measured fact, what to do next."""
        from ..main import show

        self._out.flush()
        show(error)

    def _show(self, chunks: Iterator[GenerateResponse]) -> GenerateResponse | None:
        last = None
        for last in chunks:
            if last.index == 0:
                if last.reasoning and self._live:
                    self._write("reasoning", last.reasoning)
                if last.content:
                    self._write("answer", last.content)
        return last

    def _wait(self) -> None:
        if self._colour:
            self._out.write(_WAITING)
            self._out.flush()

    def _write(self, kind: str, text: str) -> None:
        if kind != self._showing:
            between = "\n\n" if self._showing else _CLEAR if self._colour else ""
            label = "" if self._colour or (kind == "answer" and not self._showing) else f"{kind}: "
            self._out.write(between + label)
            self._showing = kind
        text = visible(text) if self._live else text
        self._out.write(click.style(text, dim=True) if kind == "reasoning" and self._colour else text)
        self._out.flush()

    def _end_line(self, *, no_answer: bool = False) -> None:
        if self._showing is None:
            self._out.write(_CLEAR if self._colour else "")
            return
        self._out.write("\n")
        if no_answer:
            self.say("no answer: the text above is only what had come", "yellow")

    def _show_partial(self, error: AbstractCoreError) -> None:
        """Shows what had come of an answer that was not shown as it came."""
        partial = getattr(error, "partial", None)
        if self._showing is None and isinstance(partial, str) and partial:
            self.say("no answer: only this had come", "yellow")
            self.say("\n".join(_QUOTED + line for line in partial.splitlines()))

    def _conclude(self, last: GenerateResponse | None) -> None:
        if last is None:
            return
        proof = proof_line(last)
        if self._showing is None:
            self.say("the answer is empty")
        if proof:
            self.say(proof, "green")
        elif last.finish_reason == "length":
            self.say("the answer was cut: the limit of tokens was reached (/tokens)")
        if self._live:
            self.say("")
