"""The seed's five flags: real Docker takes them and says that they are in force, from a run command and from compose.

The containers are made and not started: no GPU is needed for that, nor the right to raise limits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

import pytest

from abstractcore.deploy.choose import Wish
from abstractcore.deploy.container import CLIENT, SERVER, Deployment
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.options import LaunchOptions
from abstractcore.deploy.plan import make_plan
from abstractcore.deploy.profiles import deployment
from abstractcore.deploy.render import compose as compose_file
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
        "gpus": [(row["Count"], row["DeviceIDs"] or None, row["Capabilities"]) for row in host["DeviceRequests"]],
        "ulimits": {row["Name"]: (row["Soft"], row["Hard"]) for row in host["Ulimits"]},
    }


FIVE: Final = {
    "ipc": "host",
    "network": "host",
    "gpus": [(-1, None, [["gpu"]])],
    "ulimits": {"memlock": (-1, -1), "stack": (STACK, STACK)},
}


Make: TypeAlias = Callable[..., Deployment]


@pytest.fixture
def planned(containers: Containers, empty_image: str, client_image: str, tmp_path: Path) -> Make:
    """Makes a server for some L4 with a client, whose images and key are there."""
    key = tmp_path / "key"
    key.write_text("opens-nothing")
    project = containers.claim()
    common = {"key_file": PurePosixPath(key), "image": empty_image, "client_image": client_image, "project": project}

    def make(gpus: str = "4xL4", **options: Any) -> Deployment:
        plan = make_plan(card("Qwen2.5-Coder-7B"), parse_gpus(gpus), Wish(context=8192))
        made = deployment(plan, LaunchOptions(**{"model": "Qwen/Qwen2.5-Coder-7B", **common, **options}))
        for volume in made.volumes:
            containers.claim_volume(volume.name)
        return made

    return make


class Compose:
    """A deployment through a compose file, made and not started."""

    def __init__(self, docker: Docker, folder: Path, made: Deployment) -> None:
        self._docker = docker
        self._file = folder / "compose.yaml"
        self._file.write_text(compose_file.text(made), encoding="utf-8")
        self.project = made.project

    def __call__(self, *arguments: str) -> str:
        return self._docker("compose", "--file", str(self._file), *arguments)

    def inspect(self, service: str) -> dict[str, Any]:
        """What the daemon says of the one container of a service."""
        return self._docker.inspect(self("ps", "--all", "--quiet", service))


@pytest.fixture
def composed(docker: Docker, tmp_path: Path) -> Iterator[Callable[[Deployment], Compose]]:
    """Makes the containers of a deployment by ``docker compose create``; they are removed at the end."""
    files: list[Compose] = []

    def create(made: Deployment) -> Compose:
        files.append(Compose(docker, tmp_path, made))
        files[-1]("config", "--quiet")
        files[-1]("create")
        return files[-1]

    yield create
    for file in files:
        file("down", "--volumes")


def test_docker_takes_the_flags_as_the_seed_writes_them(
    docker: Docker, containers: Containers, empty_image: str
) -> None:
    name = containers.create(empty_image, "true", options=SEED)
    assert in_force(docker.inspect(name)["HostConfig"]) == FIVE


def test_the_rendered_command_has_them_in_force(docker: Docker, containers: Containers, planned: Make) -> None:
    spec = replace(planned().server, name=containers.claim())
    docker(*run_command.create_argv(spec))
    host = docker.inspect(spec.name)["HostConfig"]
    assert in_force(host) == FIVE
    assert host["PortBindings"] in ({}, None)


def test_gpus_by_number_are_those_and_no_others(docker: Docker, containers: Containers, planned: Make) -> None:
    spec = replace(planned("2xL4", gpu_ids=("1", "3")).server, name=containers.claim())
    docker(*run_command.create_argv(spec))
    assert in_force(docker.inspect(spec.name)["HostConfig"])["gpus"] == [(0, ["1", "3"], [["gpu"]])]


def test_the_rendered_compose_file_has_them_in_force(planned: Make, composed: Callable[[Deployment], Compose]) -> None:
    made = planned()
    running = composed(made)
    assert in_force(running.inspect(SERVER)["HostConfig"]) == FIVE
    assert running.inspect(CLIENT)["HostConfig"]["DeviceRequests"] in ([], None)
    assert f"VLLM_BASE_URL={made.base_url}" in running.inspect(CLIENT)["Config"]["Env"]


def test_compose_gives_gpus_by_number(planned: Make, composed: Callable[[Deployment], Compose]) -> None:
    running = composed(planned("2xL4", gpu_ids=("1", "3")))
    assert in_force(running.inspect(SERVER)["HostConfig"])["gpus"] == [(0, ["1", "3"], [["gpu"]])]


@pytest.mark.parametrize("profile", ["private", "sealed"])
def test_compose_takes_the_other_profiles_and_publishes_nothing(
    planned: Make, composed: Callable[[Deployment], Compose], tmp_path: Path, profile: str
) -> None:
    made = planned(profile=profile, weights=PurePosixPath(tmp_path))
    found = composed(made).inspect(SERVER)
    assert found["HostConfig"]["PortBindings"] in ({}, None)
    assert found["HostConfig"]["IpcMode"] == "private"
    assert found["HostConfig"]["ShmSize"] == made.server.shm_size
    assert found["HostConfig"]["NetworkMode"] == made.server.network
    assert found["HostConfig"]["ReadonlyRootfs"] is (profile == "sealed")


SHELL: Final = 'a"; touch /tmp/pwned; echo $HOME `id` "'


def test_a_model_name_with_shell_characters_stays_one_argument(
    docker: Docker, containers: Containers, planned: Make, composed: Callable[[Deployment], Compose]
) -> None:
    made = planned(model=SHELL)
    spec = replace(made.server, name=containers.claim())
    docker(*run_command.create_argv(spec))
    for found in (docker.inspect(spec.name), composed(made).inspect(SERVER)):
        arguments = found["Config"]["Cmd"]
        assert arguments[arguments.index("--model") + 1] == SHELL


def test_a_start_without_a_gpu_runtime_fails_in_the_words_that_the_catalogue_knows(
    docker: Docker, containers: Containers, empty_image: str
) -> None:
    if "nvidia" in json.loads(docker("info", "--format", "{{json .Runtimes}}")):
        pytest.skip("this daemon has a GPU runtime")
    done = docker.run("start", containers.create(empty_image, "true", options=("--gpus", "all")))
    assert done.returncode == 1
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr
