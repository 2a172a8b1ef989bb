"""The loop from a request to an answer, on a model without a framework."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from abstractcore.errors import (
    AdapterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)
from abstractcore.providers.local.adapters import AdapterBaseWarning
from abstractcore.providers.local.lora import other_base, read_adapter

from .plain_model import PlainProvider


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder, and a hub cache with nothing in it."""
    templates = ModuleType("jinja2")
    templates.TemplateError = ValueError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jinja2", templates)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    at = tmp_path / "plain"
    at.mkdir()
    (at / "config.json").write_text(json.dumps({"max_position_embeddings": 200, "eos_token_id": 261}))
    return at


@pytest.fixture
def llm(folder: Path) -> Iterator[PlainProvider]:
    with PlainProvider(folder, temperature=0) as provider:
        yield provider


def adapter(at: Path, *, base: str = "plain", inputs: int = 4, module: str = "model.layers.0.q") -> Path:
    at.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base}
    (at / "adapter_config.json").write_text(json.dumps(config))
    name = f"base_model.model.{module}"
    header = {
        f"{name}.lora_A.weight": {"dtype": "F32", "shape": [2, inputs], "data_offsets": [0, 0]},
        f"{name}.lora_B.weight": {"dtype": "F32", "shape": [6, 2], "data_offsets": [0, 0]},
    }
    data = json.dumps(header).encode()
    (at / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    return at


def test_a_stream_says_what_the_whole_answer_says(llm: PlainProvider) -> None:
    whole = llm.generate("Hi")
    chunks = list(llm.generate("Hi", stream=True))
    assert whole.content == "".join(chunk.content for chunk in chunks) == "Hello, wörld!"
    assert whole.finish_reason == chunks[-1].finish_reason == "stop"
    assert (whole.input_tokens, whole.output_tokens) == (len("user:Hi\n"), 15)  # ö is two bytes; the end token counts
    assert all("\ufffd" not in chunk.content for chunk in chunks)


def test_async_says_the_same(llm: PlainProvider) -> None:
    assert asyncio.run(llm.agenerate("Hi")).content == "Hello, wörld!"


def test_the_limit_cuts_and_says_so(llm: PlainProvider) -> None:
    answer = llm.generate("Hi", max_output_tokens=5)
    assert (answer.content, answer.finish_reason, answer.output_tokens) == ("Hello", "length", 5)


@pytest.mark.parametrize(("stop", "text"), [(", w", "Hello"), (["xyz", "l"], "He"), ("d!x", "Hello, wörld!")])
def test_stop_strings_end_the_text_across_tokens(llm: PlainProvider, stop: Any, text: str) -> None:
    answer = llm.generate("Hi", stop=stop)
    assert (answer.content, answer.finish_reason) == (text, "stop")
    streamed = llm.generate("Hi", stop=stop, stream=True)
    assert "".join(chunk.content for chunk in streamed) == text


def test_a_constraint_is_kept_and_proved_and_ends_the_answer(llm: PlainProvider) -> None:
    answer = llm.generate("Hi", guided_regex="H[a-z]{2}[0-9]")
    assert answer.content[:3] == "Hel"
    assert answer.content[3].isdigit()
    assert answer.finish_reason == "stop"
    assert answer.metadata["constraint"]["proved"]
    with pytest.raises(TruncatedOutputError):
        llm.generate("Hi", guided_regex="H[a-z]{20}", max_output_tokens=4)


def test_what_the_constraint_engine_lacks_is_refused_without_loading(folder: Path) -> None:
    llm = PlainProvider(folder / "missing")
    with pytest.raises(UnsupportedFeatureError, match="uniqueItems"):
        llm.generate("Hi", guided_json={"type": "array", "uniqueItems": True})


def test_a_seed_gives_the_same_answer_and_each_of_several_its_own(folder: Path) -> None:
    with PlainProvider(folder, temperature=5.0) as llm:
        first, again = (llm.generate("Hi", seed=3, n=2, max_output_tokens=12) for _ in range(2))
        assert first.content == again.content
        assert first.alternatives == again.alternatives
        assert first.content != first.alternatives[0].content
        assert first.output_tokens == 24


def test_logprobs_name_the_tokens_and_the_likeliest(llm: PlainProvider) -> None:
    answer = llm.generate("Hi", logprobs=2, max_output_tokens=2)
    assert answer.logprobs is not None
    assert [token.token for token in answer.logprobs] == ["H", "e"]
    chosen = llm.generate("Hi", logprobs=True, max_output_tokens=1).logprobs or []
    assert [(token.token, token.top) for token in chosen] == [("H", {})]
    assert all(len(token.top) == 2 and token.logprob == max(token.top.values()) for token in answer.logprobs)


def test_a_prompt_that_does_not_fit_gives_the_counts(llm: PlainProvider) -> None:
    with pytest.raises(ContextLengthError, match=r"206 tokens.*200"):
        llm.generate("x" * 200)
    with pytest.raises(ContextLengthError, match=r"8 tokens.*195.*200"):
        llm.generate("Hi", max_output_tokens=195)


def test_a_bad_value_is_refused_by_name(llm: PlainProvider) -> None:
    with pytest.raises(InvalidRequestError, match="top_p"):
        llm.generate("Hi", top_p=2)


def test_closing_a_stream_ends_the_generation(folder: Path) -> None:
    steps, go_on = [], threading.Event()

    def after() -> None:
        steps.append(1)
        if len(steps) == 3:
            assert go_on.wait(10)

    with PlainProvider(folder, script="x" * 150, after=after) as llm:
        stream = llm.generate("Hi", stream=True)
        next(stream)
        stream.close()
        go_on.set()
        llm.generate("Hi", max_output_tokens=1)  # runs after it, in the same thread
    assert len(steps) < 10


def test_the_prompt_is_counted_as_it_is_read(llm: PlainProvider) -> None:
    assert llm.count_tokens("Hi") == llm.generate("Hi").input_tokens == 8
    assert llm.count_tokens("Hi", chat_template_kwargs={"enable_thinking": False}) == 8 + len("[enable_thinking=False]")
    assert llm.generate("Hi", raw_prompt=True).input_tokens == 2
    assert llm.detokenize(llm.tokenize("wörd")) == "wörd"


def test_an_adapter_answers_under_its_name(llm: PlainProvider, tmp_path: Path) -> None:
    path = adapter(tmp_path / "one")
    assert llm.load_adapter("sql", path).endswith("loaded successfully")
    assert llm.load_adapter("sql", path).endswith("it was there already")
    answer = llm.generate("Hi", model="sql")
    assert (answer.content, answer.model) == ("sql speaks", "sql")
    assert "sql" in llm.list_adapters()
    assert llm.generate("Hi").content == "Hello, wörld!"
    assert llm.unload_adapter("sql").endswith("unloaded successfully")
    with pytest.raises(ModelNotFoundError, match="sql"):
        llm.generate("Hi", model="sql")
    with pytest.raises(AdapterError, match="not loaded"):
        llm.unload_adapter("sql")


def test_a_taken_name_is_replaced_only_on_wish(llm: PlainProvider, tmp_path: Path) -> None:
    one, two = adapter(tmp_path / "one"), adapter(tmp_path / "two")
    assert llm.ensure_adapters({"sql": one}) == ["sql"]
    assert llm.ensure_adapters({"sql": one}) == []
    with pytest.raises(AdapterError, match="taken"):
        llm.load_adapter("sql", two)
    assert llm.load_adapter("sql", two, replace=True).endswith("loaded successfully")
    assert llm.list_adapters()[0].path == str(two)


def test_an_adapter_for_another_base_names_both_and_the_place(llm: PlainProvider, tmp_path: Path) -> None:
    with (
        pytest.raises(AdapterError, match=r"other/base.*plain.*q has 8 inputs.*4 and 6"),
        pytest.warns(AdapterBaseWarning),
    ):
        llm.load_adapter("sql", adapter(tmp_path / "wide", base="other/base", inputs=8))
    with pytest.raises(AdapterError, match="no such module"):
        llm.load_adapter("sql", adapter(tmp_path / "strange", module="other"))
    with pytest.warns(AdapterBaseWarning, match="other/base"):
        llm.load_adapter("sql", adapter(tmp_path / "named", base="other/base"))


def test_what_is_no_adapter_is_said(llm: PlainProvider, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"no adapter_config\.json"):
        llm.load_adapter("sql", tmp_path)
    broken = adapter(tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(AdapterError, match="damaged"):
        llm.load_adapter("sql", broken)


@pytest.mark.parametrize(
    ("base", "model", "other"),
    [
        ("org/Name", "/models/name", None),
        ("org/name", "/hub/models--org--name/snapshots/abc", None),
        ("org/name", "org/Other", "org/name"),
    ],
)
def test_bases_are_compared_by_their_own_names(tmp_path: Path, base: str, model: str, other: str | None) -> None:
    files = read_adapter("a", str(adapter(tmp_path / "a", base=base)))
    assert other_base(files, model) == other


def test_memory_goes_with_unload_and_the_provider_stays_usable(llm: PlainProvider, tmp_path: Path) -> None:
    llm.load_adapter("sql", adapter(tmp_path / "one"))
    llm.unload()
    assert llm.generate("Hi").content == "Hello, wörld!"
    assert llm.list_adapters() == []
