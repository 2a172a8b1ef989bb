"""Where the recordings of the contract are, and how they are kept: one compressed file for each case of a backend."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Final

from tests.conftest import TESTS

FOLDER: Final = TESTS / "recordings" / "contract"
RECORD: Final = "ABSTRACTCORE_RECORD_CONTRACT"
"""Set by the script: the folder that takes new recordings."""


def path_of(provider: str, case: str, folder: Path = FOLDER) -> Path:
    """The recording of a case."""
    return folder / provider / f"{case}.jsonl.gz"


def recording_folder() -> Path | None:
    """Where to record; ``None`` to record nothing."""
    chosen = os.environ.get(RECORD)
    return Path(chosen) if chosen else None


def pack(lines: Path, target: Path) -> None:
    """Keeps a recording; an empty one, of a case that asks nothing, is kept too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(lines.read_bytes(), 9, mtime=0))


def unpack(source: Path, lines: Path) -> None:
    """Makes a recording readable."""
    lines.write_bytes(gzip.decompress(source.read_bytes()))
