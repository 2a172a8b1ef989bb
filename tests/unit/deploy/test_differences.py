"""What was made as planned has no differences; each change is found, and named by its flag."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore.deploy.differences import differences
from abstractcore.deploy.inspected import ImageDefaults, read_container, read_image

from .engine_recordings import KINDS, image, recorded


@pytest.mark.parametrize("kind", KINDS)
def test_containers_of_a_real_docker_are_as_planned(kind: str) -> None:
    found = recorded(kind)
    for spec in found.deployment.containers:
        in_force = read_container(found.containers[spec.name])
        assert differences(spec, in_force, read_image(image())) == ()
        assert differences(spec, in_force) == ()


def changed(kind: str, path: str, value: Any) -> list[str]:
    """The differences after one change in what inspect says."""
    found = recorded(kind)
    *folders, last = path.split(".")
    node = found.server
    for name in folders:
        node = node[name]
    node[last] = value
    rows = differences(found.deployment.server, read_container(found.server), read_image(image()))
    return [str(row) for row in rows]


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("host", "HostConfig.IpcMode", "private", "--ipc: planned host, in force private"),
        ("host", "HostConfig.NetworkMode", "bridge", "--network: planned host, in force bridge"),
        ("host", "HostConfig.DeviceRequests", None, "--gpus: planned 0,1, in force none"),
        ("host", "HostConfig.Ulimits", [], "--ulimit memlock: planned 8388608, in force not set"),
        ("private", "HostConfig.ShmSize", 67108864, "in force 67108864"),
        ("private", "HostConfig.PortBindings", {}, "--publish: planned 127.0.0.1:18000:8000, in force none"),
        (
            "private",
            "HostConfig.PortBindings",
            {"8000/tcp": [{"HostIp": "", "HostPort": "18000"}]},
            "--publish: planned 127.0.0.1:18000:8000, in force 0.0.0.0:18000:8000",
        ),
        ("host", "HostConfig.CapDrop", None, "--cap-drop: planned ALL, in force none"),
        ("host", "HostConfig.CapAdd", ["SYS_ADMIN"], "--cap-add: planned none, in force SYS_ADMIN"),
        ("host", "HostConfig.Privileged", True, "--privileged: planned no, in force yes"),
        ("host", "HostConfig.SecurityOpt", None, "--security-opt: planned no-new-privileges, in force none"),
        ("sealed", "HostConfig.ReadonlyRootfs", False, "--read-only: planned yes, in force no"),
        (
            "sealed",
            "HostConfig.Tmpfs",
            {},
            "--tmpfs /tmp: planned rw,exec,nosuid,nodev,mode=1777, in force not mounted",
        ),
        ("host", "HostConfig.RestartPolicy", {"Name": "always"}, "--restart: planned on-failure:5, in force always"),
        ("host", "Config.User", "", "--user: planned 1000:1000, in force the image's"),
        ("host", "Config.StopTimeout", 10, "in force 10"),
        ("host", "Config.Healthcheck", None, "in force none"),
        (
            "host",
            "Config.Labels",
            {},
            "--label io.abstractcore.project: planned abstractcore-recording, in force not set",
        ),
        ("host", "Mounts", [], "--mount /models/model: planned /host/model (bind, read-only), in force not mounted"),
        ("host", "Image", "sha256:" + "0" * 64, "in force 000000000000"),
    ],
)
def test_a_change_is_found(kind: str, path: str, value: Any, said: str) -> None:
    assert any(said in row for row in changed(kind, path, value)), changed(kind, path, value)


def test_a_changed_argument_is_named_alone() -> None:
    command = recorded("host").server["Config"]["Cmd"]
    at = command.index("--port")
    rows = changed("host", "Config.Cmd", [*command[: at + 1], "9000", *command[at + 2 :], "--disable-log-stats"])
    assert rows == [
        "vllm --port: planned 8000, in force 9000",
        "vllm --disable-log-stats: planned not given, in force given",
    ]


def test_another_program_is_told_whole_but_for_what_it_contains() -> None:
    (row,) = changed("host", "Config.Cmd", ["-c", "import os\nos.abort()"])
    assert row.endswith("in force python3 -c ...")


def test_variables_of_the_image_are_no_difference_and_others_are() -> None:
    env = recorded("host").server["Config"]["Env"]
    assert any(row.startswith("FROM_THE_IMAGE=") for row in env)
    assert changed("host", "Config.Env", [*env, "NCCL_P2P_DISABLE=1"]) == [
        "--env NCCL_P2P_DISABLE: planned not set, in force 1"
    ]
    short = [row for row in env if not row.startswith("HF_HUB_OFFLINE=")]
    assert changed("host", "Config.Env", short) == ["--env HF_HUB_OFFLINE: planned 1, in force not set"]


def test_a_second_network_is_a_difference() -> None:
    found = recorded("private")
    found.server["NetworkSettings"]["Networks"]["other"] = {}
    rows = differences(found.deployment.server, read_container(found.server))
    assert [str(row) for row in rows] == [
        "--network: planned abstractcore-recording, in force abstractcore-recording, other"
    ]


def test_what_the_plan_leaves_to_the_image_is_judged_by_the_image() -> None:
    found = recorded("host")
    client = found.deployment.client
    assert client is not None
    in_force = read_container(found.containers[client.name])
    other = ImageDefaults(command=("serve",), environment={"FROM_THE_IMAGE": "1"})
    assert [row.flag for row in differences(client, in_force, other)] == ["command"]
