"""Shows the progress of long steps: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

from ..deploy.progress import Progress

_EVERY: Final = 10.0
"""Seconds between two lines of the same phase where there is no terminal."""
_CLEAR: Final = "\r\x1b[2K"


class ProgressLine:
    """Takes reports and writes them; each phase ends with a line that says how long it took.

    Args:
        stream: Where to write.
        clock: Seconds from any starting point.
    """

    def __init__(self, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._phase: str | None = None
        self._began = 0.0
        self._written = 0.0
        self.seconds: dict[str, float] = {}
        """How long each phase has taken so far."""

    def __call__(self, progress: Progress) -> None:
        """Takes one report."""
        now = self._clock()
        if progress.phase != self._phase:
            self._end()
            self._phase, self._began, self._written = progress.phase, now, now - _EVERY
        self.seconds[progress.phase] = now - self._began
        if self._live:
            self._stream.write(_CLEAR + self._line(progress)[: shutil.get_terminal_size().columns - 1])
        elif now - self._written >= _EVERY:
            self._stream.write(self._line(progress) + "\n")
            self._written = now
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._end()
        elif self._live and self._phase:
            self._stream.write("\n")  # what was going on stays visible above the error

    def _line(self, progress: Progress) -> str:
        share = "" if progress.fraction is None else f"{progress.fraction:4.0%}  "
        return f"{progress.phase:<8} {self.seconds[progress.phase]:4.0f} s  {share}{progress.text}"

    def _end(self) -> None:
        if self._phase is None:
            return
        done = f"{self._phase:<8} {self.seconds[self._phase]:4.0f} s  done\n"
        self._stream.write(_CLEAR + done if self._live else done)
        self._stream.flush()
        self._phase = None
