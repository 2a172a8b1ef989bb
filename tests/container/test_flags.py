"""The seed's five flags: real Docker takes them and says that they are in force, from a run command and from compose.

The containers are made and not started: no GPU is needed for that, nor the right to raise limits.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest

from abstractcore.deploy.choose import Wish
from abstractcore.deploy.container import Deployment
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.options import LaunchOptions
from abstractcore.deploy.plan import make_plan
from abstractcore.deploy.profiles import deployment
from abstractcore.deploy.render import docker as run_command
from tests.container.conftest import Containers
from tests.container.daemon import Docker
from tests.unit.deploy.goldens import card

STACK: Final = 67108864
SEED: Final = (
    "--ipc=host", "--network=host", "--gpus", "all", "--ulimit", "memlock=-1", "--ulimit", f"stack={STACK}",
)  # fmt: skip


def in_force(host: dict[str, Any]) -> dict[str, Any]:
    """The five flags, by what inspect says."""
    return {
        "ipc": host["IpcMode"],
        "network": host["NetworkMode"],
        "gpus": [(row["Count"], row["DeviceIDs"], row["Capabilities"]) for row in host["DeviceRequests"]],
        "ulimits": {row["Name"]: (row["Soft"], row["Hard"]) for row in host["Ulimits"]},
    }


FIVE: Final = {
    "ipc": "host",
    "network": "host",
    "gpus": [(-1, None, [["gpu"]])],
    "ulimits": {"memlock": (-1, -1), "stack": (STACK, STACK)},
}


@pytest.fixture
def planned(containers: Containers, empty_image: str, tmp_path: Path) -> Deployment:
    """A server for four L4 in the host profile, whose image and key are there."""
    key = tmp_path / "key"
    key.write_text("opens-nothing")
    plan = make_plan(card("Qwen2.5-Coder-7B"), parse_gpus("4xL4"), Wish(context=8192))
    project = containers.claim()
    containers.claim_volume(f"{project}-cache")
    key_file = PurePosixPath(key)
    options = LaunchOptions(model="Qwen/Qwen2.5-Coder-7B", key_file=key_file, image=empty_image, project=project)
    return deployment(plan, options)


def test_docker_takes_the_flags_as_the_seed_writes_them(
    docker: Docker, containers: Containers, empty_image: str
) -> None:
    name = containers.create(empty_image, "true", options=SEED)
    assert in_force(docker.inspect(name)["HostConfig"]) == FIVE


def test_the_rendered_command_has_them_in_force(docker: Docker, containers: Containers, planned: Deployment) -> None:
    spec = replace(planned.server, name=containers.claim())
    docker(*run_command.create_argv(spec))
    host = docker.inspect(spec.name)["HostConfig"]
    assert in_force(host) == FIVE
    assert host["PortBindings"] in ({}, None)


def test_gpus_by_number_are_those_and_no_others(docker: Docker, containers: Containers, planned: Deployment) -> None:
    assert planned.server.gpus is not None
    spec = replace(planned.server, name=containers.claim(), gpus=replace(planned.server.gpus, ids=("1", "3")))
    docker(*run_command.create_argv(spec))
    rows = docker.inspect(spec.name)["HostConfig"]["DeviceRequests"]
    assert [(row["Count"], row["DeviceIDs"], row["Capabilities"]) for row in rows] == [(0, ["1", "3"], [["gpu"]])]


def test_a_start_without_a_gpu_runtime_fails_in_the_words_that_the_catalogue_knows(
    docker: Docker, containers: Containers, empty_image: str
) -> None:
    if "nvidia" in json.loads(docker("info", "--format", "{{json .Runtimes}}")):
        pytest.skip("this daemon has a GPU runtime")
    done = docker.run("start", containers.create(empty_image, "true", options=("--gpus", "all")))
    assert done.returncode == 1
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr
