"""Runs an engine in a thread of its own: requests wait in a queue, and answers are written as they are generated.

An engine is shared by all providers of this process that ask for the same model with the same settings. It is let go
of when the last of them is closed or collected. At the interpreter's exit what runs is cancelled and waited for, so
that no native code runs on without it.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from queue import SimpleQueue
from typing import Final

from ...errors import AbstractCoreError, ConfigurationError, ConnectionFailedError
from ...wire.call import Call
from . import parked
from .engine import Engine, EngineError
from .pending import Pending
from .serve import refuse, serve

_JOIN: Final = 10.0
"""Seconds to wait for a thread that has been told to stop: at most one step of a generation is in the way."""


class _Worker:
    """The threads of one engine. It does not know its host, so that the host can be collected."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loaded = False
        self.stopped = False
        self._queue: SimpleQueue[Pending | None] = SimpleQueue()
        self._running: set[Pending] = set()
        self._loops: list[threading.Event] = []
        """Of each thread that works for the engine: set when it has stopped doing so."""
        self._working = 0
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def put(self, pending: Pending) -> None:
        if self._pid != os.getpid():
            self._leave_parent()
        with self._lock:
            if self.stopped:
                raise _gone(pending.call)
            while self._working < self.engine.parallel:
                ended = threading.Event()
                self._loops.append(ended)
                self._working += 1
                parked.run(partial(self._work, ended))
            self._queue.put(pending)

    def stop(self) -> None:
        """Ends the threads after the token they are at, without waiting for that."""
        with self._lock:
            self.stopped = True
            for pending in list(self._running):
                pending.cancel()
            for _ in self._loops:
                self._queue.put(None)

    def join(self) -> None:
        if self._pid == os.getpid():
            for ended in list(self._loops):
                ended.wait(_JOIN)

    def _leave_parent(self) -> None:
        """In a process forked off the one that made this: threads did not come along."""
        if self._loops:
            raise ConfigurationError(
                "the model was loaded by the parent process and can't be used after a fork",
                why="the threads of an engine don't survive a fork",
                hint='make the provider in the child process, or use multiprocessing.get_context("spawn")',
            )
        self._lock, self._pid = threading.Lock(), os.getpid()

    def _work(self, ended: threading.Event) -> None:
        try:
            self._answer_all()
            self._close()
        finally:
            ended.set()
            self._loops.remove(ended)

    def _answer_all(self) -> None:
        while (pending := self._queue.get()) is not None:
            self._running.add(pending)
            try:
                if self.stopped:
                    pending.fail(_gone(pending.call))
                elif not pending.cancelled:
                    self._answer(pending)
            finally:
                self._running.discard(pending)
            del pending

    def _answer(self, pending: Pending) -> None:
        try:
            self._load()
            serve(self.engine, pending)
            if pending.cancelled and self.stopped:
                pending.fail(_gone(pending.call))
            else:
                pending.end()
        except EngineError as error:
            refuse(pending, error)
        except AbstractCoreError as error:
            pending.fail(error)
        except Exception as error:  # noqa: BLE001 - a failure of native or foreign code: its words go to the caller
            refuse(pending, EngineError(f"{type(error).__name__}: {error}", status=500))

    def _load(self) -> None:
        with self._lock:
            if not self.loaded:
                self.engine.load()
                self.loaded = True
                # Handlers run last in, first out: the model has to go before the libraries that were loaded with it.
                atexit.unregister(_at_exit)
                atexit.register(_at_exit)

    def _close(self) -> None:
        """The last thread to end lets go of the model; what still waits gets an error."""
        with self._lock:
            self._working -= 1
            if self._working:
                return
            loaded, self.loaded = self.loaded, False
        if loaded:
            self.engine.close()
        while not self._queue.empty():
            pending = self._queue.get()
            if pending is not None:
                pending.fail(_gone(pending.call))


class Host:
    """An engine that answers calls. Loaded on first use; when the host is collected, the model goes too.

    Args:
        key: What it is shared by.
        engine: The engine, not loaded.
    """

    def __init__(self, key: Hashable, engine: Engine) -> None:
        self.key = key
        self.engine = engine
        self.holders: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._worker = _Worker(engine)
        self._finalizer = weakref.finalize(self, self._worker.stop)
        self._finalizer.atexit = False
        _workers.add(self._worker)

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._worker.loaded

    def submit(self, call: Call, notify: Callable[[], None]) -> Pending:
        """Queues a request.

        Raises:
            ConnectionFailedError: The engine was stopped.
            ConfigurationError: This process was forked off the one that loaded the model.
        """
        pending = Pending(call, notify)
        self._worker.put(pending)
        return pending

    def stop(self, *, wait: bool = True) -> None:
        """Cancels what runs and lets go of the model."""
        self._finalizer()
        if wait:
            self._worker.join()


def _gone(call: Call) -> ConnectionFailedError:
    error = ConnectionFailedError(f"{call.url}: the model was unloaded", url=call.url)
    error.delivered = True  # asking again would load it again
    return error


class Lease:
    """A provider's hold on a host: taken on first use, given back by ``release``, then taken anew.

    Args:
        key: Gives the key; providers with equal ones share an engine.
        make: Makes the engine.
    """

    def __init__(self, key: Callable[[], Hashable], make: Callable[[], Engine]) -> None:
        self._key = key
        self._make = make
        self._host: Host | None = None

    def host(self) -> Host:
        """The running host."""
        with _lock:
            if self._host is None:
                key = self._key()
                found = _hosts.get(key) or Host(key, self._make())
                _hosts[key] = self._host = found
                found.holders.add(self)
            return self._host

    def release(self, *, wait: bool = True) -> None:
        """Gives it back; the model leaves memory if no other provider holds it."""
        with _lock:
            host, self._host = self._host, None
            if host is None:
                return
            host.holders.discard(self)
            last = not host.holders
            if last and _hosts.get(host.key) is host:
                del _hosts[host.key]
        if last:
            host.stop(wait=wait)


_lock = threading.Lock()
_hosts: weakref.WeakValueDictionary[Hashable, Host] = weakref.WeakValueDictionary()
_workers: weakref.WeakSet[_Worker] = weakref.WeakSet()


def _after_fork() -> None:
    """A child starts with engines of its own: it has none of its parent's threads."""
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _hosts.clear()
    _workers.clear()


def _at_exit() -> None:
    for worker in list(_workers):
        worker.stop()
    for worker in list(_workers):
        worker.join()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
