"""Threads that never end: they wait for the next piece of work, until the process goes.

Native libraries leave destructors with the threads that they were used in (MLX does). These run when a thread ends, and
want the interpreter; if it is on its way out by then, they abort the process. ``Thread.join`` is no help: it returns
before they run. So a thread that was used once is kept, asleep, and used again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

Work: TypeAlias = Callable[[], None]

_lock = threading.Lock()
_idle: list[SimpleQueue[Work]] = []
_count = 0


def run(work: Work) -> None:
    """Does some work in a thread of its own. The work handles its own errors."""
    global _count
    with _lock:
        inbox = _idle.pop() if _idle else None
        if inbox is None:
            inbox, _count = SimpleQueue(), _count + 1
            threading.Thread(target=_wait, args=(inbox,), name=f"engine-{_count}", daemon=True).start()
    inbox.put(work)


def _wait(inbox: SimpleQueue[Work]) -> None:
    while True:
        work = inbox.get()
        work()
        del work  # it must not live on while nothing happens
        with _lock:
            _idle.append(inbox)


def _after_fork() -> None:
    """Threads don't come along."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _idle.clear()


os.register_at_fork(after_in_child=_after_fork)
