"""Each check tells the good from the bad, with the measured fact and a way on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abstractcore.deploy.container import Gpus, Healthcheck, option
from abstractcore.deploy.inspected import HIDDEN, Inspected, State
from abstractcore.deploy.lifecycle.checks import Listener
from abstractcore.doctor import CHECKS, Check, Verdict, chosen, examine, fails
from abstractcore.doctor.facts import DaemonLimits, Facts
from abstractcore.errors import ConfigurationError, ConstraintViolationError, DeployError
from tests.conftest import TESTS
from tests.unit.doctor.subjects import (
    CLIENT,
    INSIDE,
    MIB,
    SERVED,
    SERVER,
    FakeEngine,
    FakeHttp,
    ask,
    facts,
    on_gpus,
    published,
    the,
)

OPEN = {"/v1/models": (200, SERVED), "/health": (200, {}), "/version": (200, {"version": "0.32.0"})}
TP2 = ("vllm", "serve", "m", "--tensor-parallel-size", "2", "--disable-custom-all-reduce")


def inside(**changes: Any) -> dict[str, Any]:
    return {**INSIDE, **changes}


def server(**changes: Any) -> Facts:
    return facts(replace(SERVER, **changes))


def environment(**variables: str) -> Facts:
    return server(environment=variables)


def refuse() -> str:
    raise ConstraintViolationError("the answer does not satisfy the regex", text="twelve", constraint=None, why="'t'")


WRONG: list[tuple[str, Callable[[], Facts], Verdict, str]] = [
    ("host.daemon", lambda: facts(info=DeployError("no Docker daemon answers")), Verdict.ERROR, "no Docker daemon"),
    ("host.gpu_runtime", lambda: facts(info={"Runtimes": {"runc": {}}}, gpus="2xL4"), Verdict.ERROR, "runc"),
    ("host.memlock", lambda: facts(limits=DaemonLimits(8 * MIB, may_raise=False)), Verdict.WARNING, "8192 KiB"),
    (
        "host.port",
        lambda: facts(
            replace(SERVER, network="host", state=State(status="exited")),
            listening=[Listener("127.0.0.1", 8000, "nginx (pid 7)")],
        ),
        Verdict.ERROR,
        "nginx (pid 7)",
    ),
    ("host.shm", lambda: facts(shm=64 * MIB), Verdict.WARNING, "64 MiB"),
    ("host.shm", lambda: facts(replace(SERVER, ipc="host"), shm=64 * MIB), Verdict.ERROR, "64 MiB"),
    ("gpu.given", lambda: facts(gpus="4xL4"), Verdict.ERROR, "the container has none"),
    ("gpu.capability", lambda: facts(on_gpus(), gpus="1xV100-16GB"), Verdict.ERROR, "compute capability 7.0"),
    (
        "gpu.driver",
        lambda: facts(on_gpus(environment={"CUDA_VERSION": "13.0.1"}), cuda=(12, 4)),
        Verdict.ERROR,
        "CUDA 12.4, the image brings 13.0",
    ),
    (
        "gpu.driver",
        lambda: facts(on_gpus(environment={"CUDA_VERSION": "12.8.1"}), cuda=(12, 4)),
        Verdict.WARNING,
        "CUDA 12.4, the image brings 12.8",
    ),
    (
        "gpu.links",
        lambda: facts(on_gpus(argv=TP2, environment={"NCCL_P2P_DISABLE": "1"}), gpus="2xH100"),
        Verdict.WARNING,
        "NVLink",
    ),
    ("container.running", lambda: server(state=State(status="exited", exit_code=1)), Verdict.ERROR, "exit code 1"),
    (
        "container.running",
        lambda: server(state=State(status="exited", exit_code=137, out_of_memory=True)),
        Verdict.ERROR,
        "out of memory",
    ),
    ("container.running", lambda: server(state=State(status="running", restarts=3)), Verdict.WARNING, "3 restarts"),
    (
        "container.flags",
        lambda: facts(planned=lambda: ["--ipc: planned host, in force private"]),
        Verdict.ERROR,
        "--ipc: planned host, in force private",
    ),
    ("container.shm", lambda: facts(inside=inside(shm={"total": 64 * MIB})), Verdict.WARNING, "64 MiB"),
    ("container.noexec", lambda: facts(inside=inside(noexec={"TMPDIR": "/tmp"})), Verdict.ERROR, "TMPDIR"),
    (
        "container.weights",
        lambda: facts(inside=inside(unreadable={"/models/m": "/models/m/model.safetensors: Permission denied"})),
        Verdict.ERROR,
        "model.safetensors",
    ),
    ("container.nccl", lambda: environment(NCCL_P2P_DISABLE="true"), Verdict.ERROR, "'true'"),
    ("container.nccl", lambda: environment(NCCL_P2P_DISABLE="1"), Verdict.WARNING, "--disable-custom-all-reduce"),
    ("container.restart", lambda: server(restart="on-failure:3"), Verdict.WARNING, "on failure only"),
    ("container.healthcheck", lambda: server(healthcheck=None), Verdict.WARNING, "does not ask"),
    (
        "container.healthcheck",
        lambda: server(healthcheck=Healthcheck(("curl", "http://localhost:8000/v1/models"))),
        Verdict.WARNING,
        "/v1/models",
    ),
    ("container.exposure", lambda: facts(published("0.0.0.0")), Verdict.WARNING, "0.0.0.0:8000"),
    (
        "container.exposure",
        lambda: server(network="host", argv=("vllm", "serve", "m")),
        Verdict.ERROR,
        "all interfaces (host network), and no key",
    ),
    ("container.development", lambda: environment(VLLM_SERVER_DEV_MODE="1"), Verdict.ERROR, "VLLM_SERVER_DEV_MODE"),
    (
        "container.development",
        lambda: environment(VLLM_ALLOW_RUNTIME_LORA_UPDATING="True"),
        Verdict.WARNING,
        "run time",
    ),
    ("server.health", lambda: facts(http=FakeHttp({})), Verdict.ERROR, "does not answer"),
    ("server.health", lambda: facts(http=FakeHttp({"/health": (503, {})})), Verdict.ERROR, "503"),
    (
        "server.version",
        lambda: facts(http=FakeHttp({"/version": (200, {"version": "0.8.5"})})),
        Verdict.WARNING,
        "vLLM 0.8.5",
    ),
    (
        "server.version",
        lambda: facts(published("0.0.0.0"), http=FakeHttp({"/version": (200, {"version": "0.8.5"})})),
        Verdict.ERROR,
        "vLLM 0.8.5",
    ),
    ("server.version", lambda: facts(http=FakeHttp({"/health": (200, {})})), Verdict.UNKNOWN, "does not tell"),
    ("server.models", lambda: facts(http=FakeHttp(OPEN, key="a"), key="b"), Verdict.ERROR, "401"),
    ("server.key", lambda: facts(http=FakeHttp(OPEN)), Verdict.WARNING, "without a key"),
    (
        "server.open_paths",
        lambda: facts(
            replace(SERVER, network="host"),
            http=FakeHttp({**OPEN, "/invocations": (422, {}), "/adapters": (400, {}), "/metrics": (200, {})}, key="a"),
        ),
        Verdict.WARNING,
        "/invocations, /adapters, /metrics",
    ),
    ("server.regex", lambda: facts(http=FakeHttp(OPEN), answers=refuse), Verdict.ERROR, "does not satisfy"),
    (
        "client.url",
        lambda: facts(inside=inside(reach={"failed": "name", "error": "Name or service not known"})),
        Verdict.ERROR,
        "can't be resolved",
    ),
    (
        "client.docker_proxy",
        lambda: facts(
            published("172.17.0.1"),
            replace(CLIENT, environment={"VLLM_BASE_URL": "http://host.docker.internal:8000/v1"}),
        ),
        Verdict.WARNING,
        "published port",
    ),
    (
        "client.proxy",
        lambda: facts(client=replace(CLIENT, environment={**CLIENT.environment, "http_proxy": "http://proxy:3128"})),
        Verdict.ERROR,
        "no_proxy",
    ),
    (
        "client.nccl",
        lambda: facts(client=replace(CLIENT, environment={**CLIENT.environment, "NCCL_P2P_DISABLE": "1"})),
        Verdict.WARNING,
        "in the client",
    ),
]


@pytest.mark.parametrize(("check", "make", "verdict", "text"), WRONG)
def test_what_is_wrong_is_found(check: str, make: Callable[[], Facts], verdict: Verdict, text: str) -> None:
    found = the(check, make()).finding
    assert (found.verdict, text in found.measured) == (verdict, True), found
    if verdict is not Verdict.UNKNOWN:
        assert found.expected
        assert found.why
        assert found.cure


def test_a_good_deployment_has_nothing_to_mend() -> None:
    good = facts(
        on_gpus(),
        gpus="2xL4",
        http=FakeHttp(OPEN, key="k"),
        key="k",
        planned=list,
        cuda=(13, 0),
        limits=DaemonLimits(None, may_raise=False),
    )
    results = list(examine(CHECKS, good))
    assert [result for result in results if result.finding.verdict is not Verdict.OK] == []
    assert {"host.daemon", "gpu.given", "container.flags", "server.regex", "client.url"} <= {row.id for row in results}
    assert not fails(results)


@pytest.mark.parametrize("container", ["vllm-server", "chatbot-main-gpu-agent"])
@pytest.mark.parametrize(
    ("check", "changes", "text"),
    [
        ("container.user", {"user": ""}, "root"),
        ("container.user", {"user": "0:0"}, "root"),
        ("container.privileges", {"cap_drop": ()}, "capabilities"),
        ("container.privileges", {"privileged": True}, "privileged"),
        ("container.image", {"image": "vllm/vllm-openai:latest"}, "latest"),
        ("container.image", {"image": "registry:5000/vllm"}, "registry:5000/vllm"),
        ("container.secrets", {"environment": {"HF_TOKEN": HIDDEN}}, "HF_TOKEN"),
        ("container.secrets", {"argv": ("vllm", "serve", "m", "--api-key", HIDDEN)}, "--api-key"),
    ],
)
def test_each_container_is_judged_by_its_name(check: str, changes: dict[str, Any], text: str, container: str) -> None:
    first, second = SERVER, CLIENT
    if container == first.name:
        first = replace(first, **changes)
    else:
        second = replace(second, **changes)
    wrong = [row.finding for row in ask(check, facts(first, second)) if row.finding.verdict is not Verdict.OK]
    assert [(row.subject, text in row.measured) for row in wrong] == [(container, True)]


def test_what_the_key_does_not_guard_is_no_matter_on_a_network_of_its_own() -> None:
    unguarded = FakeHttp({**OPEN, "/invocations": (422, {})}, key="a")
    found = the("server.open_paths", facts(http=unguarded)).finding
    assert found.verdict is Verdict.OK
    assert "/invocations" in found.measured


def test_a_check_that_crashes_is_a_finding_and_the_others_go_on() -> None:
    def crash(found: Facts) -> list[Any]:
        raise ZeroDivisionError("division by zero")

    results = list(examine([Check("host.broken", "it", crash), *CHECKS[:1]], facts()))
    assert results[0].finding.verdict is Verdict.CRASHED
    assert "ZeroDivisionError" in results[0].finding.measured
    assert results[1].id == "host.daemon"
    assert fails(results)


def test_a_container_that_ended_is_explained_by_its_log() -> None:
    log = (TESTS / "recordings" / "vllm-logs" / "small-shm.log").read_text(encoding="utf-8").splitlines()
    found = the("container.running", facts(replace(SERVER, state=State(status="exited", exit_code=1)), log=log)).finding
    assert found.measured.startswith("the shared memory of the container is too small")
    assert "--shm-size" in found.cure


def test_repairs_are_commands_of_the_engine() -> None:
    facts_of = facts(replace(SERVER, restart="on-failure"))
    fix = the("container.restart", facts_of).finding.fix
    assert fix
    fix.apply()
    assert isinstance(facts_of.engine, FakeEngine)
    assert facts_of.engine.done == [("update", "--restart", "unless-stopped", "vllm-server")]
    assert fix.command == "docker update --restart unless-stopped vllm-server"


@pytest.mark.parametrize(
    ("client", "joins"),
    [
        (replace(CLIENT, network="bridge", networks=("bridge",)), True),
        (replace(CLIENT, network="host", networks=("host",)), False),
        (CLIENT, False),
    ],
)
def test_a_client_joins_the_network_only_where_that_is_what_is_missing(client: Inspected, joins: bool) -> None:
    unreached = inside(reach={"failed": "name", "error": "Name or service not known"})
    found = the("client.url", facts(client=client, inside=unreached)).finding
    assert (found.fix is not None) == joins
    assert not found.fix or found.fix.command == "docker network connect vllm chatbot-main-gpu-agent"


def test_a_key_that_others_can_read_is_found_and_closed(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o644)
    found = the("client.key_file", facts(key_path=key)).finding
    assert found.verdict is Verdict.ERROR
    assert found.fix
    found.fix.apply()
    assert the("client.key_file", facts(key_path=key)).finding.verdict is Verdict.OK


def test_a_container_without_python_is_said_to_be_unmeasurable() -> None:
    found = the("container.noexec", facts(inside=None)).finding
    assert found.verdict is Verdict.UNKNOWN
    assert "127" in found.measured


def test_shared_memory_is_known_by_inspect_where_no_probe_runs() -> None:
    assert the("container.shm", facts(replace(SERVER, shm_size=64 * MIB), inside=None)).finding.verdict is (
        Verdict.WARNING
    )


def test_gpus_in_use_are_fine() -> None:
    assert the("gpu.given", facts(replace(SERVER, gpus=Gpus(("0",))), gpus="2xL4")).finding.verdict is Verdict.OK


def test_of_a_flag_given_twice_the_last_counts() -> None:
    words = ["serve", "m", "--port=8000", "--host", "127.0.0.1", "--port", "9000", "--host=0.0.0.0"]
    assert (option(words, "--port"), option(words, "--host"), option(words, "--uds")) == ("9000", "0.0.0.0", None)


def test_names_of_checks_are_unique_and_can_be_chosen() -> None:
    names = [check.id for check in CHECKS]
    assert len(names) == len(set(names))
    assert {check.family for check in chosen(CHECKS, "gpu,server.regex")} == {"gpu", "server"}
    assert chosen(CHECKS, None) == CHECKS
    with pytest.raises(ConfigurationError, match="regx"):
        chosen(CHECKS, "server.regx")


def test_the_page_lists_every_check() -> None:
    page = (TESTS.parent / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{check.id}` | {check.title} |" for check in CHECKS]
