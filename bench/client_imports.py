"""What clients cost before they have done anything: CPU time of fresh processes, less that of a bare Python."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from tempfile import TemporaryFile
from typing import Any

from client_kinds import OURS, Kind

Found = dict[str, list[float]]
"""Milliseconds of CPU time, by what was started, for each round."""


def measure(kinds: Sequence[Kind], order: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    """A row for each client: how much its import takes, with a client made, and with a first answer read.

    Args:
        kinds: The clients.
        order: The one request of the last.
        rounds: How often; the smallest figure counts, as the first may have to compile.
    """
    found: dict[str, Found] = {kind.name: {} for kind in kinds}
    work = [(kind, name, argv) for kind in kinds for name, argv in _processes(kind).items()]
    for number in range(rounds):
        for kind, name, argv in random.sample(work, len(work)):
            spent = _cpu_ms(argv, kind.env, json.dumps(order) if name == "answer" else "")
            found[kind.name].setdefault(name, []).append(spent)
        print(f"\rimports: round {number + 1} of {rounds}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [{"client": kind.name, **_row(found[kind.name])} for kind in kinds]


def _processes(kind: Kind) -> dict[str, list[str]]:
    python = kind.python()
    argv = {
        "bare": [python, "-c", "pass"],
        "import": [python, "-c", kind.imports],
        "made": [python, "-c", f"{kind.imports}; {kind.makes}"],
        "answer": kind.command(),
    }
    return argv | ({"help": [python, "-m", "abstractcore", "--help"]} if kind.name == OURS else {})


def _cpu_ms(argv: Sequence[str], env: Mapping[str, str], told: str) -> float:
    """User and system time of a process from its start to its end.

    Raises:
        CalledProcessError: It failed.
    """
    with TemporaryFile() as stdin, TemporaryFile() as log:
        stdin.write(told.encode())
        stdin.seek(0)
        process = subprocess.Popen(argv, env=env, stdin=stdin, stdout=subprocess.DEVNULL, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise subprocess.CalledProcessError(process.returncode, list(argv), stderr=log.read())
    return (used.ru_utime + used.ru_stime) * 1e3


def _row(found: Found) -> dict[str, Any]:
    """The smallest figures, less the smallest of a bare Python; the help as a whole."""
    bare = min(found["bare"])
    return {
        name: {"ms": min(values) - (0 if name in ("bare", "help") else bare), "median": median(values)}
        for name, values in found.items()
    }
