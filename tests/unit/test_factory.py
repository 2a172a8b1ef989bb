"""``create_llm``: the ways to name a provider and a model."""

from __future__ import annotations

import pytest

from abstractcore import ConfigurationError, VLLMProvider, create_llm


def test_a_provider_and_a_model() -> None:
    llm = create_llm("vllm", model="Qwen/Qwen3-8B", base_url="http://gpu:8000")
    assert isinstance(llm, VLLMProvider)
    assert (llm.provider, llm.model, llm.base_url) == ("vllm", "Qwen/Qwen3-8B", "http://gpu:8000/v1")


def test_both_in_one_string() -> None:
    assert create_llm("vllm/Qwen/Qwen3-8B").model == "Qwen/Qwen3-8B"


def test_two_models_contradict_each_other() -> None:
    with pytest.raises(ConfigurationError, match="names a model already"):
        create_llm("vllm/a", model="b")


def test_an_unknown_provider_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(ConfigurationError, match="no provider 'vlm'") as caught:
        create_llm("vlm")
    assert caught.value.hint == "did you mean 'vllm'?"
    assert "openai, anthropic, ollama" in (caught.value.why or "")


def test_an_unknown_setting_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="temperature"):
        create_llm("vllm", temprature=0.1)
