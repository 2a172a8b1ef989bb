"""Keeps the process's signal handlers while foreign code starts that would replace them.

llama.cpp's server takes SIGINT and SIGTERM for itself, below Python: Ctrl-C would stop the model in place of the
program. Python can set handlers in its main thread only, and engines load in their own; so the C library is asked.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ENOUGH: Final = 512
"""Bytes; ``struct sigaction`` has 152 with glibc, less elsewhere. Its content is kept as it is, never read."""


@contextmanager
def kept_handlers(*numbers: signal.Signals) -> Iterator[None]:
    """Restores the handlers of these signals at the end of the block, whatever was done in it."""
    if os.name != "posix":
        yield
        return
    libc = ctypes.CDLL(None)
    before = {}
    for number in numbers:
        before[number] = ctypes.create_string_buffer(_ENOUGH)
        libc.sigaction(int(number), None, before[number])
    try:
        yield
    finally:
        for number, handler in before.items():
            libc.sigaction(int(number), handler, None)
