"""A probe for the Python inside a container; needs the standard library and nothing else.

It is handed over as source text, since the container need not have abstractcore, and prints one JSON object. Its
argument is JSON too: ``{"paths": [...], "url": "http://..."}``.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

CACHES = {
    "TRITON_CACHE_DIR": "~/.triton",
    "TORCHINDUCTOR_CACHE_DIR": "/tmp",  # noqa: S108 - it is looked at, not written
    "TMPDIR": "/tmp",  # noqa: S108 - same
    "VLLM_CACHE_ROOT": "~/.cache/vllm",
}


def limits() -> dict[str, list[int]]:
    """The limits in force here, soft and hard; -1 means none."""
    return {
        "memlock": list(resource.getrlimit(resource.RLIMIT_MEMLOCK)),
        "stack": list(resource.getrlimit(resource.RLIMIT_STACK)),
    }


def shared_memory() -> dict[str, int] | None:
    """Bytes of /dev/shm: in all, and free."""
    try:
        found = os.statvfs("/dev/shm")  # noqa: S108 - it is measured
    except OSError:
        return None
    return {"total": found.f_blocks * found.f_frsize, "free": found.f_bavail * found.f_frsize}


def noexec() -> dict[str, str]:
    """Cache folders that lie on a file system without exec."""
    found = {}
    for name, usual in CACHES.items():
        path = Path(os.environ.get(name) or usual).expanduser()
        path = next(folder for folder in (path, *path.parents) if folder.exists())
        if os.statvfs(path).f_flag & os.ST_NOEXEC:
            found[name] = str(path)
    return found


def unreadable(paths: list[str]) -> dict[str, str]:
    """Of each path the first file in it that this user can't read, with the reason."""
    problems = {top: first_unreadable(Path(top)) for top in paths}
    return {top: problem for top, problem in problems.items() if problem}


def first_unreadable(top: Path) -> str | None:
    """The first file that can't be opened, with the reason."""
    try:
        files = sorted(path for path in top.iterdir() if not path.is_dir()) if top.is_dir() else [top]
    except OSError as error:
        return f"{top}: {error.strerror}"
    for path in files:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            return f"{path}: {error.strerror}"
    return None


def environment() -> dict[str, str]:
    """The variables that decide about the server and about the way to it; of keys only whether they are set."""
    wanted = ("NCCL_", "VLLM_", "CUDA_", "HF_", "TRITON_", "TORCH", "TMPDIR")
    found = {}
    for name, value in os.environ.items():
        if name.upper().endswith("_PROXY") or name.startswith(wanted):
            secret = any(word in name for word in ("KEY", "TOKEN", "SECRET")) and not name.endswith(("_FILE", "_PATH"))
            found[name] = "(set)" if secret else value
    return found


def reach(url: str) -> dict[str, Any]:
    """The way to an address, step by step: name, connection, answer. Stops at the first step that fails."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)
    found: dict[str, Any] = {"host": host, "port": port}
    try:
        found["addresses"] = sorted({str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        return {**found, "failed": "name", "error": str(error)}
    began = time.perf_counter()
    try:
        socket.create_connection((host, port), 5).close()
    except OSError as error:
        return {**found, "failed": "connection", "error": str(error)}
    found["connect_ms"] = (time.perf_counter() - began) * 1e3
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the address is the user's own
            found["status"] = answer.status
    except urllib.error.HTTPError as error:
        found["status"] = error.code
    except OSError as error:
        return {**found, "failed": "answer", "error": str(error)}
    return found


def main() -> None:
    """Prints all of it."""
    asked = json.loads(sys.argv[1])
    found: dict[str, Any] = {
        "uid": os.getuid(),
        "limits": limits(),
        "shm": shared_memory(),
        "noexec": noexec(),
        "unreadable": unreadable(asked.get("paths") or []),
        "environment": environment(),
    }
    if asked.get("url"):
        found["reach"] = reach(asked["url"])
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
