"""Builds and starts the load source, and runs loads: the two C programs of ``source/``."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

FOLDER = Path(__file__).parent / "source"
RECORDINGS = FOLDER / "vllm-0.32.0.tar.gz"
CHAT = "/v1/chat/completions"


def cache() -> Path:
    """Where programs, recordings and the peers' environments are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abstractcore" / "bench"


def built(name: str) -> Path:
    """A C program, compiled if its sources changed."""
    sources = [FOLDER / f"{name}.c", FOLDER / "http.h"]
    mark = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    program = cache() / f"{name}-{mark}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", str(made), str(sources[0])], check=True)
        made.rename(program)
    return program


def recordings() -> Path:
    """The folder with the recorded answers, unpacked."""
    mark = sha256(RECORDINGS.read_bytes()).hexdigest()[:12]
    folder = cache() / f"recordings-{mark}"
    if not folder.exists():
        made = folder.with_suffix(f".{os.getpid()}")
        with tarfile.open(RECORDINGS) as archive:
            archive.extractall(made, filter="data")
        made.rename(folder)
    return folder


@contextmanager
def source(options: str = "") -> Iterator[int]:
    """A running load source; its port."""
    argv = [str(built("source")), str(recordings()), "0", *([options] if options else [])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


class Load:
    """One load that runs: a request sent again and again."""

    def __init__(
        self, port: int, body: Mapping[str, Any], headers: Sequence[str] = (), path: str = CHAT, **options: int
    ) -> None:
        with NamedTemporaryFile(delete=False) as file:
            file.write(json.dumps(body).encode())
        self._body = Path(file.name)
        told = ",".join(f"{name}={value}" for name, value in options.items())
        argv = [str(built("load")), str(port), path, file.name, told, *headers]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def stop(self) -> None:
        """Ends it now: its connections are closed."""
        self._process.kill()
        self._process.wait()
        self._body.unlink()

    def result(self) -> dict[str, Any]:
        """What it saw, when it has ended."""
        out, _ = self._process.communicate()
        self._body.unlink()
        found: dict[str, Any] = json.loads(out)
        return found
