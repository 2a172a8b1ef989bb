"""``up``: in which order, what it proves, and what becomes of what a failed call has made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import pytest

from abstractcore.deploy.container import Deployment
from abstractcore.deploy.engine import Reply
from abstractcore.deploy.lifecycle import record
from abstractcore.deploy.lifecycle.checks import Facts, PreflightError
from abstractcore.deploy.lifecycle.up import Outcome, Wishes, look, up
from abstractcore.deploy.progress import Progress
from abstractcore.errors import DeployError

from ..engine_recordings import log, said
from .fake_engine import FakeEngine

Up: TypeAlias = Callable[..., Outcome]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine on which nothing stands in the way; what is measured has tests of its own."""
    monkeypatch.setattr("abstractcore.deploy.lifecycle.up.measure", lambda *a, **k: Facts(is_rootless=True))
    return FakeEngine()


@pytest.fixture
def planned(engine: FakeEngine, tmp_path: Path) -> Deployment:
    found: Deployment = replace(engine.deployment, key_file=PurePosixPath(tmp_path / "state" / "key"))
    return found


@pytest.fixture
def bring_up(engine: FakeEngine, planned: Deployment, tmp_path: Path) -> Up:
    def go(deployment: Deployment = planned, **wishes: Any) -> Outcome:
        report: Callable[[Progress], None] = wishes.pop("report", lambda progress: None)
        return up(engine, deployment, Wishes(folder=tmp_path / "state", **wishes), report)

    return go


def test_the_order_of_things(engine: FakeEngine, planned: Deployment, bring_up: Up, tmp_path: Path) -> None:
    phases: list[str] = []
    outcome = bring_up(report=lambda progress: phases.append(progress.phase))
    assert outcome.canary.answers
    assert outcome.completion is not None
    assert (outcome.completion.content, outcome.completion.output_tokens) == ("Hi.", 2)
    assert outcome.ran_already is False
    verbs = [command[0] for command in engine.asked if command[0] in {"create", "start", "exec"}]
    assert verbs[:3] == ["create", "create", "start"]  # both are made and inspected before any runs
    assert engine.begins("start") == [("start", planned.server.name), ("start", planned.containers[1].name)]
    assert list(dict.fromkeys(phases)) == ["create", "load", "weights", "compile", "ready", "proof", "client"]
    assert record.load(tmp_path / "state") == planned
    assert (tmp_path / "state" / "key").stat().st_mode & 0o777 == 0o600


def test_a_second_call_proves_what_runs_and_makes_nothing(engine: FakeEngine, bring_up: Up) -> None:
    bring_up()
    engine.asked.clear()
    assert bring_up().ran_already is True
    assert not engine.begins("create")
    assert not engine.begins("start")
    assert len(engine.begins("exec")) == 2


def test_what_runs_but_gives_no_token_is_no_success(engine: FakeEngine, bring_up: Up) -> None:
    bring_up()
    engine.canary = {"health": 200, "status": None, "said": "TimeoutError: timed out", "seconds": 120.0}
    with pytest.raises(DeployError, match="runs, but gives no token") as caught:
        bring_up()
    assert "/health: 200" in str(caught.value.why)
    assert engine.containers  # it is not for this call to take down what it did not make


def test_what_was_changed_while_it_ran_is_no_success(engine: FakeEngine, planned: Deployment, bring_up: Up) -> None:
    bring_up()
    engine.containers[planned.server.name]["HostConfig"]["RestartPolicy"] = {"Name": "always"}
    with pytest.raises(DeployError, match="not as planned any more") as caught:
        bring_up()
    assert "--restart: planned on-failure:5, in force always" in str(caught.value.why)


def test_what_was_started_by_hand_a_moment_ago_is_waited_for(
    engine: FakeEngine, bring_up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up()
    canaries = [
        {"health": None, "status": None, "said": "ConnectionRefusedError: refused", "seconds": 0.0},
        engine.canary,
    ]
    monkeypatch.setattr(FakeEngine, "canary", property(lambda _: canaries.pop(0)), raising=False)
    assert bring_up().ran_already is True
    assert canaries == []


def other(planned: Deployment) -> Deployment:
    """The same with another plan."""
    labels = {**planned.server.labels, "io.abstractcore.plan": "another"}
    server = replace(planned.server, labels=labels, stop_grace=999)
    client = planned.client and replace(
        planned.client, labels={**planned.client.labels, "io.abstractcore.plan": "another"}
    )
    return replace(planned, server=server, client=client)


def test_another_plan_is_refused_and_what_differs_is_said(
    engine: FakeEngine, planned: Deployment, bring_up: Up
) -> None:
    bring_up()
    with pytest.raises(DeployError, match="runs already, with another plan") as caught:
        bring_up(other(planned))
    assert str(caught.value.why).startswith("--stop-timeout: planned 999, in force ")
    assert "io.abstractcore" not in str(caught.value.why)
    assert "--replace" in str(caught.value.hint)
    assert set(engine.containers) == {spec.name for spec in planned.containers}


def test_another_plan_replaces_what_runs_if_that_is_asked(
    engine: FakeEngine, planned: Deployment, bring_up: Up
) -> None:
    bring_up()
    new = other(planned)
    engine.make = lambda document: document["Config"].update(
        StopTimeout=999 if document["Name"] == f"/{new.server.name}" else document["Config"]["StopTimeout"]
    )
    assert bring_up(new, replace=True).ran_already is False
    assert engine.begins("stop")
    assert engine.containers[new.server.name]["Config"]["Labels"]["io.abstractcore.plan"] == "another"


def test_what_has_stopped_is_made_anew(engine: FakeEngine, planned: Deployment, bring_up: Up) -> None:
    bring_up()
    engine.containers[planned.server.name]["State"]["Status"] = "exited"
    assert bring_up().ran_already is False
    assert len(engine.begins("create")) == 4


# --- failures --------------------------------------------------------------------------------------------------------


def nothing_is_left(engine: FakeEngine) -> bool:
    return not (engine.containers or engine.networks or engine.volumes)


def test_a_container_that_is_not_as_planned_never_starts(engine: FakeEngine, bring_up: Up) -> None:
    engine.make = lambda document: document["HostConfig"].update(IpcMode="shareable", ShmSize=1)
    with pytest.raises(DeployError, match="docker did not make") as caught:
        bring_up()
    assert "--shm-size: planned" in str(caught.value.why)
    assert not engine.begins("start")
    assert nothing_is_left(engine)


def test_a_server_that_dies_says_why_and_nothing_stays(engine: FakeEngine, bring_up: Up, tmp_path: Path) -> None:
    engine.log, engine.exit_code = log("small-shm"), 1
    with pytest.raises(DeployError) as caught:
        bring_up()
    assert caught.value.message.startswith("the shared memory of the container is too small")
    assert "160 MiB required, 64 MiB free" in str(caught.value.why)
    kept = tmp_path / "state" / "failed.log"
    assert str(kept) in str(caught.value.hint)
    assert "Engine core initialization failed" in kept.read_text()
    assert nothing_is_left(engine)
    assert not (tmp_path / "state" / "key").exists()


def test_a_container_that_will_not_start(engine: FakeEngine, bring_up: Up) -> None:
    engine.refuse["start"] = Reply(1, tuple(said("gpus").splitlines()))
    with pytest.raises(DeployError, match="the engine has no GPU runtime"):
        bring_up()
    assert nothing_is_left(engine)


def test_a_client_that_gets_no_answer(engine: FakeEngine, bring_up: Up) -> None:
    engine.answer = Reply(4, ("error: no connection to http://vllm-server:8000/v1",))
    with pytest.raises(DeployError, match="gets no answer from http://vllm-server:8000/v1") as caught:
        bring_up()
    assert "no connection" in str(caught.value.why)
    assert nothing_is_left(engine)


def test_an_interrupted_call_leaves_nothing(engine: FakeEngine, bring_up: Up) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.phase == "weights":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring_up(report=interrupt)
    assert nothing_is_left(engine)


def test_what_was_there_before_stays_there(engine: FakeEngine, planned: Deployment, bring_up: Up) -> None:
    engine.volumes[planned.volumes[0].name] = planned.project
    engine.log, engine.exit_code = log("small-shm"), 1
    with pytest.raises(DeployError):
        bring_up()
    assert list(engine.volumes) == [planned.volumes[0].name]


def test_a_failed_start_is_kept_if_that_is_asked(engine: FakeEngine, planned: Deployment, bring_up: Up) -> None:
    engine.log, engine.exit_code = log("bad-argument"), 2
    with pytest.raises(DeployError, match="vLLM refuses its arguments"):
        bring_up(keep=True)
    assert planned.server.name in engine.containers


def test_a_container_of_somebody_else_survives_the_undoing(
    engine: FakeEngine, planned: Deployment, bring_up: Up
) -> None:
    name = planned.server.name
    engine.containers[name] = {"Name": f"/{name}", "Config": {"Labels": {}}, "State": {}}
    engine.refuse["create"] = Reply(1, tuple(said("name").splitlines()))
    with pytest.raises(DeployError, match="there is another container called"):
        bring_up()
    assert name in engine.containers


def test_what_stands_in_the_way_is_said_before_anything_is_made(
    engine: FakeEngine, bring_up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Facts(taken_names=("a",), missing_sources=("/nowhere",))
    monkeypatch.setattr("abstractcore.deploy.lifecycle.up.measure", lambda *a, **k: facts)
    engine.images.clear()
    engine.refuse["manifest"] = Reply(1, tuple(said("manifest").splitlines()))
    with pytest.raises(PreflightError) as caught:
        bring_up()
    assert [problem.id for problem in caught.value.problems] == ["image.missing", "name.taken", "mount.source"]
    assert not engine.begins("pull")  # gigabytes are not worth it when something else is wrong
    assert not engine.begins("create")


def test_missing_images_are_pulled_with_progress(engine: FakeEngine, bring_up: Up) -> None:
    engine.images.clear()
    seen: list[float | None] = []
    bring_up(report=lambda progress: seen.append(progress.fraction) if progress.phase == "pull" else None)
    assert engine.begins("pull")
    assert seen == [None, 0.0, 1.0]


def test_a_rehearsal_changes_nothing(engine: FakeEngine, planned: Deployment, tmp_path: Path) -> None:
    engine.images.clear()
    assert look(engine, planned, Wishes(folder=tmp_path)) == ()
    assert nothing_is_left(engine)
    assert not engine.images
    assert list(tmp_path.iterdir()) == []
