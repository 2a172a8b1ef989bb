"""Starts ``scripts/llama_server.py``: llama.cpp's own HTTP server, which is LM Studio's engine for GGUF files.

It runs in a Python that has ``xllamacpp``: the one that ``ABSTRACTCORE_TEST_EXTRAS_PYTHON`` names, by default this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from abstractcore.deploy import runtime, small_model
from abstractcore.settings import cache_dir

SCRIPT: Final = Path(__file__).parents[2] / "scripts" / "llama_server.py"
NAME: Final = "smollm2"


@contextmanager
def running() -> Iterator[str]:
    """The address of a server with the small model, while the block runs."""
    python = os.environ.get("ABSTRACTCORE_TEST_EXTRAS_PYTHON", sys.executable)
    done = runtime.run((python, "-c", "import xllamacpp"), env=dict(os.environ))
    assert done.code == 0, f"{python} lacks xllamacpp; name another one in ABSTRACTCORE_TEST_EXTRAS_PYTHON\n{done.tail}"
    gguf = small_model.ensure_gguf(small_model.SMOLLM2, cache_dir(), python=Path(python))
    argv, pipe = [python, str(SCRIPT), str(gguf), NAME], subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        url = server.stdout.readline().strip()
        assert url, "llama.cpp's server did not start"
        yield url
        server.stdin.close()
