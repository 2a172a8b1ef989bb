"""Records what the real backends of the contract answer, for the unit tier: ``record_contract.py [PROVIDER ...]``.

Runs ``tests/live/test_contract.py`` with this Python, so it needs what the live tests need.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "tests" / "recordings" / "contract"


def main() -> int:
    """Records all providers, or those that are named."""
    chosen = " or ".join(f"{name}-" for name in sys.argv[1:])
    for name in sys.argv[1:] or [folder.name for folder in FOLDER.glob("*")]:
        for old in (FOLDER / name).glob("*.jsonl.gz"):
            old.unlink()
    argv = [sys.executable, "-m", "pytest", "tests/live/test_contract.py", *(["-k", chosen] if chosen else [])]
    env = {**os.environ, "ABSTRACTCORE_RECORD_CONTRACT": str(FOLDER)}
    return subprocess.run(argv, check=False, cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
