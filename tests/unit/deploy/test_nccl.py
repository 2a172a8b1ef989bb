from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from abstractcore.deploy.choose import Wish
from abstractcore.deploy.container import Deployment
from abstractcore.deploy.hardware import Gpu, parse_gpus
from abstractcore.deploy.nccl import peer_to_peer
from abstractcore.deploy.plan import make_plan

from .deployments import deployed, planned
from .goldens import card

OFF = {"NCCL_P2P_DISABLE": "1", "VLLM_ALLREDUCE_USE_SYMM_MEM": "0"}
FLAG = "--disable-custom-all-reduce"


def v100s(link: Literal["nvlink", "pcie"]) -> tuple[Gpu, ...]:
    return tuple(replace(gpu, link=link) for gpu in parse_gpus("2xV100-16GB"))


def settings(found: Deployment) -> dict[str, str]:
    return {name: value for name, value in found.server.environment.items() if name in OFF}


def test_off_switches_off_all_three_ways_of_the_server() -> None:
    found = deployed(gpus="4xL4", p2p="off")
    assert settings(found) == OFF
    assert FLAG in found.server.command
    assert found.client is not None
    assert not set(found.client.environment) & set(OFF)


def test_on_sets_nothing() -> None:
    found = deployed(gpus="2xV100-16GB", p2p="on")
    assert settings(found) == {}
    assert FLAG not in found.server.command


@pytest.mark.parametrize(("link", "off"), [("pcie", True), ("nvlink", False)])
def test_two_v100_decide_by_their_link(link: Literal["nvlink", "pcie"], off: bool) -> None:
    plan = make_plan(card("Qwen2.5-Coder-7B"), v100s(link), Wish(context=4096, tp=2))
    found = peer_to_peer(plan, "auto")
    assert found.off is off
    assert dict(found.env) == (OFF if off else {})
    assert found.args == ((FLAG,) if off else ())
    assert ("NCCL_P2P_DISABLE" in found.reason and "--p2p off" in found.reason) is not off


def test_one_rank_needs_no_peers() -> None:
    found = peer_to_peer(planned("4xL4"), "auto")
    assert not found.off
    assert "one rank" in found.reason


def test_newer_cards_are_left_to_nccl() -> None:
    found = peer_to_peer(planned("4xL4", tp=4), "auto")
    assert not found.off
    assert "NCCL" in found.reason


def test_the_reason_is_told() -> None:
    assert any("peer-to-peer" in reason for reason in deployed().reasons)
