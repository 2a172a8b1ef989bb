from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from abstractcore.cli.launching import default_user
from abstractcore.cli.main import cli
from abstractcore.cli.render import _NAMES
from abstractcore.deploy.render.targets import TARGETS
from abstractcore.errors import ConfigurationError

from .test_plan import folder


@pytest.fixture
def model(tmp_path: Path) -> str:
    return folder(tmp_path, "Qwen2.5-Coder-7B")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["render", *arguments])


def test_every_target_of_the_table_can_be_named() -> None:
    assert tuple(TARGETS) == _NAMES


def test_the_model_s_folder_is_mounted_and_the_key_is_a_file_of_ours(model: str) -> None:
    found = run("docker", model, "--gpus", "4xL4", "--context", "8192")
    assert found.exit_code == 0, found.output
    words = shlex.split(found.stdout.replace("\\\n", " "))
    assert any(word.startswith(f"type=bind,source={model},target=/models/") for word in words)
    key = Path.home() / ".local/state/abstractcore/abstractcore/vllm-api-key"
    assert f"type=bind,source={key},target=/run/secrets/vllm-api-key,readonly" in words
    assert "the key is not there yet" in found.stderr
    assert not key.exists()


def test_all_options_arrive(model: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("x")
    found = run(
        "compose", model, "--gpus", "2xL4", "--context", "8192", "--tp", "2", "--profile", "private", "--project",
        "mine", "--image", "img:1", "--client-image", "cl:2", "--served-name", "coder", "--port", "9000", "--publish",
        "127.0.0.1:9001", "--publish-client", "8081", "--gpu-ids", "1,2", "--p2p", "off", "--shm-size", "4g",
        "--allow-adapters", str(tmp_path), "--hf-token-file", str(key), "--key-file", str(key), "--env", "A=b=c",
        "--mount", f"{tmp_path}:/more:ro", "--user", "7:8", "--python", "/opt/python", "--shutdown-timeout", "5",
        "--", "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    document = yaml.safe_load(found.stdout)
    server, client = document["services"].values()
    assert document["name"] == "mine"
    assert (server["image"], client["image"]) == ("img:1", "cl:2")
    assert server["user"] == client["user"] == "7:8"
    assert server["entrypoint"] == ["/opt/python"]
    assert server["shm_size"] == 4 * 2**30
    assert server["stop_grace_period"] == "35s"
    assert server["ports"][0] == {"target": 9000, "published": "9001", "host_ip": "127.0.0.1", "protocol": "tcp"}
    assert client["ports"][0]["published"] == "8081"
    assert client["environment"]["VLLM_BASE_URL"] == "http://vllm-server:9000/v1"
    environment = server["environment"]
    assert (environment["A"], environment["NCCL_P2P_DISABLE"]) == ("b=c", "1")
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert {"/adapters", "/more"} <= {volume["target"] for volume in server["volumes"]}
    command = server["command"]
    assert command[-3:] == ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    assert command[command.index("--max-loras") + 1] == "4"
    assert command[command.index("--served-model-name") + 1] == "coder"
    devices = server["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["device_ids"] == ["1", "2"]
    assert found.stderr.startswith("note: peer-to-peer is off")


def test_json_has_the_argument_lists(model: str) -> None:
    found = json.loads(run("podman", model, "--gpus", "cpu", "--context", "2048", "--no-client", "--json").stdout)
    assert found["schema"] == "abstractcore.render/1"
    assert [argv[:2] for argv in found["commands"]] == [["podman", "volume"], ["podman", "run"]]
    assert found["deployment"]["client"] is None
    assert found["deployment"]["profile"] == "host"
    assert "StartLimitBurst" in json.loads(run("systemd", model, "--gpus", "cpu", "--json").stdout)["file"]


def test_two_profiles_are_refused(model: str) -> None:
    found = run("docker", model, "--profile", "host", "--profile", "private")
    assert found.exit_code == 2
    assert "exclude each other" in found.stderr


def test_host_network_with_ports_is_refused_with_the_reason(model: str) -> None:
    found = run("docker", model, "--gpus", "4xL4", "--publish", "8000")
    assert isinstance(found.exception, ConfigurationError)
    assert "drops the ports in silence" in (found.exception.why or "")


def test_a_model_that_does_not_fit_is_not_written_down(model: str) -> None:
    found = run("docker", model, "--gpus", "1xRTX3070")
    assert found.exit_code == 3
    assert found.stdout == ""
    assert "vLLM refuses" in found.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--publish", "x"), ("--publish", "70000"), ("--env", "NAME"), ("--allow", "=1"), ("--mount", "a"),
        ("--mount", "/a:b"), ("--mount", "/a:/b:rx"), ("--port", "0"), ("--p2p", "maybe"), ("--profile", "open"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_wrong_usage(option: tuple[str, str], model: str) -> None:
    assert run("docker", model, "--gpus", "4xL4", *option).exit_code == 2


def test_a_gpu_that_is_not_there_is_told(model: str) -> None:
    found = run("docker", model, "--gpu-ids", "0,99")
    assert isinstance(found.exception, ConfigurationError)


def test_nobody_is_root_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert default_user() == "1000:1000"
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 5678)
    assert default_user() == "1234:5678"
