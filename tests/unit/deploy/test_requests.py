from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from abstractcore.deploy.container import Port

from .deployments import FOLDER, deployed
from .test_profiles import refusal


def test_host_network_with_a_published_port_is_refused_with_the_reason() -> None:
    for option in ("publish", "publish_client"):
        error = refusal("host", "4xL4", **{option: Port(8000, 8000)})
        assert error.message == "the host profile publishes no ports"
        assert "drops the ports in silence" in (error.why or "")


def test_a_sealed_server_is_not_published() -> None:
    assert "no network" in (refusal("sealed", publish=Port(8000, 8000)).why or "")


def test_an_address_to_listen_on_is_for_the_host_s_network() -> None:
    assert refusal("private", bind="0.0.0.0").message == "--bind is for the host profile"


def test_an_old_release_stays_off_open_networks() -> None:
    error = refusal("host", "2xV100-16GB", bind="0.0.0.0")
    assert error.message == "vLLM 0.8.5 must not listen on an open network"
    assert refusal("private", "2xV100-16GB", publish=Port(8000, 8000, "0.0.0.0")).message == error.message
    assert deployed("private", "2xV100-16GB", publish=Port(8000, 8000)).server.ports
    assert deployed("host", "4xL4", bind="0.0.0.0").server.network == "host"


def test_a_release_without_sockets_can_t_be_sealed() -> None:
    error = refusal("sealed", "2xV100-16GB")
    assert error.message == "vLLM 0.8.5 can't be sealed"
    assert "private" in (error.hint or "")


def test_a_sealed_server_can_t_download() -> None:
    error = refusal("sealed", weights=None)
    assert "no network" in (error.why or "")


@pytest.mark.parametrize("name", ["--help", "", " ", "a\nb"])
def test_a_name_that_vllm_would_misread_is_refused(name: str) -> None:
    assert "can't be the model" in refusal(model=name).message
    assert "can't be the" in refusal(served_name=name or "-").message


@pytest.mark.parametrize("project", ["", "A", "a b", "-a", "x" * 50, "a/b", "../a"])
def test_a_project_s_name_must_do_for_all_that_is_named_after_it(project: str) -> None:
    assert "can't name a project" in refusal(project=project).message


@pytest.mark.parametrize("user", ["ada", "1000:", "-1", ""])
def test_a_user_is_a_number(user: str) -> None:
    assert "is no user" in refusal(user=user).message


def test_gpu_ids_must_do_for_the_plan() -> None:
    assert refusal(gpu_ids=("0", "1")).message == "--gpu-ids names 2 GPUs, the plan uses 4"
    assert refusal(gpu_ids=("0", "1", "2", "2")).message == "--gpu-ids names 3 GPUs, the plan uses 4"
    assert "CPU" in refusal(gpus="cpu", gpu_ids=("0",)).message


@pytest.mark.parametrize("name", ["HF_TOKEN", "VLLM_API_KEY", "my_secret", "OPENAI_API_KEY"])
def test_a_secret_is_no_environment_variable(name: str) -> None:
    error = refusal(env={name: "s3cret"})
    assert "docker inspect" in (error.why or "")
    assert "s3cret" not in str(error)


def test_development_mode_is_refused() -> None:
    assert "VLLM_SERVER_DEV_MODE" in refusal(env={"VLLM_SERVER_DEV_MODE": "1"}).message


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--api-key", "s3cret"), "--key-file"),
        (("--api_key=s3cret",), "--key-file"),
        (("--host", "0.0.0.0"), "--bind"),
        (("--max-model-len", "9"), "--context"),
        (("-tp", "2"), "--tp"),
        (("--dtype", "half"), "--dtype"),
    ],
)
def test_what_the_plan_stands_on_is_not_passed_on(arguments: tuple[str, ...], hint: str) -> None:
    error = refusal(vllm_args=arguments)
    assert "is not passed on to vLLM" in error.message
    assert hint in (error.hint or "")
    assert "s3cret" not in str(error)


def test_flags_are_held_against_the_planned_release() -> None:
    assert "--kv-offloading-size" in (refusal(vllm_args=("--swap-space", "4")).hint or "")
    assert "--swap-space" in deployed(gpus="2xV100-16GB", vllm_args=("--swap-space", "4")).server.command
    found = deployed(vllm_args=("--enable-auto-tool-choice", "--tool-call-parser", "hermes"), weights=FOLDER)
    assert found.server.command[-3:] == ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")


def test_a_gateway_beyond_this_machine_needs_keys() -> None:
    port = Port(8080, 8080, "0.0.0.0")
    error = refusal("private", publish_client=port)
    assert error.message == "the client's gateway would answer everybody who reaches 0.0.0.0:8080"
    assert "--client-keys" in (error.hint or "")
    assert deployed("private", publish_client=port, client_keys=PurePosixPath("/k")).client
