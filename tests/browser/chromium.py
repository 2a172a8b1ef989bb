"""A real Chromium: the one of this machine, or one that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from abstractcore.deploy.progress import Progress, Report

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
BUNDLES: Final = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)
VARIABLE: Final = "ABSTRACTCORE_TEST_CHROMIUM"
APT: Final = ("apt-get", "install", "--yes", "--no-install-recommends")
HOW: Final = f"install Chromium, name one in {VARIABLE}, or run the tests as root on Debian, where they install it"


def ensure(report: Report) -> Path:
    """The browser's program; installed from Debian's packages where that is possible and nothing is there."""
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install(report)
        found = find()
    if found is None:
        pytest.skip(f"no Chromium: {HOW}")
    return found


def find() -> Path | None:
    """The browser's program, if there is one."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    on_path = next(filter(None, map(shutil.which, NAMES)), None)
    return Path(on_path) if on_path else next((path for path in BUNDLES if path.exists()), None)


def install(report: Report) -> None:
    """Installs browser and a font from Debian's packages."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    report(Progress("install", "chromium by apt-get (about 125 MB)"))
    _must(("apt-get", "update"), env)
    _must((*APT, "chromium", "fonts-dejavu-core"), env)


def _must(argv: Sequence[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
