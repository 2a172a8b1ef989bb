"""What Docker's usual 64 MiB of shared memory do to the real vLLM."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from abstractcore.cli.main import cli
from abstractcore.deploy.container import Mount
from abstractcore.deploy.vllm_server import died
from tests.container import real_server
from tests.container.conftest import Containers
from tests.container.daemon import Docker


def test_a_server_with_the_usual_shared_memory_dies_and_its_log_names_the_cause(
    docker: Docker, containers: Containers, server_image: str, server_mounts: tuple[Mount, ...], tiny_model: Path
) -> None:
    options = (*real_server.options(server_mounts, tiny_model), "--network", "none")
    name = containers.start(server_image, *real_server.arguments(), options=options)
    log = real_server.ended(docker, name)
    assert docker.inspect(name)["HostConfig"]["ShmSize"] == 64 * 2**20
    assert docker.inspect(name)["State"]["ExitCode"] == 1
    assert "160 MiB required, 64 MiB free" in log
    error = died(log.splitlines(), "the log")
    assert error.message == "vLLM ended while it was starting: the shared memory /dev/shm is too small"
    assert error.why is not None
    assert "Increase /dev/shm" in error.why
    found = json.loads(CliRunner().invoke(cli, ["doctor", "--json", "--server", name, "--only", "container"]).stdout)
    (running,) = [row for row in found["findings"] if row["id"] == "container.running"]
    assert running["measured"].startswith("the shared memory of the container is too small")
    assert "--shm-size" in running["cure"]
