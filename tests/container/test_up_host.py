"""``up`` in the host profile to a real answer inside the client's container, and what comes after it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from tests.container.daemon import Docker
from tests.container.shell import Running, Shell, brought_up, document_of, free_port, problems_of

LONG: Final = """\
from abstractcore import create_llm
with create_llm("vllm") as llm:
    answer = llm.generate("Go on and on.", max_output_tokens=450, temperature=0, extra_body={"ignore_eos": True})
print(answer.finish_reason, answer.usage.output_tokens)
"""


@pytest.fixture(scope="module")
def host(shell: Shell, tiny_model: Path) -> Iterator[Running]:
    yield from brought_up(shell, tiny_model, "host", "--allow", "memlock=8MiB", "--port", str(free_port()))


def test_the_client_on_the_host_network_gets_a_real_answer(host: Running) -> None:
    assert host.document["schema"] == "abstractcore.up/1"
    assert host.document["completion"]["output_tokens"] > 0
    assert host.document["completion"]["model"] == host.document["model"] == "tiny-qwen2"
    assert (host.document["canary"]["health"], host.document["canary"]["status"]) == (200, 200)
    assert host.document["ran_already"] is False
    assert host.document["allowed"] == {"memlock": "8MiB"}


def test_the_flags_of_the_host_profile_are_in_force(docker: Docker, host: Running) -> None:
    found = docker.inspect(host.server)
    assert found["HostConfig"]["IpcMode"] == "host"
    assert found["HostConfig"]["NetworkMode"] == "host"
    limits = docker("exec", host.server, "python3", "-c", "import resource as r; print(r.getrlimit(8), r.getrlimit(3))")
    assert limits == "(8388608, 8388608) (67108864, 67108864)"
    assert found["Config"]["Labels"]["io.abstractcore.allow.memlock"] == "8MiB"


def test_the_key_is_shown_nowhere_and_is_needed(docker: Docker, host: Running) -> None:
    path = Path(host.document["key_file"])
    key = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    for name in host.document["containers"]:
        assert key not in json.dumps(docker.inspect(name))
        assert key not in docker.logs(name)
    without = docker.run(
        "exec", "--env", "VLLM_API_KEY_FILE=", "--env", "VLLM_API_KEY=no", host.client, "abstractcore", "models"
    )
    assert "401" in without.stderr


def test_a_second_up_proves_what_runs(docker: Docker, host: Running) -> None:
    before = docker.inspect(host.server)["Id"]
    again = document_of(host.up("--json"))
    assert again["ran_already"] is True
    assert again["completion"]["output_tokens"] > 0
    assert docker.inspect(host.server)["Id"] == before


def test_another_plan_is_refused_with_what_differs(docker: Docker, host: Running) -> None:
    done = host.up("--max-num-seqs", "3")
    assert done.returncode == 1
    assert "runs already, with another plan" in done.stderr
    assert "vllm --max-num-seqs: planned 3, in force 4" in done.stderr
    assert "--replace" in done.stderr
    assert docker.inspect(host.server)["State"]["Running"]


def test_a_port_that_is_taken_is_named_with_who_has_it(docker: Docker, host: Running, tiny_model: Path) -> None:
    port = host.document["base_url"].rpartition(":")[2].removesuffix("/v1")
    done = host.shell.up(tiny_model, "--project", "abstractcore-test-second", "--no-client", "--port", port, "--json")
    problem = problems_of(done)["port.taken"]
    assert problem["what"] == f"port {port} of this host is taken; abstractcore-test-second-vllm-server needs it"
    assert f"127.0.0.1:{port}" in problem["why"]
    assert docker("ps", "--all", "--quiet", "--filter", "label=io.abstractcore.project=abstractcore-test-second") == ""


def test_status_says_how_it_fares(host: Running) -> None:
    done = host.shell("status", *host.project, "--json")
    found = document_of(done)
    assert (found["schema"], found["runs"], found["base_url"]) == (
        "abstractcore.status/1", True, host.document["base_url"],
    )  # fmt: skip
    assert [(row["role"], row["status"], row["restarts"], row["differences"]) for row in found["rows"]] == [
        ("server", "running", 0, []),
        ("client", "running", 0, []),
    ]


def test_a_flag_that_somebody_changed_is_found(docker: Docker, host: Running) -> None:
    assert host.shell("diff", *host.project).returncode == 0
    before = docker.inspect(host.server)["HostConfig"]["RestartPolicy"]
    docker("update", "--restart", "always", host.server)
    try:
        done = host.shell("diff", *host.project)
        assert done.returncode == 3
        assert f"{host.server}: --restart: planned on-failure:5, in force always" in done.stdout
        assert host.shell("status", *host.project).returncode == 3
    finally:
        docker("update", "--restart", f"{before['Name']}:{before['MaximumRetryCount']}", host.server)


def test_the_log_of_either(host: Running) -> None:
    assert "Application startup complete" in host.shell("logs", *host.project).stdout
    assert host.shell("logs", "client", *host.project).returncode == 0


def test_down_lets_requests_finish_and_keeps_the_volumes(docker: Docker, host: Running) -> None:
    asked = subprocess.Popen(
        ["docker", "exec", host.client, "python3", "-c", LONG],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    root = host.document["base_url"].removesuffix("/v1")
    while asked.poll() is None and not _is_busy(root):
        time.sleep(0.02)
    assert asked.poll() is None, asked.communicate()
    done = host.shell("down", *host.project, "--json", "--yes")
    ended = document_of(done)
    said, errors = asked.communicate(timeout=60)
    assert said.split() == ["length", "450"], errors
    assert set(ended["containers"]) == set(host.document["containers"])
    assert ended["killed"] == []
    assert ended["kept"] == ["abstractcore-test-host-cache"]
    assert host.shell("status", *host.project).returncode == 1
    assert Path(host.document["key_file"]).exists()
    gone = document_of(host.shell("down", *host.project, "--volumes", "--json", "--yes"))
    assert gone["volumes"] == ["abstractcore-test-host-cache"]
    assert not Path(host.document["key_file"]).exists()
    label = f"label=io.abstractcore.project={host.project[1]}"
    assert docker("volume", "ls", "--quiet", "--filter", label) == ""


def _is_busy(root: str) -> bool:
    with urlopen(f"{root}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return any(line.startswith("vllm:num_requests_running") and not line.endswith(" 0.0") for line in lines)
