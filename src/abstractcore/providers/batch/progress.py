"""Shows how far a batch is: one live line on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from .items import BatchProgress

_EVERY: Final = {True: 0.1, False: 10.0}
"""Seconds between two lines, on a terminal and elsewhere."""
_CLEAR: Final = "\r\x1b[2K"
_WIDTH: Final = 20


class ProgressBar:
    """Takes reports and writes them.

    Args:
        stream: Where to write.
        clock: Seconds from any starting point.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty()
        self._written = clock() - (_EVERY[True] if self._live else 0.0)
        self._last: BatchProgress | None = None

    def __call__(self, progress: BatchProgress) -> None:
        """Takes one report."""
        self._last = progress
        now = self._clock()
        if now - self._written >= _EVERY[self._live]:
            self._written = now
            self._write(progress, end="" if self._live else "\n")

    def close(self) -> None:
        """Writes the last report once more, to stay."""
        if self._last is not None:
            self._write(self._last, end="\n")

    def _write(self, progress: BatchProgress, end: str) -> None:
        line = line_of(progress)
        if self._live:
            line = _CLEAR + line[: shutil.get_terminal_size().columns - 1]
        self._stream.write(line + end)
        self._stream.flush()


def line_of(progress: BatchProgress) -> str:
    """A report as one line."""
    parts = [f"{progress.done} done"]
    if progress.total:
        filled = _WIDTH * progress.done // progress.total
        parts = [f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {progress.done}/{progress.total}"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    parts.append(f"{progress.tokens_per_second:.0f} tok/s")
    left = progress.seconds_left
    if progress.in_flight:
        parts.append(f"{progress.in_flight} in flight")
        if left is not None:
            parts.append(f"{_clock(left)} left")
    else:
        parts.append(f"in {_clock(progress.seconds)}")
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
