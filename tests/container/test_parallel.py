"""The real vLLM with two ranks in one container, on the CPU, and a client in another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from abstractcore.deploy.container import Mount
from tests.container import real_server
from tests.container.conftest import Containers
from tests.container.daemon import Docker

KEY: Final = "opens-nothing-but-this"
NO_BINDING: Final = "nobind"
"""Left alone, the CPU build gives each rank a NUMA node of its own, and refuses to start where there is one only."""
ASK: Final = """\
import json, os, sys, urllib.error, urllib.request
for path, body in json.loads(sys.argv[1]):
    data = json.dumps(body).encode() if body else None
    asked = urllib.request.Request(sys.argv[2] + path, data, {"content-type": "application/json"})
    try:
        print(path, urllib.request.urlopen(asked, timeout=60).status)
    except urllib.error.HTTPError as error:
        print(path, error.code)
"""


@pytest.fixture(scope="module")
def two_ranks(
    docker: Docker, server_image: str, server_mounts: tuple[Mount, ...], tiny_model: Path, client_image: str
) -> Iterator[tuple[str, str]]:
    """A server with a key, and the network it is on."""
    made = Containers(docker)
    try:
        network = made.network()
        options = real_server.options(server_mounts, tiny_model)
        environment = ("--env", f"VLLM_API_KEY={KEY}", "--env", f"VLLM_CPU_OMP_THREADS_BIND={NO_BINDING}")
        name = made.start(
            server_image,
            *real_server.arguments("--tensor-parallel-size", "2"),
            options=(*options, "--network", network, "--shm-size", "1g", *environment),
        )
        docker.wait(name, "healthy", limit=real_server.LIMIT)
        yield name, network
    finally:
        made.remove()


def test_two_ranks_answer_a_client_in_its_own_container(
    docker: Docker, two_ranks: tuple[str, str], client_image: str, tmp_path: Path
) -> None:
    server, network = two_ranks
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    me = f"{os.getuid()}:{os.getgid()}"
    place = ("--network", network, "--env", f"VLLM_BASE_URL=http://{server}:8000/v1")
    rights = ("--user", me, "--volume", f"{key}:/run/key:ro", "--env", "VLLM_API_KEY_FILE=/run/key")
    asked = ("abstractcore", "ask", "A number", "--guided-regex", "[0-9]{3}")
    done = docker.run("run", "--rm", *place, *rights, client_image, *asked, limit=300)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch("[0-9]{3}", done.stdout.strip())
    assert "world_size=2" in docker.logs(server)


def test_a_key_does_not_lock_every_door(docker: Docker, two_ranks: tuple[str, str], client_image: str) -> None:
    """Why a server with a key still belongs on a network of its own."""
    import json

    server, network = two_ranks
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
    doors = [("/v1/models", None), ("/v1/chat/completions", chat), ("/invocations", chat), ("/metrics", None)]
    asked = ("python3", "-c", ASK, json.dumps(doors), f"http://{server}:8000")
    said = docker("run", "--rm", "--network", network, client_image, *asked, limit=300)
    assert said.splitlines() == [
        "/v1/models 401",
        "/v1/chat/completions 401",
        "/invocations 200",
        "/metrics 200",
    ]
