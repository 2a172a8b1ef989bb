"""What stands in the way: each problem with its measured fact and its ways on, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abstractcore.deploy.container import Deployment, Port
from abstractcore.deploy.lifecycle.checks import Facts, Listener, PreflightError, Problem, needs_ring, problems
from abstractcore.errors import DeployError

from ..deployments import deployed
from ..engine_recordings import said

GIB = 2**30


def only(deployment: Deployment, **facts: Any) -> Problem:
    (found,) = problems(deployment, Facts(**facts))
    return found


@pytest.mark.parametrize("profile", ["host", "private", "sealed"])
def test_nothing_stands_in_the_way(profile: Any) -> None:
    assert problems(deployed(profile), Facts(host_shm=8 * GIB)) == ()


def test_memlock_names_what_starts_and_two_ways_on() -> None:
    found = only(deployed(), refused={"memlock": said("memlock").strip()}, memlock=8 * 2**20)
    assert found.what == "the engine may not raise memlock to unlimited"
    assert found.why.startswith(
        "a probe container with 8MiB starts, with unlimited it does not: docker: Error response"
    )
    assert "LimitMEMLOCK=infinity" in found.ways[0]
    assert found.ways[1].endswith("--allow memlock=8MiB")


def test_memlock_where_no_limit_is_known_to_start() -> None:
    assert only(deployed(), refused={"memlock": "no"}).ways[1].endswith("--allow memlock=unset")


def test_no_gpu_runtime() -> None:
    found = only(deployed(), refused={"gpus": said("gpus").strip()})
    assert (found.id, found.what) == ("gpu.runtime", "the engine has no GPU runtime")
    assert "nvidia-ctk runtime configure" in found.ways[0]
    assert "--gpus cpu" in found.ways[1]


def test_an_image_that_cannot_be_had() -> None:
    image = deployed().server.image
    found = only(deployed(), missing_images={image: said("registry")})
    assert found.what == f"the image {image} is not here and can't be had"
    assert "the registry of images can't be reached" in found.why
    assert "docker image ls" in found.ways[-1]


@pytest.mark.parametrize(("address", "taken"), [("127.0.0.1", True), ("0.0.0.0", True), ("192.0.2.7", False)])
def test_a_port_of_the_host_network(address: str, taken: bool) -> None:
    facts = Facts(listeners=(Listener(address, 8000, "python3 (pid 7)"),))
    found = problems(deployed(), facts)
    assert bool(found) is taken
    if taken:
        assert found[0].what == "port 8000 of this host is taken; vllm-server needs it"
        assert found[0].why == f"python3 (pid 7) listens on {address}:8000"
        assert found[0].ways[1] == "take another one: --port 8001"


def test_a_port_that_is_only_used_inside_is_nobodys_business() -> None:
    listener = Listener("0.0.0.0", 8000)
    assert problems(deployed("private"), Facts(listeners=(listener,))) == ()
    published = deployed("private", publish=Port(8000, 8000))
    assert only(published, listeners=(listener,)).ways[1] == "take another one: --publish 8001"


def test_the_clients_page_needs_its_port_too() -> None:
    found = only(deployed(), listeners=(Listener("127.0.0.1", 8080),))
    assert found.what == "port 8080 of this host is taken; chatbot-main-gpu-agent needs it"


def test_shared_memory_matters_where_processes_share_it() -> None:
    small = deployed("private", "cpu", shm_size=64 * 2**20)
    found = only(small)
    assert found.what == "the shared memory is too small: 64MiB, vLLM needs 256MiB"
    assert found.ways == ("--shm-size 1g", "go on anyway, which is recorded: --allow shm=64MiB")
    assert problems(deployed("private", "cpu", shm_size=64 * 2**20, allow={"shm": "64MiB"}), Facts()) == ()
    one_gpu = deployed("private", "1xL4", shm_size=64 * 2**20)
    assert not needs_ring(one_gpu.server)
    assert problems(one_gpu, Facts()) == ()
    assert needs_ring(deployed("private", "2xL4", {"tp": 2}).server)


def test_the_hosts_own_shared_memory_counts_under_ipc_host() -> None:
    assert only(deployed("host", "cpu"), host_shm=64 * 2**20).why.startswith("the host's /dev/shm has it")


def test_weights_that_are_closed() -> None:
    planned = deployed("sealed")
    found = only(planned, unreadable=("/data/models/Qwen2.5-Coder-7B/a.safetensors",))
    assert found.what == "the user 1000:1000 of the container may not read the weights"
    assert found.ways[0] == "chmod -R a+rX /data/models/Qwen2.5-Coder-7B"


def test_keys_that_cannot_be_given() -> None:
    assert "--user $(id -u):$(id -g)" in only(deployed(), key_owner="not yours").ways[0]
    assert "--user 0:0" in only(deployed(), key_owner="not yours", is_rootless=True).ways[0]


def test_other_things_that_are_missing() -> None:
    assert only(deployed(), missing_sources=("/gone",)).what == "/gone does not exist on this host"
    assert only(deployed(), dangling=("/m/a",)).id == "weights.links"
    assert only(deployed(), taken_names=("vllm-server",)).ways[0] == "docker rename vllm-server vllm-server-old"
    assert only(deployed(), unreadable_secrets=("/t",)).what.endswith("may not read /t")
    assert only(deployed(), open_secrets=("/t",)).ways == ("chmod 600 /t",)


def test_room_for_the_download() -> None:
    assert problems(deployed(), Facts(download=10 * GIB, free_disk=12 * GIB)) == ()
    assert only(deployed(), download=10 * GIB, free_disk=10 * GIB).why == "it takes 11.8 GB, 10.7 GB are free"


def test_containers_that_cannot_meet() -> None:
    planned = deployed()
    assert planned.client is not None
    apart = replace(planned, client=replace(planned.client, network="bridge"))
    assert only(apart).id == "network.apart"
    sealed = deployed("sealed")
    assert sealed.client is not None
    assert only(replace(sealed, client=replace(sealed.client, mounts=()))).id == "network.socket"
    with_ports = replace(planned.server, ports=(Port(8000, 1),))
    assert only(replace(planned, server=with_ports)).id == "network.ports"


def test_all_of_them_are_one_error_whose_first_line_is_the_first_cause() -> None:
    found = problems(deployed(), Facts(refused={"memlock": "no", "gpus": said("gpus")}, missing_sources=("/gone",)))
    error = PreflightError(found)
    assert isinstance(error, DeployError)
    assert error.message == "the engine may not raise memlock to unlimited (and 2 more)"
    assert str(error).count("try: ") == sum(len(problem.ways) for problem in found)
