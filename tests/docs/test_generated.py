"""The pages that are made of data are made of today's data."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.blocks import ROOT


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "scripts/make_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
