"""Each way in which ``up`` fails on the real daemon, with its cause in the first line of what the user reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.daemon import Docker
from tests.container.shell import Shell, free_port, problems_of

PROJECT = "abstractcore-test-failing"
NAMED = ("--project", PROJECT, "--no-client")
MEMLOCK = ("--allow", "memlock=8MiB")


@pytest.fixture(autouse=True)
def _nothing_is_left(docker: Docker) -> Iterator[None]:
    """After each of these, nothing of the deployment may be there."""
    yield
    for kind in ("container", "network", "volume"):
        every = ("--all",) if kind == "container" else ()
        left = docker(kind, "ls", *every, "--quiet", "--filter", f"label=io.abstractcore.project={PROJECT}")
        assert left == "", kind


def first_line(text: str) -> str:
    """The first line of the error, after the progress."""
    return next(line for line in text.splitlines() if line.startswith("error: "))


def test_memlock_that_the_daemon_may_not_raise(
    docker: Docker, shell: Shell, tiny_model: Path, empty_image: str
) -> None:
    refused = docker.run("run", "--rm", "--ulimit", "memlock=-1", "--entrypoint", "/nothing", empty_image).stderr
    done = shell.up(tiny_model, *NAMED, "--port", str(free_port()), "--dry-run")
    if "rlimit" not in refused:
        assert done.returncode == 0, done.stderr  # this daemon may
        return
    assert done.returncode == 3
    assert first_line(done.stderr) == "error: the engine may not raise memlock to unlimited"
    assert "error setting rlimit type 8: operation not permitted" in done.stderr
    assert "try: mend the host: " in done.stderr
    assert "try: go on with less, which is recorded: --allow memlock=" in done.stderr


def test_no_gpu_runtime(shell: Shell, tiny_model: Path) -> None:
    done = shell("up", str(tiny_model), *shell.options, *NAMED, *MEMLOCK, "--gpus", "1xL4", "--port", str(free_port()))
    assert done.returncode == 3
    assert first_line(done.stderr) == "error: the engine has no GPU runtime"
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr


def test_an_image_that_is_nowhere(shell: Shell, tiny_model: Path) -> None:
    image = "registry.invalid/vllm:v1"
    done = shell.up(tiny_model, *NAMED, *MEMLOCK, "--port", str(free_port()), "--image", image)
    assert done.returncode == 3
    assert first_line(done.stderr) == f"error: the image {image} is not here and can't be had"
    assert "lookup registry.invalid" in done.stderr


def test_weights_that_the_user_of_the_container_may_not_read(shell: Shell, tiny_model: Path, tmp_path: Path) -> None:
    model = closed(tiny_model, tmp_path)
    done = shell.up(model, *NAMED, *MEMLOCK, "--port", str(free_port()), "--user", "1234:1234")
    assert done.returncode == 3
    assert first_line(done.stderr) == "error: the user 1234:1234 of the container may not read the weights"
    assert f"such as {model}/model.safetensors" in done.stderr
    assert f"chmod -R a+rX {model}" in done.stderr


def closed(model: Path, folder: Path) -> Path:
    """A copy of a model whose weights only their owner may read."""
    copy = folder / "closed"
    shutil.copytree(model, copy)
    (copy / "model.safetensors").chmod(0o600)
    return copy


def test_all_that_stands_in_the_way_is_said_at_once(
    docker: Docker, shell: Shell, tiny_model: Path, tmp_path: Path
) -> None:
    model = closed(tiny_model, tmp_path)
    taken = docker("create", "--name", f"{PROJECT}-vllm-server", "--label", "not=ours", shell.options[1])
    try:
        done = shell(
            "up", str(model), *shell.options, *NAMED, *MEMLOCK, "--gpus", "1xL4", "--image", "registry.invalid/vllm:v1",
            "--user", "1234:1234", "--port", str(free_port()), "--json",
        )  # fmt: skip
        found = problems_of(done)
        assert found.keys() == {"image.missing", "gpu.runtime", "name.taken", "weights.unreadable"}
        assert done.stderr.count("error: ") == len(found)
        assert docker("container", "inspect", "--format", "{{.State.Status}}", taken) == "created"
    finally:
        docker("rm", taken)


def test_64_mib_of_shared_memory(shell: Shell, tiny_model: Path) -> None:
    arguments = (*NAMED, "--profile", "private", "--shm-size", "64m")
    refused = shell.up(tiny_model, *arguments)
    assert refused.returncode == 3
    assert first_line(refused.stderr) == "error: the shared memory is too small: 64MiB, vLLM needs 256MiB"

    done = shell.up(tiny_model, *arguments, "--allow", "shm=64MiB")
    assert done.returncode == 1
    assert first_line(done.stderr) == (
        "error: the shared memory of the container is too small: vLLM needs 160 MiB in /dev/shm, 64 MiB are free"
    )
    assert "try: --profile host (--ipc=host), or a larger --shm-size such as 1g" in done.stderr
    log = shell.state / "abstractcore" / PROJECT / "failed.log"
    assert str(log) in done.stderr
    assert "Engine core initialization failed. See root cause above." in log.read_text()


def test_arguments_that_vllm_refuses(shell: Shell, tiny_model: Path) -> None:
    wrong = json.dumps({"disable_any_whitespace": True})
    arguments = (*NAMED, "--profile", "private", "--", "--structured-outputs-config", wrong)
    done = shell.up(tiny_model, *arguments)
    assert done.returncode == 1
    assert first_line(done.stderr).startswith(
        "error: vLLM refuses its arguments: argument --structured-outputs-config: 1 validation error"
    )


def test_no_daemon(shell: Shell, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    done = shell.up(tiny_model, *NAMED)
    assert done.returncode == 1
    assert first_line(done.stderr) == "error: no Docker daemon answers"
    monkeypatch.undo()
