from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from abstractcore.deploy.allowances import parse_size
from abstractcore.deploy.container import CLIENT, LABEL, SERVER, Deployment, Port, Profile, Ulimit
from abstractcore.deploy.profiles import deployment, shared_memory
from abstractcore.errors import ConfigurationError
from abstractcore.vllm_facts.gpus import GIB

from .deployments import FOLDER, KEY, deployed, options, planned

PROFILES: tuple[Profile, ...] = ("host", "private", "sealed")


def refusal(profile: Profile = "host", gpus: str = "4xL4", **changes: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        deployed(profile, gpus, **changes)
    return caught.value


def value(found: Deployment, flag: str) -> str:
    return found.server.command[found.server.command.index(flag) + 1]


# --- the profiles ----------------------------------------------------------------------------------------------------


def test_the_host_profile_is_the_default_and_shares_ipc_and_network() -> None:
    found = deployment(planned(), options())
    server = found.server
    assert (found.profile, server.ipc, server.network) == ("host", "host", "host")
    assert server.ulimits == (Ulimit("memlock", -1), Ulimit("stack", 67108864))
    assert server.gpus is not None
    assert server.gpus.ids == ()
    assert found.networks == ()


def test_on_the_host_s_network_the_server_listens_on_loopback() -> None:
    found = deployed()
    assert value(found, "--host") == "127.0.0.1"
    assert found.base_url == "http://localhost:8000/v1"
    assert deployed(bind="10.0.0.7").base_url == "http://10.0.0.7:8000/v1"


def test_the_private_profile_has_a_network_by_name_and_publishes_nothing() -> None:
    found = deployed("private")
    server, client = found.server, found.client
    assert client is not None
    assert found.networks == ("abstractcore",)
    assert (server.network, client.network) == ("abstractcore", "abstractcore")
    assert server.aliases == (SERVER,)
    assert (server.ports, client.ports) == ((), ())
    assert (server.ipc, server.ulimits) == ("private", ())
    assert server.shm_size == GIB * 17  # four ranks, no NVLink
    assert found.base_url == f"http://{SERVER}:8000/v1"
    assert client.environment["VLLM_BASE_URL"] == found.base_url


def test_the_sealed_profile_has_no_network_and_nothing_to_write_on() -> None:
    found = deployed("sealed")
    for spec in found.containers:
        assert spec.network == "none"
        assert spec.read_only
        assert spec.cap_drop == ("ALL",)
        assert spec.ports == ()
    assert value(found, "--uds") == "/run/vllm/vllm.sock"
    assert "--port" not in found.server.command
    assert found.base_url == "unix:///run/vllm/vllm.sock"
    sockets = [mount for spec in found.containers for mount in spec.mounts if mount.target == "/run/vllm"]
    assert [mount.source for mount in sockets] == ["abstractcore-socket"] * 2
    assert any("exec" in place.split(":")[1].split(",") for place in found.server.tmpfs)  # Triton loads from there
    volume = next(volume for volume in found.volumes if volume.name == "abstractcore-socket")
    assert "uid=1000,gid=1000,mode=0700" in volume.options["o"]


def test_a_sealed_client_has_a_network_only_for_its_own_page() -> None:
    found = deployed("sealed", publish_client=Port(8080, 8080))
    assert found.client is not None
    assert (found.server.network, found.client.network) == ("none", "abstractcore")
    assert found.networks == ("abstractcore",)
    assert found.client.environment["ABSTRACTCORE_HOST"] == "0.0.0.0"


def test_the_gateway_of_the_client_is_open_only_where_nobody_else_is() -> None:
    host, private = deployed("host").client, deployed("private", publish_client=Port(8080, 8080)).client
    assert host is not None
    assert private is not None
    assert "ABSTRACTCORE_ALLOW_OPEN" not in host.environment, "on the host's network it serves loopback"
    assert private.environment["ABSTRACTCORE_ALLOW_OPEN"] == "1"


@pytest.mark.parametrize("profile", PROFILES)
def test_keys_of_the_gateways_users_are_a_file_of_the_client_alone(profile: Profile) -> None:
    file = PurePosixPath("/home/ada/gateway-keys.toml")
    found = deployed(profile, client_keys=file)
    assert found.client is not None
    (mount,) = [mount for mount in found.client.mounts if mount.source == str(file)]
    assert mount.read_only
    assert found.client.environment["ABSTRACTCORE_KEYS"] == mount.target
    assert "ABSTRACTCORE_ALLOW_OPEN" not in found.client.environment
    assert all(mount.source != str(file) for mount in found.server.mounts)


@pytest.mark.parametrize("profile", PROFILES)
def test_nobody_is_root_or_can_become_it(profile: Profile) -> None:
    for spec in deployed(profile).containers:
        assert spec.user == "1000:1000"
        assert spec.cap_drop == ("ALL",)
        assert spec.security_opt == ("no-new-privileges",)


# --- key, token, weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES)
def test_server_and_client_read_the_key_from_one_file(profile: Profile) -> None:
    found = deployed(profile)
    assert found.key_file == KEY
    for spec in found.containers:
        mount = next(mount for mount in spec.mounts if mount.source == str(KEY))
        assert mount.read_only
        assert spec.environment["VLLM_API_KEY_FILE"] == mount.target
        assert "VLLM_API_KEY" not in spec.environment
    assert "--api-key" not in found.server.command


def test_the_token_of_the_hub_is_a_file_of_the_server_alone() -> None:
    found = deployed(hf_token_file=PurePosixPath("/home/ada/token"))
    assert found.server.environment["HF_TOKEN_PATH"] == "/run/secrets/hf-token"
    assert found.client is not None
    assert all(mount.source != "/home/ada/token" for mount in found.client.mounts)


def test_a_folder_is_mounted_to_be_read_and_nothing_is_asked_of_the_hub() -> None:
    found = deployed(weights=FOLDER)
    mount = next(mount for mount in found.server.mounts if mount.source == str(FOLDER))
    assert mount.read_only
    assert value(found, "--model") == mount.target == "/models/Qwen2.5-Coder-7B"
    assert value(found, "--served-model-name") == "Qwen2.5-Coder-7B"
    assert found.server.environment["HF_HUB_OFFLINE"] == "1"


def test_a_snapshot_of_the_hub_s_cache_is_mounted_with_what_its_links_lead_to() -> None:
    entry = "/home/ada/.cache/huggingface/hub/models--Qwen--Qwen3-8B"
    found = deployed(weights=PurePosixPath(f"{entry}/snapshots/abc"))
    assert any(mount.source == entry and mount.read_only for mount in found.server.mounts)
    assert value(found, "--model") == "/models/models--Qwen--Qwen3-8B/snapshots/abc"


def test_a_model_of_the_hub_lands_in_a_volume_with_the_compiled_parts() -> None:
    found = deployed()
    mount = next(mount for mount in found.server.mounts if mount.kind == "volume")
    assert [volume.name for volume in found.volumes] == [mount.source]
    for name in ("HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert found.server.environment[name].startswith(f"{mount.target}/")


def test_a_cache_of_the_host_takes_the_volume_s_place_for_models() -> None:
    found = deployed(hf_cache=PurePosixPath("/data/hf"))
    target = next(mount.target for mount in found.server.mounts if mount.source == "/data/hf")
    assert found.server.environment["HF_HOME"] == target


def test_adapters_may_be_loaded_only_where_that_was_allowed() -> None:
    plain = deployed(wish={"adapters": 2})
    assert "--enable-lora" in plain.server.command
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in plain.server.environment
    found = deployed(wish={"adapters": 2}, adapters=PurePosixPath("/data/lora"))
    assert found.server.environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert next(mount for mount in found.server.mounts if mount.source == "/data/lora").read_only


@pytest.mark.parametrize("profile", ["host", "private", "sealed"])
def test_code_of_a_model_is_run_only_where_that_was_asked_for(profile: Profile) -> None:
    assert "trust-remote-code" not in repr(deployed(profile))
    assert "--trust-remote-code" in deployed(profile, vllm_args=("--trust-remote-code",)).server.command


# --- life ------------------------------------------------------------------------------------------------------------


def test_health_is_asked_where_the_server_listens() -> None:
    def place(found: Deployment) -> tuple[str, ...]:
        assert found.server.healthcheck is not None
        return found.server.healthcheck.command[-2:]

    assert place(deployed(port=9000)) == ("127.0.0.1", "9000")
    assert place(deployed(bind="10.0.0.7")) == ("10.0.0.7", "8000")
    assert place(deployed("private")) == ("127.0.0.1", "8000")
    assert place(deployed("sealed"))[0] == "/run/vllm/vllm.sock"


def test_a_larger_model_gets_longer_to_start() -> None:
    def period(gpus: str, model: str, **changes: Any) -> int:
        found = deployment(planned(gpus, model), options(**changes))
        assert found.server.healthcheck is not None
        return found.server.healthcheck.start_period

    small, large = period("4xL4", "Qwen2.5-Coder-7B"), period("4xH100", "Llama-3.3-70B")
    assert large > small > 300
    assert period("4xL4", "Qwen2.5-Coder-7B", weights=FOLDER) < small


def test_requests_in_flight_get_their_time() -> None:
    found = deployed(shutdown_timeout=120)
    assert value(found, "--shutdown-timeout") == "120"
    assert found.server.stop_grace == 150
    old = deployed(gpus="2xV100-16GB", shutdown_timeout=120)
    assert "--shutdown-timeout" not in old.server.command
    assert old.server.stop_grace == 150


def test_a_server_that_can_t_start_is_not_started_for_ever() -> None:
    assert deployed().server.restart == "on-failure:5"


def test_shared_memory_grows_with_the_ranks_that_share_it() -> None:
    one, two = planned("1xL4"), planned("2xL4", tp=2)
    assert shared_memory(one) == GIB
    assert shared_memory(two) > 2 * GIB
    assert shared_memory(planned("2xH100", tp=2)) < shared_memory(two)
    assert deployed("private", shm_size=GIB // 2).server.shm_size == GIB // 2


# --- image and plan --------------------------------------------------------------------------------------------------


def test_the_image_is_pinned_by_what_the_gpus_need() -> None:
    assert deployed().server.image == "vllm/vllm-openai:v0.32.0"
    old = deployed(gpus="2xV100-16GB")
    assert old.server.image == "vllm/vllm-openai:v0.8.5"
    assert old.server.environment["VLLM_USE_V1"] == "0"
    assert value(old, "--dtype") == "float16"
    assert "--enforce-eager" in old.server.command
    assert deployed(gpus="cpu").server.image.endswith(":v0.32.0")
    assert deployed(image="mine@sha256:0").server.image == "mine@sha256:0"


def test_the_labels_say_what_was_planned_and_given_up() -> None:
    found = deployed(allow={"memlock": "8MiB"})
    for spec, role in zip(found.containers, ("server", "client"), strict=True):
        assert spec.labels[f"{LABEL}.project"] == "abstractcore"
        assert spec.labels[f"{LABEL}.role"] == role
        assert spec.labels[f"{LABEL}.allow.memlock"] == "8MiB"
        assert spec.labels[f"{LABEL}.plan"] == found.server.labels[f"{LABEL}.plan"]
    assert any("memlock given up: 8MiB" in reason for reason in found.reasons)


def test_the_same_plan_has_the_same_label_and_another_one_another() -> None:
    def plan(**changes: Any) -> str:
        return deployed(**changes).server.labels[f"{LABEL}.plan"]

    assert plan() == plan()
    assert len({plan(), plan(port=9000), plan(p2p="off"), plan(client_image=None), plan(env={"A": "1"})}) == 5


def test_a_second_project_shares_no_name_with_the_first() -> None:
    first, second = deployed("private"), deployed("private", project="other")
    for one, two in zip(first.containers, second.containers, strict=True):
        assert one.name != two.name
    assert not set(first.networks) & set(second.networks)
    assert not {volume.name for volume in first.volumes} & {volume.name for volume in second.volumes}


def test_without_a_client_there_is_the_server_alone() -> None:
    found = deployed(client_image=None)
    assert found.client is None
    assert [spec.name for spec in found.containers] == [SERVER]
    assert deployed().containers[1].name == CLIENT


# --- promises given up -----------------------------------------------------------------------------------------------


def test_only_what_is_given_up_is_changed() -> None:
    found = deployed(allow={"memlock": "8MiB"})
    assert found.server.ulimits == (Ulimit("memlock", 8 * 2**20), Ulimit("stack", 67108864))
    assert deployed(allow={"memlock": "unset"}).server.ulimits == (Ulimit("stack", 67108864),)
    private = deployed(allow={"ipc": "private"}).server
    assert (private.ipc, private.network) == ("private", "host")
    assert private.shm_size is not None
    root = deployed("sealed", allow={"user": "root"})
    assert root.server.user == "0:0"
    assert any("uid=0," in volume.options.get("o", "") for volume in root.volumes)
    assert deployed(allow={"caps": "default", "new-privileges": "yes"}).server.cap_drop == ()


@pytest.mark.parametrize("allow", [{"memlock": "much"}, {"memory": "8MiB"}, {"ipc": "host"}, {"user": "0"}])
def test_what_was_not_promised_can_t_be_given_up(allow: dict[str, str]) -> None:
    error = refusal(allow=allow)
    assert next(iter(allow.values())) in error.message


@pytest.mark.parametrize(
    ("text", "size"), [("8MiB", 2**23), ("8m", 2**23), ("16g", 2**34), ("1 GB", 2**30), ("65536", 65536)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
