"""Makes the environment of the live tests, unless it is there, and prints the path of its Python.

It holds what those tests compare with or run in this process: torch, transformers, MLX, llama.cpp, the official SDKs.
`.venv` stays small without them. It lies in abstractcore's cache folder, under a name made of what it holds: a change
of the groups in pyproject.toml makes another one, and those that nobody has used for two weeks are removed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Final

from abstractcore.cli.main import show
from abstractcore.cli.progress import ProgressLine
from abstractcore.deploy import runtime
from abstractcore.deploy.local_vllm import Step, child_env, cpu_torch, failure
from abstractcore.deploy.lock import locked
from abstractcore.deploy.pip_progress import PipProgress
from abstractcore.deploy.progress import Progress, Report
from abstractcore.errors import AbstractCoreError
from abstractcore.settings import cache_dir

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
RECIPE: Final = "1"
"""To be counted up when what is done with the requirements changes."""
DOWNLOAD: Final = 0.45e9
"""Bytes, about."""
UNUSED: Final = 14 * 86400.0
"""Seconds after which an environment that nobody asked for is removed."""
MISFITS: Final = ("torchvision", "torchaudio", "torchcodec")
"""Those of PyPI don't fit torch's CPU build, and transformers imports them where they are."""
LAUNCHER: Final = "#!{python}\nfrom abstractcore.cli.main import main\n\nmain()\n"


def requirements(project: dict[str, Any], group: str = "live") -> list[str]:
    """What a group of pyproject.toml asks for, the groups that it includes too."""
    found: list[str] = []
    for entry in project["dependency-groups"][group]:
        found += requirements(project, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def folder_for(wanted: list[str]) -> Path:
    """Where an environment with this content lies."""
    facts = "\n".join([RECIPE, sys.version, *sorted(wanted)])
    return cache_dir() / "live" / hashlib.sha256(facts.encode()).hexdigest()[:12]


def ensure(report: Report) -> Path:
    """The environment's Python; made when missing. Two runs at once don't collide."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *requirements(project)]
    folder = folder_for(wanted)
    python, marker = folder / "bin" / "python", folder / "complete"
    with locked(folder.with_name(f".{folder.name}.lock"), lambda: report(Progress("live", "another run makes it"))):
        if not (marker.exists() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            make(folder, python, wanted, report)
        marker.touch()
        remove_unused(folder)
    return python


def make(folder: Path, python: Path, wanted: list[str], report: Report) -> None:
    """Installs everything; a failure leaves a folder without its marker, which the next run replaces."""
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input")
    torch = cpu_torch(str(python)) if sys.platform == "linux" else None
    perform(Step("making a virtual environment", (sys.executable, "-m", "venv", str(folder))), folder, report)
    if torch:
        perform(torch, folder, report)
    left = DOWNLOAD - (torch.download if torch else 0)
    perform(Step("the rest", (*pip, "install", *wanted), tries=2, download=left), folder, report)
    perform(Step("removing what doesn't fit", (*pip, "uninstall", "--yes", *MISFITS)), folder, report)
    launcher = folder / "bin" / "abstractcore"
    launcher.write_text(LAUNCHER.format(python=python), encoding="utf-8")
    launcher.chmod(0o755)
    shutil.rmtree(folder / "tmp", ignore_errors=True)


def perform(step: Step, folder: Path, report: Report) -> None:
    """Runs one command, again where that may help."""
    scratch = folder / "tmp"
    env = child_env(os.environ) | ({"TMPDIR": str(scratch)} if folder.exists() else {})
    if folder.exists():
        scratch.mkdir(exist_ok=True)
    for _ in range(step.tries):
        progress = PipProgress(step.text, folder=folder, scratch=scratch, expected=step.download, report=report)
        done = runtime.run(step.argv, env=env, on_line=progress.line, on_tick=progress.tick)
        if done.code == 0:
            return
    raise failure(step, done, "the environment of the live tests")


def remove_unused(kept: Path) -> None:
    """Removes the environments that nobody has asked for in a while."""
    for marker in kept.parent.glob("*/complete"):
        if marker.parent != kept and time.time() - marker.stat().st_mtime > UNUSED:
            shutil.rmtree(marker.parent, ignore_errors=True)


def main() -> None:
    """Prints the path of the Python on standard output, everything else on standard error."""
    try:
        with ProgressLine(sys.stderr) as report:
            print(ensure(report))
    except AbstractCoreError as error:
        show(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
