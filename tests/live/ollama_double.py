"""Starts ``scripts/ollama_double.py``: recorded answers of a real Ollama, and a real llama.cpp for the rest.

It runs in a Python that has ``xllamacpp`` and the official client ``ollama``: the one that
``ABSTRACTCORE_TEST_EXTRAS_PYTHON`` names, by default this one. The model is the small one, whose file is fetched once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from abstractcore.deploy import runtime, small_model
from abstractcore.settings import cache_dir
from tests.recordings import OLLAMA

SCRIPT: Final = Path(__file__).parents[2] / "scripts" / "ollama_double.py"


@dataclass(frozen=True)
class Double:
    """A double that answers."""

    url: str

    def runner(self) -> int | None:
        """The process that has the model."""
        with urlopen(f"{self.url}/double", timeout=10) as answer:
            found: int | None = json.load(answer)["runner"]
        return found


def python() -> str:
    """A Python with xllamacpp and the official client."""
    chosen = os.environ.get("ABSTRACTCORE_TEST_EXTRAS_PYTHON", sys.executable)
    done = runtime.run((chosen, "-c", "import ollama, xllamacpp"), env=dict(os.environ))
    assert done.code == 0, (
        f"{chosen} lacks ollama or xllamacpp: pip install ollama xllamacpp, "
        f"or name another Python in ABSTRACTCORE_TEST_EXTRAS_PYTHON\n{done.tail}"
    )
    return chosen


@contextmanager
def running(*arguments: str) -> Iterator[Double]:
    """Runs a double while the block runs."""
    chosen = python()
    gguf = small_model.ensure_gguf(small_model.SMOLLM2, cache_dir(), python=Path(chosen))
    argv = [chosen, str(SCRIPT), "--gguf", str(gguf), "--recordings", str(OLLAMA / "exchanges.json.gz")]
    with subprocess.Popen([*argv, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, "the double did not start"
            yield Double(url)
        finally:
            process.terminate()
