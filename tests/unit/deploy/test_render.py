"""What each renderer writes, held in files: ``REWRITE=1 pytest tests/unit/deploy/test_render.py`` writes them anew."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from abstractcore.deploy import profiles
from abstractcore.deploy.container import CLIENT, SERVER, Deployment, Gpus, Mount, Port, Profile
from abstractcore.deploy.render import apptainer, compose, docker, podman, process, systemd
from abstractcore.deploy.render.targets import TARGETS
from abstractcore.errors import ConfigurationError, MissingExtraError

from .deployments import KEY, MACHINES, deployed

RENDERED = Path(__file__).parent / "rendered"
CONTAINERS = ("docker", "compose", "podman")
EVIL = "org/x$(touch pwned)`id`; \"'${HOME} #"
CASES = [
    (target, profile, machine)
    for target in TARGETS
    for profile in (("host", "private", "sealed") if target in CONTAINERS else ("host",))
    for machine in MACHINES
    if (profile, machine) != ("sealed", "v100")  # refused: that release has no socket
]


def case(profile: Any, machine: str, **changes: Any) -> Deployment:
    wish = {"tp": 2, "replicas": 2} if machine == "l4" else {"tp": 2} if machine == "v100" else None
    return deployed(profile, MACHINES[machine], wish, **changes)


@pytest.mark.parametrize(("target", "profile", "machine"), CASES)
def test_what_is_written(target: str, profile: Profile, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "SUPERVISOR", "# the supervisor")
    monkeypatch.setattr(profiles, "_ASK_HEALTH", "# asks /health")
    text = TARGETS[target].text(case(profile, machine))
    path = RENDERED / f"{target}-{profile}-{machine}.{'yaml' if target == 'compose' else 'txt'}"
    if os.environ.get("REWRITE"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in RENDERED.iterdir()} == {"-".join(names) for names in CASES}


# --- the five flags that the host profile is known for ---------------------------------------------------------------


def test_a_run_command_has_the_five_flags() -> None:
    line = shlex.join(docker.run_argv(case("host", "v100").server))
    for flag in ("--gpus all", "--ipc=host", "--network=host", "--ulimit memlock=-1", "--ulimit stack=67108864"):
        assert f" {flag} " in line


def test_a_compose_file_has_the_five_flags() -> None:
    service = yaml.safe_load(compose.text(case("host", "v100")))["services"][SERVER]
    devices = [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert service["deploy"]["resources"]["reservations"]["devices"] == devices
    assert (service["ipc"], service["network_mode"]) == ("host", "host")
    assert service["ulimits"] == {"memlock": {"soft": -1, "hard": -1}, "stack": {"soft": 67108864, "hard": 67108864}}
    assert service["shm_size"] > 2**30  # for podman-compose, which drops ipc


def test_chosen_gpus_are_the_ones_that_are_named() -> None:
    found = case("host", "v100", gpu_ids=("0", "3"))
    assert docker.run_argv(found.server)[docker.run_argv(found.server).index("--gpus") + 1] == '"device=0,3"'
    devices = compose.document(found)["services"][SERVER]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "device_ids": ["0", "3"], "capabilities": ["gpu"]}]
    assert "--device nvidia.com/gpu=0 --device nvidia.com/gpu=3" in shlex.join(podman.run_argv(found.server))
    assert "--gpus" not in podman.run_argv(found.server)
    assert process.process(found).environment["CUDA_VISIBLE_DEVICES"] == "0,3"
    assert found.client is not None
    assert "--gpus" not in docker.run_argv(found.client)


def test_a_machine_without_a_gpu_asks_for_none() -> None:
    found = case("host", "cpu")
    assert "--gpus" not in docker.run_argv(found.server)
    assert "deploy" not in compose.document(found)["services"][SERVER]
    assert "--nv" not in apptainer.commands(found)[0]


def test_a_run_command_names_the_ipc_or_the_size_never_both() -> None:
    host, private = case("host", "l4").server, case("private", "l4").server
    for argv in (docker.run_argv(host), podman.run_argv(host)):
        assert "--ipc=host" in argv
        assert not [word for word in argv if word.startswith("--shm-size")]
    assert f"--shm-size={private.shm_size}" in docker.run_argv(private)
    assert "--ipc=host" not in docker.run_argv(private)


# --- what must not get lost or out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["docker", "podman", "process", "apptainer"])
def test_a_model_with_shell_characters_stays_one_argument(target: str) -> None:
    found = deployed(model=EVIL)
    commands = TARGETS[target].commands
    assert commands is not None
    argv = commands(found)[-1] if target in {"process", "apptainer"} else commands(found)[-2]
    assert argv[argv.index("--model") + 1] == EVIL
    written = TARGETS[target].text(found)
    words = shlex.split(written.replace("\\\n", " "))
    assert words[words.index("--model") + 1] == EVIL


def test_compose_and_systemd_keep_a_model_with_shell_characters_whole() -> None:
    found = deployed(model=EVIL)
    command = yaml.safe_load(compose.text(found))["services"][SERVER]["command"]
    assert command[command.index("--model") + 1].replace("$$", "$") == EVIL
    assert "${HOME}" not in command[command.index("--model") + 1].replace("$$", "")
    line = next(line for line in systemd.unit(found).splitlines() if line.startswith("ExecStart="))
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    assert words[words.index("--model") + 1] == EVIL.replace('"', '\\"').replace("$", "$$")


def test_systemd_has_its_own_escapes() -> None:
    assert systemd.command_line(["/a b", "50%", "$HOME", "\\", '"', "x\ny"]) == (
        '"/a b" "50%%" "$$HOME" "\\\\" "\\"" "x\\ny"'
    )


def test_paths_with_commas_and_quotes_stay_whole() -> None:
    assert docker.mount_option(Mount('/a,b"c', "/x", read_only=True)) == (
        'type=bind,"source=/a,b""c",target=/x,readonly'
    )


@pytest.mark.parametrize(("target", "profile", "machine"), CASES)
def test_no_text_names_a_key_only_its_file(target: str, profile: Profile, machine: str) -> None:
    text = TARGETS[target].text(case(profile, machine, hf_token_file=KEY.with_name("hub")))
    assert str(KEY) in text
    assert not re.search(r"VLLM_API_KEY[=:]|HF_TOKEN[=:]|--api-key", text)


def test_secrets_of_a_compose_file_are_files() -> None:
    found = yaml.safe_load(compose.text(case("private", "l4", hf_token_file=KEY.with_name("hub"))))
    assert found["secrets"] == {"vllm-api-key": {"file": str(KEY)}, "hf-token": {"file": str(KEY.with_name("hub"))}}
    assert [entry["target"] for entry in found["services"][CLIENT]["secrets"]] == ["/run/secrets/vllm-api-key"]


def test_a_compose_file_holds_nothing_empty_and_no_fixed_names() -> None:
    def empties(value: Any) -> bool:
        if isinstance(value, dict):
            return any(empties(entry) for key, entry in value.items() if key != "networks")
        return value is None or value in ([], {}) if not isinstance(value, list) else any(map(empties, value))

    for profile in ("host", "private", "sealed"):
        document = compose.document(case(profile, "l4"))
        assert not empties(document)
        assert all("container_name" not in service for service in document["services"].values())
        assert document["services"][CLIENT]["depends_on"] == {SERVER: {"condition": "service_healthy"}}


def test_published_ports_name_their_address() -> None:
    found = case("private", "l4", publish=Port(8000, 9000), publish_client=Port(8080, 8080, "::1"))
    assert "--publish 127.0.0.1:9000:8000" in shlex.join(docker.run_argv(found.server))
    assert found.client is not None
    assert "[::1]:8080:8080" in docker.run_argv(found.client)
    ports = compose.document(found)["services"][SERVER]["ports"]
    assert ports == [{"target": 8000, "published": "9000", "host_ip": "127.0.0.1", "protocol": "tcp"}]


def test_podman_takes_the_check_as_a_list_and_names_the_registry() -> None:
    found = case("private", "v100")
    argv = podman.run_argv(found.server)
    assert found.server.healthcheck is not None
    assert yaml.safe_load(argv[argv.index("--health-cmd") + 1]) == list(found.server.healthcheck.command)
    assert "docker.io/vllm/vllm-openai:v0.8.5" in argv
    assert podman.qualified("chatbot-main-gpu-agent:1") == "chatbot-main-gpu-agent:1"
    assert podman.qualified("quay.io/a/b:1") == "quay.io/a/b:1"
    assert podman.qualified("localhost/a:1") == "localhost/a:1"
    assert podman.qualified("localhost:5000/b") == "localhost:5000/b"
    assert podman.devices(Gpus()) == ["nvidia.com/gpu=all"]


@pytest.mark.parametrize("target", ["process", "systemd", "apptainer"])
@pytest.mark.parametrize("profile", ["private", "sealed"])
def test_what_is_no_container_refuses_promises_of_one(target: str, profile: Profile) -> None:
    with pytest.raises(ConfigurationError, match=f"can't keep the promises of the {profile} profile"):
        TARGETS[target].text(case(profile, "l4"))


def test_a_process_has_the_paths_of_the_host() -> None:
    from .deployments import FOLDER

    found = process.process(case("host", "l4", weights=FOLDER, adapters=FOLDER.with_name("lora")))
    assert found.argv[found.argv.index("--model") + 1] == str(FOLDER)
    assert found.environment["VLLM_API_KEY_FILE"] == str(KEY)
    assert not [value for value in found.environment.values() if value.startswith("/var/tmp")]
    limits = process.commands(case("host", "l4"))[0]
    assert limits[limits.index("prlimit") :][:3] == ["prlimit", "--memlock=unlimited", "--stack=67108864"]


def test_a_compose_file_without_its_extra_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"abstractcore\[deploy\]"):
        compose.text(case("host", "l4"))
