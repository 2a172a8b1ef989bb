"""Transformers in this process, on a real small model: its own tokens, constraints, adapters, memory.

Run with a Python that has the extra ``huggingface``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore.providers.local.huggingface import HuggingFaceProvider
from tests.live import in_process
from tests.live.in_process import GUIDED, QUESTION, SMOLLM2

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("smollm2")]
PROMPTS = (QUESTION, "Write a short poem about the sea.", "Was ist Glück? Antworte auf Deutsch: äöü €", "1 2 3 4")


@pytest.fixture(scope="module")
def llm(smollm2: object) -> Iterator[HuggingFaceProvider]:
    with HuggingFaceProvider(str(SMOLLM2), device="cpu") as provider:
        provider.wait_until_ready(300)
        yield provider


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens_are_those_of_transformers_own_generate(llm: HuggingFaceProvider, prompt: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    model = AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.bfloat16)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40)
    expected = made[0, ids.shape[1] :]
    assert in_process.ours(llm, prompt, 40) == [tokenizer.decode([token]) for token in expected.tolist()]
    whole = llm.generate(prompt, temperature=0, max_output_tokens=40).content
    assert whole == tokenizer.decode(expected, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_answers_in_a_chat(llm: HuggingFaceProvider) -> None:
    in_process.answers_in_a_chat(llm)


def test_ends_where_it_is_told(llm: HuggingFaceProvider) -> None:
    in_process.ends_where_it_is_told(llm)


def test_obeys_a_seed(llm: HuggingFaceProvider) -> None:
    in_process.obeys_a_seed(llm)


@pytest.mark.parametrize("guided", GUIDED, ids=str)
def test_keeps_every_kind_of_constraint(llm: HuggingFaceProvider, guided: dict[str, Any]) -> None:
    in_process.keeps(llm, guided)


def test_says_when_a_constraint_is_cut(llm: HuggingFaceProvider) -> None:
    in_process.says_when_a_constraint_is_cut(llm)


def test_refuses_what_it_can_not_do(llm: HuggingFaceProvider) -> None:
    in_process.refuses(llm)


def test_stops_when_nobody_listens(llm: HuggingFaceProvider) -> None:
    in_process.stops_when_nobody_listens(llm)


def test_serves_two_threads(llm: HuggingFaceProvider) -> None:
    in_process.serves_two_threads(llm)


def test_has_adapters(llm: HuggingFaceProvider) -> None:
    in_process.has_adapters(llm)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_answers_as_peft_alone_does(llm: HuggingFaceProvider) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SMOLLM2)
    base = AutoModelForCausalLM.from_pretrained(SMOLLM2, dtype=torch.bfloat16)
    model = PeftModel.from_pretrained(base, str(in_process.adapter(2))).eval()
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    made = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
    expected = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    llm.load_adapter("two", in_process.adapter(2))
    answer = llm.generate("Once upon a time", raw_prompt=True, temperature=0, max_output_tokens=16, model="two")
    llm.unload_adapter("two")
    assert answer.content == expected


def test_unloading_frees_the_memory() -> None:
    # In 32 bits the weights are converted, so that they lie in memory and not in the mapped file.
    with HuggingFaceProvider(str(SMOLLM2), device="cpu", dtype="float32") as llm:
        before = in_process.memory()
        llm.generate(QUESTION, max_output_tokens=2)
        loaded = in_process.memory()
        llm.unload()
        after = in_process.memory()
    assert loaded - before > 400e6
    assert loaded - after > 400e6


def test_a_process_that_leaves_its_provider_open_ends_well() -> None:
    in_process.ends_well("huggingface", str(in_process.SMOLLM2))
