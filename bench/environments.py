"""The environments of what is measured beside ours: each in a folder of its own below the cache, made when missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from load_source import cache


def environment(packages: tuple[str, ...]) -> Path:
    """The folder of programs of an environment that has these packages.

    Raises:
        CalledProcessError: They can't be installed.
    """
    folder = cache() / re.sub(r"[^\w.-]+", "-", "-".join(packages)).strip("-")
    if not (folder / "complete").exists():
        print(f"Installing {', '.join(packages)} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
        subprocess.run([*pip, *packages], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def installed(programs: Path, package: str) -> str:
    """The version of a package in an environment."""
    name = re.split(r"[^\w.-]", package)[0]
    argv = [str(programs / "python"), "-c", f"from importlib.metadata import version; print(version({name!r}))"]
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
