from __future__ import annotations

import re
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abstractcore.deploy.assess import Assessment, assess
from abstractcore.deploy.choose import Wish
from abstractcore.deploy.hardware import CPU, Gpu, parse_gpus
from abstractcore.deploy.memory import Flags, in_flight
from abstractcore.deploy.plan import Plan, make_plan
from abstractcore.errors import ConfigurationError
from abstractcore.vllm_facts.gpus import GIB
from abstractcore.vllm_facts.sizing import NEWEST, SIZING, sizing_for

from .goldens import card, configs

PLAIN = ["Qwen2.5-Coder-7B", "Llama-3.1-8B", "Qwen3-30B-A3B", "gemma-3-12b-it", "DeepSeek-V2-Lite", "gpt-oss-20b",
         "Nemotron-Nano-9B-v2", "Qwen3.5-27B", "Mistral-7B-v0.1", "Llama-3.1-8B-w4a16", "Llama-4-Scout"]  # fmt: skip


def plan(model: str, gpus: str, version: tuple[int, int, int] | None = None, **wish: object) -> Plan:
    return make_plan(card(model), parse_gpus(gpus), Wish(**wish), version=version)  # type: ignore[arg-type]


def flags(**changes: object) -> Flags:
    base = Flags(
        utilization=0.9, max_model_len=4096, max_num_seqs=64, max_num_batched_tokens=2048, dtype="bfloat16"
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


# --- the cases that the plan exists for ------------------------------------------------------------------------------


def test_four_l4_serve_a_7b_model_in_four_replicas() -> None:
    found = plan("Qwen2.5-Coder-7B", "4xL4", context=8192, utilization=0.9)
    assert found.verdict == "FIT"
    assert (found.chosen.flags.tp, found.chosen.flags.replicas) == (1, 4)
    assert found.chosen.best.tokens == pytest.approx(84_000, rel=0.05)
    assert 38 < found.chosen.requests < 44
    assert found.runner_up is not None


def test_more_requests_than_replicas_hold_take_more_ranks() -> None:
    found = plan("Qwen2.5-Coder-7B", "4xL4", context=8192, utilization=0.9, concurrency=120)
    assert found.chosen.flags.tp == 4
    assert found.chosen.requests >= 120


def test_an_moe_model_takes_all_four_l4() -> None:
    found = plan("Qwen3-Coder-30B-A3B", "4xL4", context=8192, utilization=0.9)
    assert found.verdict in {"FIT", "TIGHT"}
    assert found.chosen.flags.tp == 4
    assert found.chosen.best.tokens == pytest.approx(174_000, rel=0.1)
    assert 32 <= found.chosen.flags.max_num_seqs <= 64


def test_too_few_gpus_say_how_many_are_enough() -> None:
    found = plan("Qwen3-Coder-30B-A3B", "1xL4", context=8192)
    assert found.verdict == "REFUSE"
    assert found.change == "4xL4"


def test_a_v100_gets_the_pinned_image() -> None:
    found = plan("Qwen2.5-7B", "2xV100-16GB", context=4096)
    assert found.verdict in {"FIT", "TIGHT"}
    assert found.version == (0, 8, 5)
    assert found.env["VLLM_USE_V1"] == "0"
    assert "--enforce-eager" in found.arguments()
    assert found.chosen.flags.dtype == "float16"
    assert any("pinned image" in note and "security" in note for note in found.notes)


def test_what_a_v100_server_can_not_run_is_refused() -> None:
    for model in ("gpt-oss-20b", "Qwen3-Next-80B", "Qwen2.5-7B-AWQ"):
        found = plan(model, "8xV100-32GB")
        assert found.verdict == "REFUSE"
        assert found.chosen.refusals[0].rule in {"architecture", "quantization"}


def test_a_current_image_on_a_v100_is_refused() -> None:
    found = plan("Qwen2.5-7B", "2xV100-16GB", (0, 32, 0), context=4096)
    assert found.chosen.refusals[0].rule == "capability"
    assert "0.8.5" in found.chosen.refusals[0].cure


def test_bfloat16_on_old_cards() -> None:
    found = plan("Qwen2.5-7B", "1xT4", (0, 19, 0), context=1024, dtype="bfloat16")
    assert "at least 8.0" in found.chosen.refusals[0].phrase
    assert plan("gemma-3-1b", "1xT4", context=1024).chosen.flags.dtype == "float32"


def test_a_context_that_does_not_fit_names_the_one_that_does() -> None:
    found = plan("Llama-3.1-8B", "1xL4", context=131072)
    assert found.verdict == "REFUSE"
    assert found.chosen.refusals[0].phrase.startswith(
        "To serve at least one request with the model's max seq len (131072)"
    )
    match = re.search(r"--context (\d+)", found.change or "")
    assert match is not None
    again = plan("Llama-3.1-8B", "1xL4", context=int(match[1]))
    assert again.verdict in {"FIT", "TIGHT"}


def test_a_neighbour_on_the_card() -> None:
    cards = [replace(gpu, free=int(10 * GIB)) for gpu in parse_gpus("1xL4")]
    found = make_plan(card("Qwen3-0.6B"), cards, Wish(utilization=0.9, context=2048))
    assert found.chosen.refusals[0].rule == "free memory"
    assert "is less than desired GPU memory utilization" in found.chosen.refusals[0].phrase
    adapted = make_plan(card("Qwen3-0.6B"), cards, Wish(context=2048))
    assert adapted.verdict != "REFUSE"


def test_idle_gpus_are_explained() -> None:
    found = plan("SmolLM2-135M-hf", "4xL4", tp=3, context=2048)
    assert any("stay idle" in note for note in found.notes)


def test_adapters_take_memory() -> None:
    without = plan("Qwen2.5-Coder-7B", "1xL4", context=4096)
    with_slots = plan("Qwen2.5-Coder-7B", "1xL4", context=4096, adapters=4, lora_rank=64)
    assert with_slots.chosen.best.blocks < without.chosen.best.blocks
    assert "--enable-lora" in with_slots.arguments()


def test_no_gpus() -> None:
    with pytest.raises(ConfigurationError, match="no GPUs"):
        make_plan(card("Qwen3-8B"), ())


def test_releases_outside_the_table_are_said_to_be() -> None:
    assert any("extrapolated" in note for note in plan("Qwen3-8B", "1xH100", (0, 99, 0)).notes)
    assert not any("extrapolated" in note for note in plan("Qwen3-8B", "1xH100", (0, 19, 0)).notes)


def test_rows_are_in_order() -> None:
    versions = [row.version for row in SIZING]
    assert versions == sorted(versions)
    assert sizing_for((0, 19, 1))[1] == "between"
    assert sizing_for(NEWEST.version) == (NEWEST, "exact")


def test_the_sampler_of_old_releases_is_seen() -> None:
    old = plan("Qwen3-14B", "1xH100", (0, 16, 0), context=8192, utilization=0.95, max_num_seqs=1024, tp=1)
    new = plan("Qwen3-14B", "1xH100", (0, 17, 0), context=8192, utilization=0.95, max_num_seqs=1024, tp=1)
    peaks = [entry.chosen.ranks[0].activation.best / GIB for entry in (old, new)]
    assert peaks == [pytest.approx(5.64, rel=0.03), pytest.approx(2.23, rel=0.03)]


# --- properties ------------------------------------------------------------------------------------------------------


def judged(model: str, gpu: Gpu, **changes: object) -> Assessment:
    return assess(card(model), flags(**changes), [gpu] * 16, NEWEST)


@given(
    st.sampled_from(PLAIN), st.sampled_from(["L4", "A100-80GB", "H100", "H200", "RTX4090"]),
    st.sampled_from([256, 4096, 8192]), st.sampled_from([8, 256]),
)  # fmt: skip
@settings(max_examples=60)
def test_more_ranks_never_give_fewer_blocks(model: str, gpu: str, length: int, sequences: int) -> None:
    one = parse_gpus(gpu)[0]
    counts = []
    for tp in (1, 2, 4, 8):
        found = judged(model, replace(one, link="pcie"), tp=tp, max_model_len=length, max_num_seqs=sequences)
        if not any(refusal.rule not in {"memory", "weights", "context"} for refusal in found.refusals):
            counts.append(found.best.blocks)
    assert counts == sorted(counts)


@given(st.sampled_from(PLAIN), st.sampled_from(["L4", "A100-80GB", "H100"]), st.floats(0.3, 0.98), st.floats(0.0, 0.02))
@settings(max_examples=60)
def test_more_utilization_never_gives_fewer_blocks(model: str, gpu: str, share: float, more: float) -> None:
    one = parse_gpus(gpu)[0]
    low, high = (judged(model, one, utilization=u) for u in (share, share + more))
    assert low.best.blocks <= high.best.blocks
    assert low.low.blocks <= low.best.blocks <= low.high.blocks


@given(
    st.sampled_from(sorted(configs())),
    st.sampled_from(["1xL4", "4xL4", "2xA100-40GB", "1xH100", "8xH100", "2xRTX3090"]),
    st.sampled_from([None, 512, 2048]),
    st.sampled_from([None, 1, 64]),
    st.sampled_from([(0, 16, 0), (0, 19, 0), (0, 32, 0)]),
)
@settings(max_examples=150)
def test_fit_means_that_all_ranks_hold_what_is_needed(
    model: str, gpus: str, context: int | None, concurrency: int | None, version: tuple[int, int, int]
) -> None:
    found = plan(model, gpus, version, context=context, concurrency=concurrency)
    chosen = found.chosen
    if found.verdict == "REFUSE":
        assert chosen.refusals
        assert all(refusal.cure for refusal in chosen.refusals)
        return
    assert chosen.pool is not None
    assert chosen.flags.gpus * chosen.flags.replicas <= len(found.gpus)
    for rank in chosen.ranks:
        parts = (rank.weights, rank.activation, rank.non_torch, rank.adapters)
        counted = rank.graphs.best if found.facts.graphs_counted else 0
        assert sum(part.best for part in parts) + counted + rank.kv.best <= rank.budget + 1
        assert rank.budget == ceil(rank.total * chosen.flags.utilization)
        needed = chosen.pool.needed(chosen.flags.max_model_len, in_flight(chosen.flags, found.facts), rank.stage)
        spare = chosen.pool.bytes_per_block(rank.stage)
        held = rank.kv.low if found.verdict == "FIT" else rank.kv.best
        assert needed + spare <= held or not chosen.pool.groups


def test_a_plan_does_not_walk_all_experts() -> None:
    assert len(card("DeepSeek-V3").tensors_for("bfloat16")) < 100


def test_the_cpu_holds_what_it_is_given() -> None:
    found = make_plan(card("SmolLM2-135M-hf"), (CPU,), Wish(context=2048, kv_cache_memory=2 * GIB))
    assert found.env == {"VLLM_CPU_KVCACHE_SPACE": "2"}
    assert found.log_lines()[0].startswith("CPU KV cache size: 93,184 tokens")


# Start-up logs that people published; none of them was used to find a constant.
PUBLISHED = [
    (plan("Llama-3.1-8B", "1xH100", (0, 8, 5), context=32768, utilization=0.9, as_is=True, max_num_seqs=256,
          max_num_batched_tokens=2048), 1.19, 54.93),
    (plan("Llama-3.1-8B", "1xA100-40GB", (0, 19, 0), context=32768, utilization=0.9, as_is=True), None, 19.92),
    (plan("DeepSeek-R1-0528-Qwen3-8B", "4xTURING@21.48GiB/7.5", (0, 8, 5), context=65536, utilization=0.93, tp=4,
          max_num_batched_tokens=8192, dtype="half", as_is=True), 1.45, 14.49),
]  # fmt: skip


@pytest.mark.parametrize(("found", "activation", "kv"), PUBLISHED, ids=["H100", "A100", "2080Ti"])
def test_logs_that_were_published(found: Plan, activation: float | None, kv: float) -> None:
    rank = found.chosen.ranks[0]
    assert found.verdict != "REFUSE"
    assert rank.kv.best / GIB == pytest.approx(kv, rel=0.03)
    if activation:
        assert rank.activation.best / GIB == pytest.approx(activation, rel=0.03)
