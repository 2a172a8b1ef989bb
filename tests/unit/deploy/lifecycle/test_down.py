"""``down`` and ``status``: what is stopped, what is removed, what is kept, and what is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from abstractcore.deploy.engine import Reply
from abstractcore.deploy.inspected import read_container
from abstractcore.deploy.lifecycle.checks import Facts
from abstractcore.deploy.lifecycle.down import down, left_behind
from abstractcore.deploy.lifecycle.status import compare, status
from abstractcore.deploy.lifecycle.up import Wishes, up
from abstractcore.deploy.lifecycle.waiting import wait_for_server
from abstractcore.deploy.progress import silent
from abstractcore.errors import DeployError

from ..engine_recordings import log, recorded
from .fake_engine import FakeEngine

PROJECT = "abstractcore-recording"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """An engine on which a deployment runs."""
    monkeypatch.setattr("abstractcore.deploy.lifecycle.up.measure", lambda *a, **k: Facts(is_rootless=True))
    engine = FakeEngine()
    planned = replace(engine.deployment, key_file=PurePosixPath(tmp_path / "vllm-api-key"))
    up(engine, planned, Wishes(folder=tmp_path))
    engine.asked.clear()
    return engine


def test_down_drains_and_keeps_what_was_downloaded(engine: FakeEngine, tmp_path: Path) -> None:
    server = engine.deployment.server
    ended = down(engine, PROJECT, folder=tmp_path)
    # The server first: whoever asked it through the client still gets an answer.
    assert engine.begins("stop")[0] == ("stop", "--time", str(server.stop_grace), server.name)
    assert ended.containers == (server.name, engine.deployment.client.name)
    assert ended.networks == (PROJECT,)
    assert (ended.volumes, ended.kept) == ((), (f"{PROJECT}-cache",))
    assert (ended.killed, ended.key) == ((), None)
    assert (tmp_path / "vllm-api-key").exists()
    assert engine.volumes
    assert not engine.containers
    assert status(engine, PROJECT, tmp_path) is None


def test_down_with_volumes_also_after_a_first_down(engine: FakeEngine, tmp_path: Path) -> None:
    down(engine, PROJECT, folder=tmp_path)
    ended = down(engine, PROJECT, folder=tmp_path, volumes=True)
    assert ended.volumes == (f"{PROJECT}-cache",)
    assert ended.key == str(tmp_path / "vllm-api-key")
    assert not engine.volumes


def test_down_touches_nothing_else(engine: FakeEngine, tmp_path: Path) -> None:
    engine.containers["other"] = {"Name": "/other", "Config": {"Labels": {}}, "State": {"Status": "running"}}
    engine.networks["other"] = "another-project"
    engine.volumes["other"] = "another-project"
    down(engine, PROJECT, folder=tmp_path, volumes=True)
    assert (set(engine.containers), set(engine.networks), set(engine.volumes)) == ({"other"}, {"other"}, {"other"})


def test_a_server_that_had_to_be_killed_is_named(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*words: str, **_: object) -> Reply:
        engine.containers[words[-1]]["State"] |= {"Status": "exited", "ExitCode": 137}
        return Reply(0, ())

    monkeypatch.setattr(engine, "_stop", kill, raising=False)
    assert engine.deployment.server.name in down(engine, PROJECT, folder=tmp_path, grace=1).killed


def test_shared_memory_that_was_left_behind(tmp_path: Path) -> None:
    document = recorded("host").server
    document["State"]["StartedAt"] = "2026-11-22T02:08:45.570318138Z"
    document["Config"]["User"] = f"{os.getuid()}:0"
    container = read_container(document)
    for name, seconds in (("psm_new", 1_800_000_000), ("psm_old", 1_000_000_000), ("unrelated", 1_800_000_000)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (seconds, seconds))
    assert left_behind([container], tmp_path) == (str(tmp_path / "psm_new"),)
    assert left_behind([replace(container, ipc="private")], tmp_path) == ()
    assert left_behind([replace(container, user=f"{os.getuid() + 1}")], tmp_path) == ()


def test_status_of_what_runs(engine: FakeEngine, tmp_path: Path) -> None:
    found = status(engine, PROJECT, tmp_path)
    assert found is not None
    assert found.runs
    assert (found.base_url, found.model, found.profile) == ("http://vllm-server:8000/v1", "model", "private")
    assert [(row.role, row.status, row.differences) for row in found.rows] == [
        ("server", "running", ()),
        ("client", "running", ()),
    ]


def test_status_of_what_is_gone_or_changed(engine: FakeEngine, tmp_path: Path) -> None:
    server, client = engine.deployment.containers
    del engine.containers[client.name]
    engine.containers[server.name]["HostConfig"]["Privileged"] = True
    found = status(engine, PROJECT, tmp_path)
    assert found is not None
    assert not found.runs
    assert [(row.name, row.status) for row in found.rows] == [(server.name, "running"), (client.name, "missing")]
    rows = compare(engine, engine.deployment)
    assert [str(row) for row in rows[server.name]] == ["--privileged: planned no, in force yes"]
    assert [str(row) for row in rows[client.name]] == [f"container: planned {client.name}, in force not there"]


def test_a_server_that_never_answers_says_how_far_it_came(engine: FakeEngine) -> None:
    engine.canary = {"health": 200, "status": None, "said": "TimeoutError: timed out", "seconds": 300.0}
    with pytest.raises(DeployError, match="was not ready in time") as caught:
        wait_for_server(engine, engine.deployment.server, "m", silent, limit=-1)
    assert "waiting for the first token; /health 200, one token: None TimeoutError" in str(caught.value.why)


def test_a_server_that_hangs_in_nccl_gets_the_cause(engine: FakeEngine) -> None:
    engine.log = [*log("started")[:20], "(Worker pid=1) INFO 11-22 [pynccl.py:1] vLLM is using nccl==2.27.5"]
    with pytest.raises(DeployError, match="the GPUs do not hear each other") as caught:
        wait_for_server(engine, engine.deployment.server, "m", silent, limit=-1)
    assert "--p2p off" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"ExitCode": 137, "OOMKilled": True}, "there is not enough memory"),
        ({"ExitCode": 3}, "ended while it was starting"),
        ({"ExitCode": 128, "Error": 'could not select device driver "" with capabilities: [[gpu]]'}, "no GPU runtime"),
    ],
)
def test_a_server_that_ends_without_a_word(engine: FakeEngine, state: dict[str, object], said: str) -> None:
    name = engine.deployment.server.name
    engine.log = []
    engine.containers[name]["State"] = {"Status": "exited", **state}
    with pytest.raises(DeployError, match=said):
        wait_for_server(engine, engine.deployment.server, "m", silent, limit=60)
