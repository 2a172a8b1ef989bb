"""A lock between processes, on a file."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Holds the lock while the block runs; waits for whoever has it.

    Args:
        path: The lock file; it is made when missing and left in place.
        on_wait: Called every half second of waiting.

    Yields:
        The file descriptor, for a child process that has to keep the lock if this process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                on_wait()
                time.sleep(0.5)
        yield file.fileno()
