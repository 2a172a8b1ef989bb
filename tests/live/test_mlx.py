"""MLX in this process, on a real small model: the reference's logits, constraints, adapters.

Run with a Python that has the extras ``mlx`` and ``huggingface``; the second one is what the first is held against.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore.providers.local import checkpoint
from abstractcore.providers.local.lora import read_adapter
from abstractcore.providers.local.mlx import MLXProvider
from abstractcore.providers.local.mlx_engine import MLXEngine
from tests.live import in_process
from tests.live.in_process import GUIDED, QUESTION, SMOLLM2

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("smollm2")]


@pytest.fixture(scope="module")
def llm(smollm2: object) -> Iterator[MLXProvider]:
    with MLXProvider(str(SMOLLM2)) as provider:
        provider.wait_until_ready(300)
        yield provider


@pytest.fixture(scope="module")
def engine(smollm2: object) -> Iterator[MLXEngine]:
    import mlx.core as mx

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    engine = MLXEngine(str(SMOLLM2))
    engine.load()
    engine._loaded._model.set_dtype(mx.float32)  # type: ignore[attr-defined]  # so that both sides round alike
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before  # mlx-lm alone lowers it
    yield engine
    engine.close()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own
@pytest.mark.parametrize("adapter", [None, 1, 2])
def test_logits_are_those_of_transformers(engine: MLXEngine, adapter: int | None) -> None:
    """Also with an adapter; without the rotary embedding's base from the checkpoint they are far off."""
    import torch
    from transformers import AutoModelForCausalLM

    tokens = engine.tokenize({"messages": [{"role": "user", "content": QUESTION}]})
    reference: Any = AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.float32)
    name = None
    if adapter:
        from peft import PeftModel

        name = f"lora-{adapter}"
        reference = PeftModel.from_pretrained(reference, str(in_process.adapter(adapter)))
        engine.load_adapter(name, str(in_process.adapter(adapter)))
    with torch.inference_mode():
        expected = reference.eval()(torch.tensor([tokens])).logits[0, -1].tolist()
    found = engine._loaded.decoder(name).read(tokens).at(range(len(expected)))
    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) < 0.001
    assert found.index(max(found)) == expected.index(max(expected))


def test_the_checkpoint_needs_the_rotary_embedding_told() -> None:
    config = checkpoint.read_json(SMOLLM2, "config.json")
    assert checkpoint.rope_overrides(config) == {"rope_theta": 100000.0}
    assert read_adapter("a", str(in_process.adapter(1))).scale == 2.0


def test_answers_in_a_chat(llm: MLXProvider) -> None:
    in_process.answers_in_a_chat(llm)


def test_ends_where_it_is_told(llm: MLXProvider) -> None:
    in_process.ends_where_it_is_told(llm)


def test_obeys_a_seed(llm: MLXProvider) -> None:
    in_process.obeys_a_seed(llm)


@pytest.mark.parametrize("guided", GUIDED, ids=str)
def test_keeps_every_kind_of_constraint(llm: MLXProvider, guided: dict[str, Any]) -> None:
    in_process.keeps(llm, guided)


def test_says_when_a_constraint_is_cut(llm: MLXProvider) -> None:
    in_process.says_when_a_constraint_is_cut(llm)


def test_refuses_what_it_can_not_do(llm: MLXProvider) -> None:
    in_process.refuses(llm)


def test_stops_when_nobody_listens(llm: MLXProvider) -> None:
    in_process.stops_when_nobody_listens(llm)


def test_serves_two_threads(llm: MLXProvider) -> None:
    in_process.serves_two_threads(llm)


def test_has_adapters(llm: MLXProvider) -> None:
    in_process.has_adapters(llm)


def test_unloading_frees_the_memory() -> None:
    import mlx.core as mx

    with MLXProvider(f"{SMOLLM2}/") as llm:  # another name, so that it isn't shared with that of the other tests
        llm.generate(QUESTION, max_output_tokens=2)
        loaded = mx.get_active_memory() + mx.get_cache_memory()
        llm.unload()
    assert loaded - mx.get_active_memory() - mx.get_cache_memory() > 250e6


def test_a_process_that_leaves_its_provider_open_ends_well() -> None:
    """MLX leaves destructors in the threads that use it; one that ends too late would abort the process."""
    for _ in range(3):
        in_process.ends_well("mlx", str(SMOLLM2))
