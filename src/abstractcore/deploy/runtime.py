"""Processes: the only file that starts, watches and stops them.

Every process becomes the leader of its own group, so that it can be stopped with all its children: vLLM leaves its
engine and worker processes behind when only the API process is killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from ..errors import DeployError

_PROC: Final = Path("/proc")
_HAS_PROC: Final = (_PROC / "self" / "stat").exists()
_TAIL: Final = 40


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    seconds: float
    tail: tuple[str, ...]
    """Its last lines, standard output and standard error together."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A detached server, as its pid file describes it."""

    pid: int
    """Leader of its process group."""
    started: str
    """The kernel's start time of the leader; a recycled pid has another one."""
    log: str
    """Path of the file that takes its output."""
    note: Mapping[str, str] = field(default_factory=dict)
    """What the starter wants to know when it finds the server again."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One process of the process table."""

    pid: int
    group: int
    started: str


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    on_line: Callable[[str], None] = lambda line: None,
    on_tick: Callable[[], None] = lambda: None,
    tick: float = 0.5,
    limit: float | None = None,
    hold: Sequence[int] = (),
) -> Finished:
    """Runs a command to its end; if the caller is interrupted, its whole process group is stopped first.

    Args:
        argv: Program and arguments; there is no shell.
        env: The complete environment.
        on_line: Gets each line of output as it comes.
        on_tick: Called about every ``tick`` seconds while the command runs.
        tick: Seconds.
        limit: Seconds after which the command is stopped.
        hold: File descriptors that the command keeps open, such as a lock's: the lock then lasts as long as the
            command, even if this process is killed.

    Raises:
        DeployError: The program can't be started at all, or ran past its limit.
    """
    began = time.monotonic()
    tail: deque[str] = deque(maxlen=_TAIL)

    def ticked() -> None:
        if limit is not None and time.monotonic() - began > limit:
            raise DeployError(f"{argv[0]} did not end within {limit:.0f} s")
        on_tick()

    process = _spawn(argv, env=env, stdout=subprocess.PIPE, pass_fds=tuple(hold))
    try:
        for line in _lines(process, ticked, tick):
            tail.append(line)
            on_line(line)
        code = process.wait()
    except BaseException:
        stop_group(process.pid, grace=5.0)
        process.wait()
        raise
    finally:
        if process.stdout:
            process.stdout.close()
    return Finished(code, time.monotonic() - began, tuple(tail))


def start_server(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path, pid_file: Path, note: Mapping[str, str] | None = None
) -> ServerProcess:
    """Starts a server that outlives this process.

    Args:
        argv: Program and arguments; there is no shell.
        env: The complete environment.
        log: Takes its output; an older log is replaced.
        pid_file: Where ``find_server`` will look for it.
        note: Kept in the pid file.

    Raises:
        DeployError: The program can't be started at all.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = _spawn(argv, env=env, stdout=output.fileno())
    try:
        row = _find(process.pid)
        server = ServerProcess(process.pid, row.started if row else "", str(log), dict(note or {}))
        scratch = pid_file.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(server)), encoding="utf-8")
        scratch.replace(pid_file)
    except BaseException:
        stop_group(process.pid, grace=1.0)
        raise
    process.returncode = 0  # it is meant to live on: no warning about it when this object goes
    return server


def find_server(pid_file: Path) -> ServerProcess | None:
    """The server of a pid file if it, or any process it left behind, still runs."""
    try:
        fields = json.loads(pid_file.read_text(encoding="utf-8"))
        server = ServerProcess(int(fields["pid"]), str(fields["started"]), str(fields["log"]), dict(fields["note"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return server if server_members(server) else None


def is_alive(server: ServerProcess) -> bool:
    """Whether the server's leader runs; a recycled pid doesn't count."""
    _reap(server.pid)
    row = _find(server.pid)
    return row is not None and row.started == server.started


def server_members(server: ServerProcess) -> tuple[int, ...]:
    """The pids of the server and its children, also those that outlived it."""
    _reap(server.pid)
    group = [row for row in _table() if row.group == server.pid]
    leader = next((row for row in group if row.pid == server.pid), None)
    if leader:
        return tuple(row.pid for row in group) if leader.started == server.started else ()
    return tuple(row.pid for row in group if _writes_to(row.pid, server.log))


def stop_server(server: ServerProcess, *, grace: float = 15.0) -> None:
    """Stops a server with all its children, and returns when none is left.

    Raises:
        DeployError: A process can't be stopped.
    """
    if server_members(server):
        stop_group(server.pid, grace=grace)


def stop_group(group: int, *, grace: float) -> None:
    """Ends a process group: asks, waits up to ``grace`` seconds, then kills.

    Raises:
        DeployError: A process of the group is still there after that.
    """
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        if _gone(group, patience):
            return
    left = [row.pid for row in _table() if row.group == group]
    raise DeployError(f"process group {group} does not end", why=f"still there after SIGKILL: {left}")


def _gone(group: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        _reap(group)
        if not any(row.group == group for row in _table()):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdout: int,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise DeployError(f"{argv[0]} can't be started", why=str(error)) from error


def _lines(process: subprocess.Popen[bytes], on_tick: Callable[[], None], tick: float) -> Iterator[str]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    pending = b""
    due = time.monotonic() + tick
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = selector.select(max(0.0, due - time.monotonic()))
            if time.monotonic() >= due:
                due = time.monotonic() + tick
                on_tick()
            if not ready:
                continue
            data = os.read(descriptor, 65536)
            *whole, pending = (pending + data).replace(b"\r", b"\n").split(b"\n")
            for line in whole if data else [pending]:
                if line.strip():
                    yield line.decode("utf-8", "replace")
            if not data:
                return


def _table() -> list[_Row]:
    """All living processes."""
    if not _HAS_PROC:
        return _table_from_ps()
    rows = (_row(int(folder.name)) for folder in _PROC.iterdir() if folder.name.isdigit())
    return [row for row in rows if row]


def _find(pid: int) -> _Row | None:
    if _HAS_PROC:
        return _row(pid)
    return next((row for row in _table_from_ps() if row.pid == pid), None)


def _row(pid: int) -> _Row | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None  # it has ended
    fields = stat[stat.rindex(b")") + 2 :].split()
    state, group, started = fields[0], fields[2], fields[19]
    return None if state in b"ZX" else _Row(pid, int(group), started.decode())


def _table_from_ps() -> list[_Row]:
    text = subprocess.run(["ps", "-axo", "pid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True).stdout
    rows = []
    for line in text.splitlines():
        pid, group, state, started = line.split(None, 3)
        if not state.startswith("Z"):
            rows.append(_Row(int(pid), int(group), started.strip()))
    return rows


def _writes_to(pid: int, log: str) -> bool:
    for descriptor in ("1", "2"):
        try:
            target = str((_PROC / str(pid) / "fd" / descriptor).readlink())
            if target.removesuffix(" (deleted)") == str(Path(log).resolve()):
                return True
        except OSError:
            continue
    return False


def _reap(pid: int) -> None:
    """Takes the exit status of a child that has ended, so that it leaves the process table."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
