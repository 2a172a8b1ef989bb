"""`make audit` says what it knows, and that it knows nothing where it could look nothing up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / "scripts" / "audit.py"
CLEAN = {"name": "click", "version": "8.5", "vulns": []}
BAD = {"name": "click", "version": "8.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["8.5"]}]}
OURS = {"name": "abstractcore", "skip_reason": "not on PyPI"}
UNKNOWN = {"name": "msgspec", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("rows", "status", "said"),
    [
        ([CLEAN, OURS], 0, "0 known vulnerabilities in 2 packages"),
        ([CLEAN, BAD], 1, "click 8.0: PYSEC-1, mended in 8.5"),
        ([CLEAN, UNKNOWN], 2, "1 of 2 packages could not be looked up, such as msgspec"),
        ([BAD, UNKNOWN], 2, "PYSEC-1"),
        (None, 2, "it is not known whether the packages here are safe"),
    ],
)
def test_what_an_audit_says(tmp_path: Path, rows: list[dict[str, Any]] | None, status: int, said: str) -> None:
    answer = "no route to host" if rows is None else json.dumps({"dependencies": rows})
    (tmp_path / "pip_audit").mkdir()
    (tmp_path / "pip_audit" / "__main__.py").write_text(f"print({answer!r})")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, AUDIT], env=environ, capture_output=True, text=True)
    assert done.returncode == status
    assert said in done.stdout
