"""``up``, ``status``, ``logs``, ``diff`` and ``down`` as a user types them, on an engine in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner, Result

from abstractcore.cli.main import cli
from abstractcore.deploy.container import Deployment
from abstractcore.deploy.lifecycle.checks import Facts
from abstractcore.settings import state_dir
from tests.unit.deploy.goldens import configs
from tests.unit.deploy.lifecycle.fake_engine import FakeEngine

PROJECT = ("--project", "abstractcore-recording")
OPTIONS = ("--gpus", "4xL4", "--context", "8192", "--yes", *PROJECT)


@pytest.fixture
def facts() -> list[Facts]:
    """What will be measured; the last one counts."""
    return [Facts(is_rootless=True)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, facts: list[Facts]) -> FakeEngine:
    """The engine that every command finds, and the deployment that all options come to."""
    found = FakeEngine()
    monkeypatch.setattr("abstractcore.deploy.engine.find_engine", lambda *a, **k: found)
    monkeypatch.setattr("abstractcore.deploy.lifecycle.up.measure", lambda *a, **k: facts[-1])

    def planned(*_: object) -> Deployment:
        key = PurePosixPath(state_dir() / PROJECT[1] / "vllm-api-key")
        made: Deployment = replace(found.deployment, key_file=key, allowed={"memlock": "8MiB"})
        return made

    monkeypatch.setattr("abstractcore.deploy.profiles.deployment", planned)
    return found


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "Qwen2.5-Coder-7B"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(configs()["Qwen2.5-Coder-7B"]["config.json"]))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_up_says_what_is_proved_and_where_next(engine: FakeEngine, model: str) -> None:
    done = run("up", model, *OPTIONS)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("http://vllm-server:8000/v1 (private profile)")
    assert "in force:  every flag as planned, by inspect" in lines
    assert any(line.startswith("client:    got an answer in") and "'Hi.'" in line for line in lines)
    assert "given up:  memlock, to 8MiB" in lines
    assert f"stop it:   abstractcore down {' '.join(PROJECT)}" in lines


def test_up_as_json(engine: FakeEngine, model: str) -> None:
    document = json.loads(run("up", model, *OPTIONS, "--json").stdout)
    assert document["schema"] == "abstractcore.up/1"
    assert (document["ran_already"], document["problems"]) == (False, [])
    assert document["completion"]["content"] == "Hi."
    assert json.loads(run("up", model, *OPTIONS, "--json").stdout)["ran_already"] is True


def test_what_stands_in_the_way_comes_all_at_once_with_exit_code_3(
    engine: FakeEngine, model: str, facts: list[Facts]
) -> None:
    facts.append(Facts(taken_names=("vllm-server",), missing_sources=("/gone",)))
    done = run("up", model, *OPTIONS, "--json")
    assert done.exit_code == 3
    assert [row["id"] for row in json.loads(done.stdout)["problems"]] == ["name.taken", "mount.source"]
    assert done.stderr.count("error: ") == 2
    assert "try: docker rename vllm-server vllm-server-old" in done.stderr
    assert not engine.containers


def test_a_dry_run_prints_commands_and_starts_nothing(engine: FakeEngine, model: str) -> None:
    done = run("up", model, *OPTIONS, "--dry-run")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("docker network create ")
    assert done.stdout.count("docker run --detach") == 2
    assert not engine.containers
    commands = json.loads(run("up", model, *OPTIONS, "--dry-run", "--json").stdout)["commands"]
    assert commands[-1][:3] == ["docker", "run", "--detach"]


def test_a_plan_that_says_no_is_not_tried(engine: FakeEngine, model: str) -> None:
    done = run("up", model, "--gpus", "1xL4", "--context", "9000000", "--yes")
    assert done.exit_code == 3
    assert "error: vLLM would refuse: " in done.stderr
    assert engine.asked == []


def test_status_diff_logs_and_down(engine: FakeEngine, model: str) -> None:
    run("up", model, *OPTIONS)
    status = run("status", *PROJECT)
    assert status.exit_code == 0
    assert "running, since 2026-11-22T02:08:45Z, 0 restarts, as planned" in status.stdout
    assert run("diff", *PROJECT).stdout.count(": as planned") == 2
    assert "Application startup complete" in run("logs", *PROJECT).stdout
    assert run("logs", "client", "--follow", *PROJECT).exit_code == 0

    engine.containers[engine.deployment.server.name]["HostConfig"]["IpcMode"] = "host"
    diff = run("diff", *PROJECT)
    assert diff.exit_code == 3
    assert "--ipc: planned private, in force host" in diff.stdout
    rows = json.loads(run("diff", *PROJECT, "--json").stdout)["containers"][engine.deployment.server.name]
    assert rows == [{"flag": "--ipc", "planned": "private", "in_force": "host"}]
    assert run("status", *PROJECT).exit_code == 3
    found = json.loads(run("status", *PROJECT, "--json").stdout)
    assert found["schema"] == "abstractcore.status/1"
    assert found["rows"][0]["differences"] == rows

    assert "would remove the container" in run("down", *PROJECT, "--dry-run").stdout
    assert engine.containers
    down = run("down", *PROJECT, "--yes")
    assert down.stdout.count("removed the container") == 2
    assert "kept the volume" in down.stderr
    assert run("status", *PROJECT).exit_code == 1
    gone = json.loads(run("down", *PROJECT, "--volumes", "--json", "--yes").stdout)
    assert gone["volumes"] == [f"{PROJECT[1]}-cache"]
    assert gone["key"].endswith("/vllm-api-key")


def test_what_was_never_started_is_said_so(engine: FakeEngine) -> None:
    for command in ("status", "logs", "diff"):
        done = run(command, "--project", "nothing")
        assert done.exit_code == 1
        assert "try: abstractcore up MODEL" in done.stderr
