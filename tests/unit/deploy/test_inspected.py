"""What is in force, by what a real Docker said of real containers."""

from __future__ import annotations

import pytest

from abstractcore.deploy.container import Gpus, Port, Ulimit
from abstractcore.deploy.inspected import HIDDEN, is_secret, read_container, read_image

from .engine_recordings import image, recorded


def test_the_host_profile_with_two_gpus() -> None:
    found = read_container(recorded("host").server)
    assert found.gpus == Gpus(("0", "1"))
    assert (found.ipc, found.network, found.networks) == ("host", "host", ("host",))
    assert found.ulimits == (Ulimit("memlock", 8 * 2**20), Ulimit("stack", 64 * 2**20))
    assert found.shm_size is None  # Docker says 64 MiB, which means nothing under ipc=host
    assert (found.restart, found.cap_drop, found.read_only, found.privileged) == (
        "on-failure:5",
        ("ALL",),
        False,
        False,
    )
    assert found.state.status == "created"
    assert found.state.started is None


def test_unlimited_memlock() -> None:
    assert read_container(recorded("host-cpu").server).ulimits[0] == Ulimit("memlock", -1)


def test_the_private_profile_with_a_published_port() -> None:
    planned = recorded("private").deployment.server
    found = read_container(recorded("private").server)
    assert found.ports == (Port(8000, 18000, "127.0.0.1"),)
    assert found.shm_size == planned.shm_size
    assert "vllm-server" in found.aliases
    assert found.gpus is None
    assert found.healthcheck == planned.healthcheck
    assert found.stop_grace == planned.stop_grace


def test_the_sealed_profile() -> None:
    found = read_container(recorded("sealed").server)
    assert (found.network, found.read_only, found.gpus) == ("none", True, Gpus())
    assert found.tmpfs == {"/tmp": "rw,exec,nosuid,nodev,mode=1777"}
    assert {mount.target: mount.kind for mount in found.mounts}["/run/vllm"] == "volume"
    assert {mount.target: mount.read_only for mount in found.mounts}["/models/model"] is True


def test_secrets_are_not_read() -> None:
    document = recorded("host").server
    document["Config"]["Env"] += ["HF_TOKEN=hf_secret", "VLLM_API_KEY=sk-secret", "NCCL_P2P_DISABLE=1"]
    document["Config"]["Cmd"] += ["--api-key", "sk-secret", "--hf-token=hf_secret", "--port", "1"]
    found = read_container(document)
    assert found.environment["HF_TOKEN"] == found.environment["VLLM_API_KEY"] == HIDDEN
    assert found.environment["NCCL_P2P_DISABLE"] == "1"
    assert found.argv[-5:] == ("--api-key", HIDDEN, f"--hf-token={HIDDEN}", "--port", "1")
    assert "secret" not in repr(found).replace("secrets", "")


@pytest.mark.parametrize(
    ("name", "secret"),
    [("VLLM_API_KEY", True), ("HF_TOKEN", True), ("PASSWORD", True), ("VLLM_API_KEY_FILE", False), ("MONKEY", False)],
)
def test_which_names_are_secret(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_a_container_that_has_run() -> None:
    document = recorded("private").server
    document["State"] |= {
        "Status": "running", "Running": True, "StartedAt": "2026-11-22T02:08:45.570318138Z",
        "Health": {"Status": "healthy"},
    }  # fmt: skip
    document["RestartCount"] = 2
    state = read_container(document).state
    assert state.running
    assert (state.health, state.restarts, state.started) == ("healthy", 2, "2026-11-22T02:08:45.570318138Z")


def test_an_image() -> None:
    found = read_image(image())
    assert found.command == ("/nothing",)
    assert found.environment["FROM_THE_IMAGE"] == "1"
    assert found.id.startswith("sha256:")
