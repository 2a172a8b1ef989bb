"""Compares what is installed here with the advisories that PyPI knows; needs the network.

pip-audit ends well where it could look nothing up: each package it has no answer for is "skipped". That is no answer
of this program: it says that it does not know.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

OURS: Final = "abstractcore"
SECONDS: Final = 300


def main() -> int:
    """Asks, and tells.

    Returns:
        0: nothing is known against any package; 1: something is; 2: it could not be found out.
    """
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        rows: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _unknown(f"no answer within {SECONDS} s")
    except (ValueError, KeyError):
        return _unknown(done.stderr.strip().rpartition("\n")[2])
    skipped = [row["name"] for row in rows if "skip_reason" in row and row["name"] != OURS]
    bad = [(row, known) for row in rows for known in row.get("vulns", ())]
    for row, known in bad:
        print(f"{row['name']} {row['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'none'}")
    if skipped:
        return _unknown(f"{len(skipped)} of {len(rows)} packages could not be looked up, such as {skipped[0]}")
    print(f"{len(bad)} known vulnerabilities in {len(rows)} packages")
    return 1 if bad else 0


def _unknown(why: str) -> int:
    print(f"error: it is not known whether the packages here are safe\nwhy:   {why}\ntry:   where there is a network")
    return 2


if __name__ == "__main__":
    sys.exit(main())
