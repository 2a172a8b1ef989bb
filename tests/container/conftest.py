"""Real containers: a daemon, images without a registry, and the real vLLM on the CPU inside.

All is made when it is missing: as root on Debian also Docker itself. While developing, a running daemon is used, and
images, installed parts and models are found again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from abstractcore.deploy import local_vllm, small_model
from abstractcore.deploy.container import Mount
from abstractcore.settings import cache_dir
from tests.container import daemon, images
from tests.container.daemon import Docker
from tests.container.shell import Shell, launch_options
from tests.live.conftest import Shown, environment, make, show

__all__ = ["environment", "show"]


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory, show: Shown) -> Iterator[Docker]:
    """A daemon that answers, with Compose as ``docker compose``; the whole process sees the same."""
    folder = tmp_path_factory.mktemp("docker")
    with show() as report, daemon.running(folder, report) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in daemon.configuration(report).items():
            patch.setenv(name, value)
        yield found


@pytest.fixture(scope="session")
def server_image(docker: Docker, environment: local_vllm.Environment) -> str:
    """Tag of an image whose ``vllm serve`` is the real vLLM on the CPU; it needs ``server_mounts``."""
    return images.server(docker, environment.python)


@pytest.fixture(scope="session")
def server_mounts(environment: local_vllm.Environment) -> tuple[Mount, ...]:
    """What the server image lives off: the host's userland and the installed vLLM, all read-only at their own paths."""
    base = images.base_prefix(environment.python)
    folders = [Path("/usr"), environment.folder, *([] if base.is_relative_to("/usr") else [base])]
    if Path("/etc/alternatives").exists():
        folders.append(Path("/etc/alternatives"))
    return tuple(Mount(str(folder), str(folder), read_only=True) for folder in folders)


@pytest.fixture(scope="session")
def empty_image(docker: Docker) -> str:
    """Tag of an image with empty folders, for containers that are made but not started."""
    return images.skeleton(docker)


@pytest.fixture(scope="session")
def client_image(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tag of ``chatbot-main-gpu-agent``, built from our own Dockerfile with this source tree in it."""
    return images.client(docker, tmp_path_factory.mktemp("client-image"))


@pytest.fixture(scope="session")
def model_folder(environment: local_vllm.Environment, show: Shown) -> Path:
    """A small real chat model, SmolLM2-135M-Instruct."""
    with show() as report:
        return small_model.ensure_model(small_model.SMOLLM2, environment.python, cache_dir(), report)


@pytest.fixture(scope="session")
def tiny_model(environment: local_vllm.Environment, show: Shown) -> Path:
    """A tiny random Qwen2: it answers fast, and nonsense; its heads can be divided among two ranks."""
    folder = cache_dir() / "models" / "tiny-qwen2"
    with show() as report:
        make(environment, folder, ["model"], report)
    return folder


@pytest.fixture(scope="session")
def shell(
    docker: Docker,
    server_image: str,
    client_image: str,
    server_mounts: tuple[Mount, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Shell:
    """The command line, with the images that are made here."""
    return Shell(tmp_path_factory.mktemp("state"), launch_options(server_image, client_image, server_mounts))


class Containers:
    """Containers and networks of one test; all are removed when it ends."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self._names: list[str] = []
        self._networks: list[str] = []
        self._volumes: list[str] = []

    def start(self, image: str, *command: str, options: tuple[str, ...] = (), name: str | None = None) -> str:
        """Runs a container in the background, and gives its name."""
        name = self.claim(name)
        self._docker("run", "--detach", "--name", name, *options, image, *command)
        return name

    def create(self, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Makes a container without starting it, and gives its name."""
        name = self.claim()
        self._docker("create", "--name", name, *options, image, *command)
        return name

    def network(self) -> str:
        """Makes a user network, and gives its name."""
        name = f"abstractcore-test-{uuid4().hex[:8]}"
        self._docker("network", "create", name)
        self._networks.append(name)
        return name

    def remove(self) -> None:
        """Removes all that was made."""
        if self._names:
            self._docker.run("rm", "--force", "--volumes", *self._names)
        if self._networks:
            self._docker("network", "rm", *self._networks)
        if self._volumes:
            self._docker.run("volume", "rm", "--force", *self._volumes)

    def claim(self, name: str | None = None) -> str:
        """A name for a container that is made elsewhere; it is removed too."""
        name = name or f"abstractcore-test-{uuid4().hex[:8]}"
        self._names.append(name)
        return name

    def claim_volume(self, name: str) -> str:
        """A volume that a container makes; it is removed too."""
        self._volumes.append(name)
        return name


@pytest.fixture
def containers(docker: Docker) -> Iterator[Containers]:
    """Makes containers and networks for one test."""
    made = Containers(docker)
    try:
        yield made
    finally:
        made.remove()


def mount_options(mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """Mounts as options of ``docker run``."""
    return tuple(
        part
        for mount in mounts
        for part in ("--volume", f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}")
    )
