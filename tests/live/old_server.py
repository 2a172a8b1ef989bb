"""vLLM 0.10.2, which speaks only ``guided_*``: built and served by the scripts of this repository."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from abstractcore.deploy import runtime
from abstractcore.deploy.progress import Progress, Report
from abstractcore.deploy.vllm_server import LORA_ARGS, TOOL_ARGS, ServerSpec
from abstractcore.settings import cache_dir

VERSION: Final = "0.10.2"
SCRIPTS: Final = Path(__file__).parents[2] / "scripts"
MODEL: Final = "tiny"


def spec(port: int, report: Report, *more: str) -> ServerSpec:
    """How it is served; what is missing of it is made first, which takes some minutes."""
    script = _script()
    folder: Path = script.cache() / "vllm" / f"cpu-{VERSION}"
    if not script.is_complete(folder, VERSION):
        if not os.environ.get("CI"):
            pytest.skip(
                f"there is no vLLM {VERSION} here; python scripts/old_vllm.py build {VERSION} makes it (1.2 GB)"
            )
        report(Progress("install", f"building vLLM {VERSION}"))
        _run(sys.executable, str(SCRIPTS / "old_vllm.py"), "build", VERSION)
    python: Path = script.python(folder)
    made = model_folder()
    if not (made / "model").exists():
        report(Progress("model", "making a tiny model and two adapters"))
        _run(str(python), str(SCRIPTS / "make_old_tiny_model.py"), str(made))
    arguments = (*script.ARGUMENTS, *LORA_ARGS, *TOOL_ARGS, *more)
    return ServerSpec(python, made / "model", MODEL, port, arguments, script.environment(folder, VERSION))


def model_folder() -> Path:
    """Where the model is, beside its adapters ``adapter-a`` and ``adapter-b``."""
    return cache_dir() / "models" / "old-tiny"


def _script() -> Any:
    """The script that builds and serves old releases, as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("old_vllm")


def _run(*argv: str) -> None:
    done = runtime.run(argv, env=os.environ)
    assert done.code == 0, "\n".join(done.tail)
