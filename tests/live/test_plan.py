"""What a plan predicts, a real vLLM says: the size of its cache, and its words when it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from abstractcore.deploy import local_vllm, startup_log, vllm_server
from abstractcore.deploy.choose import Wish
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.model_card import from_folder
from abstractcore.deploy.plan import Plan, make_plan
from abstractcore.deploy.runtime import ServerProcess, stop_server
from abstractcore.errors import DeployError
from abstractcore.settings import cache_dir
from abstractcore.vllm_facts.gpus import GIB

from .conftest import Shown, make, unused_port


@pytest.fixture(scope="module")
def model(environment: local_vllm.Environment, show: Shown) -> Path:
    folder = cache_dir() / "models" / "tiny-qwen2"
    with show() as report:
        make(environment, folder, ["model"], report)
    return folder


def planned(model: Path, *, context: int, memory: float) -> Plan:
    wish = Wish(context=context, kv_cache_memory=int(memory * GIB), enforce_eager=True)
    return make_plan(from_folder(model), parse_gpus("cpu"), wish)


@contextmanager
def started(plan: Plan, environment: local_vllm.Environment, model: Path, folder: Path) -> Iterator[ServerProcess]:
    spec = vllm_server.ServerSpec(
        environment.python, model, "planned", unused_port(), plan.arguments(), dict(plan.env)
    )  # fmt: skip
    server = vllm_server.start(spec, log=folder / "vllm.log", pid_file=folder / "vllm.pid")
    try:
        yield server
    finally:
        stop_server(server)


def test_the_log_says_what_the_plan_says(environment: local_vllm.Environment, model: Path, tmp_path: Path) -> None:
    plan = planned(model, context=768, memory=0.3)
    assert plan.verdict == "FIT"
    with started(plan, environment, model, tmp_path) as server:
        log = Path(server.log).read_text(encoding="utf-8", errors="replace")
    assert plan.log_lines()[0] in log
    assert startup_log.read_log(log)["tokens"] == plan.chosen.best.tokens


@pytest.mark.parametrize("asked", [(1024, 0.0004, "context"), (65536, 0.3, "length")], ids=lambda asked: asked[2])
def test_what_the_plan_refuses_vllm_refuses(
    environment: local_vllm.Environment, model: Path, tmp_path: Path, asked: tuple[int, float, str]
) -> None:
    context, memory, rule = asked
    plan = planned(model, context=context, memory=memory)
    assert plan.verdict == "REFUSE"
    assert plan.chosen.refusals[0].rule == rule
    with pytest.raises(DeployError), started(plan, environment, model, tmp_path):
        pass
    log = (tmp_path / "vllm.log").read_text(encoding="utf-8", errors="replace")
    assert plan.chosen.refusals[0].phrase in log
