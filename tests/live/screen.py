"""A program at a real terminal: keys go in, and what a person would see is read from an emulated screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import pyte

ROWS: Final = 120
COLUMNS: Final = 160
PATIENCE: Final = 120.0
"""Seconds until a text that does not appear is a failure; a busy machine is slow, not wrong."""


class _Screen(pyte.Screen):
    """A screen that answers the questions of programs, as terminals do."""

    def __init__(self, terminal: int) -> None:
        super().__init__(COLUMNS, ROWS)
        self._terminal = terminal

    def write_process_input(self, data: str) -> None:
        os.write(self._terminal, data.encode())


class Terminal:
    """A running program and its screen."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._screen = _Screen(descriptor)
        self._stream = pyte.ByteStream(self._screen)

    def press(self, keys: str) -> None:
        """Presses keys."""
        os.write(self._descriptor, keys.encode())

    def enter(self, line: str) -> None:
        """Types a line and sends it."""
        self.press(f"{line}\r")

    def text(self) -> str:
        """What is on the screen, without empty lines and the blanks at the ends of lines."""
        return "\n".join(filter(None, (line.rstrip() for line in self._screen.display)))

    def status(self) -> str:
        """The status line, once the program waits for a line."""
        until = time.monotonic() + PATIENCE
        while " | " not in (last := self.text().rpartition("\n")[2]):
            assert time.monotonic() < until, f"there is no status line:\n{self.text()}"
            assert self._takes(0.5), f"the program ended:\n{self.text()}"
        return last

    def sees(self, text: str, times: int = 1) -> str:
        """Waits until a text is on the screen so many times; gives the whole screen."""
        until = time.monotonic() + PATIENCE
        while self.text().count(text) < times:
            assert time.monotonic() < until, f"{text!r} did not appear:\n{self.text()}"
            assert self._takes(0.5), f"the program ended without {text!r}:\n{self.text()}"
        return self.text()

    def ends(self) -> int:
        """Waits for the end of the program; gives its exit code."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, f"it does not end:\n{self.text()}"
            self._takes(0.1)
        while select.select([self._descriptor], [], [], 0)[0] and self._takes(0):
            pass
        return self.process.returncode

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as a shell needs it."""
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    def _takes(self, seconds: float) -> bool:
        """Takes what the program wrote; whether it may still write more."""
        if select.select([self._descriptor], [], [], seconds)[0]:
            self._stream.feed(os.read(self._descriptor, 65536))
            return True
        return self.process.poll() is None


@contextmanager
def terminal(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Terminal]:
    """Runs a program at a terminal of its own while the block runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C interrupts it

    held = os.dup(theirs)  # the terminal's settings can be read after its program has ended
    process = subprocess.Popen(
        argv, env={**env, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=take_terminal,  # noqa: PLW1509 - a system call, and no lock is taken
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(held)
