"""Which parser reads the tool calls of a model."""

from __future__ import annotations

import json

import pytest

from abstractcore.vllm_facts.tool_parsers import TOOL_PARSERS, tool_parser_for
from tests.recordings import TOOLS


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "hermes"),
        ("Qwen/Qwen3-8B", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_xml"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "hermes"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "hermes"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llama4_pythonic"),
        ("Salesforce/Llama-xLAM-2-8b-fc-r", "xlam"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("ibm-granite/granite-3.1-8b-instruct", "granite"),
        ("ibm-granite/granite-4.0-h-small", "granite4"),
        ("ibm-granite/granite-20b-functioncalling", "granite-20b-fc"),
        ("deepseek-ai/DeepSeek-V3.1", "deepseek_v31"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek_v3"),
        ("openai/gpt-oss-20b", "openai"),
        ("zai-org/GLM-4.6", "glm45"),
        ("/models/my_Qwen2.5_tune", "hermes"),
        ("gpt2", None),
    ],
)
def test_the_name_of_a_model_tells_its_parser(model: str, parser: str | None) -> None:
    assert tool_parser_for(model) == parser


def test_each_parser_is_one_of_the_newest_release() -> None:
    registered = json.loads((TOOLS / "parsers-0.32.0.json").read_text())
    assert set(registered) >= TOOL_PARSERS
