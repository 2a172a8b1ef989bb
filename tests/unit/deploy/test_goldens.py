"""The plan's integers against vLLM's own, and its estimates against real start-up logs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from abstractcore.deploy.assess import assess
from abstractcore.deploy.choose import Wish
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.memory import in_flight, kv_pool
from abstractcore.deploy.plan import make_plan
from abstractcore.deploy.refusals import refusals
from abstractcore.vllm_facts.gpus import GIB
from abstractcore.vllm_facts.sizing import NEWEST

from .goldens import Golden, calibration, card, configs, goldens, gpus, launch

STARTED = [golden for golden in goldens() if "error" not in golden]
REFUSED = [golden for golden in goldens() if "error" in golden]
SIZED = [golden for golden in STARTED if "num_blocks" in golden]


def names(found: list[Golden]) -> list[str]:
    return [golden["id"] for golden in found]


def test_there_are_many_goldens() -> None:
    assert len(SIZED) >= 100
    assert len({golden["model"] for golden in STARTED}) >= 34
    assert len({golden["arch"] for golden in STARTED}) >= 30


@pytest.mark.parametrize("golden", SIZED, ids=names(SIZED))
def test_cache_is_exact(golden: Golden) -> None:
    flags, pp = launch(golden), golden.get("pp", 1)
    pool = kv_pool(card(golden["model"]), flags, gpus(golden)[0])
    length = golden["max_model_len"]
    memory = [golden["kv_bytes"]] * pp
    if golden["args"].get("max_model_len") == -1:  # vLLM takes the longest that fits
        length = pool.longest(memory, length, in_flight(flags, NEWEST))
    blocks = pool.blocks(memory)
    assert pool.bytes_per_block() == golden["bytes_per_block"]
    assert blocks == golden["num_blocks"]
    assert pool.tokens(blocks, length, in_flight(flags, NEWEST)) == golden["tokens"]


@pytest.mark.parametrize("golden", STARTED, ids=names(STARTED))
def test_defaults_are_vllms(golden: Golden) -> None:
    flags = launch(golden)
    assert flags.max_num_batched_tokens == golden["max_num_batched_tokens"]
    assert flags.max_num_seqs == golden["max_num_seqs"]
    assert flags.dtype == golden["dtype"]


def test_weights_are_within_a_thousandth() -> None:
    off = {}
    for golden in STARTED:
        flags, model = launch(golden), card(golden["model"])
        found = [parameters(model.name, replace(flags, pp=golden.get("pp", 1)), s) for s in range(golden.get("pp", 1))]
        wanted = max(rank["params"] for rank in golden["ranks"])
        if abs(max(found) / wanted - 1) > 0.001:
            off[golden["id"]] = f"{max(found) / wanted - 1:+.4%}"
    assert len(off) <= 0.05 * len(STARTED), off


def parameters(name: str, flags: object, stage: int) -> int:
    """Weights without the tables and the second copies that vLLM's parameters don't count."""
    from abstractcore.deploy.memory import Flags
    from abstractcore.deploy.sizing import experts
    from abstractcore.deploy.sizing.tensors import stage_bytes, stages

    assert isinstance(flags, Flags)
    model = card(name)
    tensors = [
        t for t in model.tensors_for(flags.dtype, flags.quantization)
        if not t.name.endswith(("cos_sin_cache", "conv_weights"))
    ]  # fmt: skip
    shape = model.shape
    size = stage_bytes(
        tensors, tp=flags.tp, stage=stage, pp=flags.pp, layers=shape.layers, kv_heads=max(1, shape.kv_heads)
    )
    mine = stages(shape.layers, flags.pp)[stage]
    return size + experts.padding(shape, flags.tp, sum(shape.has_experts(n) for n in mine))


@pytest.mark.parametrize("golden", REFUSED, ids=names(REFUSED))
def test_refusals_have_vllms_words(golden: Golden) -> None:
    every = refusals(card(golden["model"]), launch(golden), gpus(golden), NEWEST)
    found = [refusal for refusal in every if refusal.rule != "capability"]  # the image's, which the oracle has not
    assert found, golden["error"]
    assert all(refusal.cure for refusal in found)
    said = plain(golden["error"].partition(": ")[2])
    phrase = plain(found[0].phrase)
    assert phrase in said if phrase else said == "", (found[0].phrase, golden["error"])


def plain(text: str) -> str:
    text = re.sub(r"1 validation error for \w+\s+Value error, ", "", text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".")


def test_nothing_that_starts_is_refused() -> None:
    wrong = {
        golden["id"]: found[0].rule
        for golden in STARTED
        if golden["args"].get("dtype") != "bfloat16"  # the worker refuses it, the configuration does not
        and (
            found := [
                r
                for r in refusals(card(golden["model"]), launch(golden), gpus(golden), NEWEST)
                if r.rule != "capability"
            ]
        )
    }
    assert wrong == {}


def test_a_request_that_does_not_fit_is_told_in_vllms_words() -> None:
    for golden in [g for g in STARTED if "kv_error" in g]:
        found = assess(card(golden["model"]), launch(golden), gpus(golden), NEWEST)
        assert found.verdict == "REFUSE"
        assert found.refusals[0].phrase in golden["kv_error"]


# --- start-up logs ---------------------------------------------------------------------------------------------------


def wish_of(row: dict[str, str]) -> Wish:
    def flag(name: str) -> str | None:
        match = re.search(rf"--{name} (\S+)", row["flags"])
        return match[1] if match else None

    def number(name: str, default: int) -> int:
        return int(flag(name) or default)

    return Wish(
        context=number("max-model-len", 8192),
        tp=number("tensor-parallel-size", 1),
        pp=number("pipeline-parallel-size", 1),
        replicas=number("data-parallel-size", 1),
        utilization=float(flag("gpu-memory-utilization") or 0.9),
        dtype=flag("dtype"),
        kv_cache_dtype=flag("kv-cache-dtype"),
        quantization="fp8" if "[quant fp8]" in row["flags"] else None,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
    )


def judged(row: dict[str, str]) -> tuple[str, float]:
    cards = parse_gpus(f"{row['count']}xH100")
    if row["outcome"] == "refuse_free":  # another process held 19 GiB of one card
        cards = tuple(replace(gpu, free=gpu.total - 19 * GIB) for gpu in cards)
    if "DP adjusted" in row["said"]:
        cards = cards[:1]
    version = tuple(int(part) for part in row["vllm_version"].split("."))
    plan = make_plan(card(row["model"]), cards, wish_of(row), version=(version[0], version[1], version[2]))
    return plan.verdict, min((rank.kv.best for rank in plan.chosen.ranks), default=0) / GIB


def test_memory_of_real_starts() -> None:
    rows = [row for row in calibration() if row["kv_gib"]]
    off = [abs(judged(row)[1] / float(row["kv_gib"]) - 1) for row in rows]
    assert len(rows) >= 60
    assert sum(error <= 0.03 for error in off) >= 0.9 * len(rows)
    assert sorted(off)[len(off) // 2] < 0.002


def test_verdicts_on_real_starts() -> None:
    rows = calibration()
    verdicts = [(row["outcome"], judged(row)[0]) for row in rows]
    assert [pair for pair in verdicts if pair[0] != "fits" and pair[1] == "FIT"] == []
    right = sum((outcome == "fits") == (verdict == "FIT") or verdict == "TIGHT" for outcome, verdict in verdicts)
    assert right >= 0.95 * len(rows)
    assert sum(verdict == "TIGHT" for _, verdict in verdicts) <= 0.2 * len(rows)


def test_every_config_is_used() -> None:
    used = {golden["model"] for golden in goldens()} | {row["model"] for row in calibration()}
    assert set(configs()) == used
