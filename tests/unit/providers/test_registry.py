"""The registry: the seven, in the order that is part of the interface, and what a user is told about the others."""

from __future__ import annotations

import pytest

from abstractcore import ConfigurationError
from abstractcore.capability import CAPABILITIES, KNOBS
from abstractcore.providers import VLLMProvider, get_provider_info, is_provider_available, list_available_providers

SEVEN = ["openai", "anthropic", "ollama", "lmstudio", "mlx", "huggingface", "vllm"]


def test_the_seven_in_order() -> None:
    assert list_available_providers() == SEVEN


def test_every_provider_has_its_rows_in_the_capability_tables() -> None:
    assert list(CAPABILITIES) == list(KNOBS) == SEVEN


def test_a_row_leads_to_its_class() -> None:
    assert get_provider_info("vllm").provider_class is VLLMProvider
    assert "guided_regex" in get_provider_info("vllm").supported_features
    assert get_provider_info("mlx").installation_extras == "mlx"


def test_an_unknown_name_gets_the_nearest() -> None:
    assert not is_provider_available("olama")
    with pytest.raises(ConfigurationError, match="no provider 'olama'") as caught:
        get_provider_info("olama")
    assert caught.value.hint == "create_llm('ollama', ...)"
