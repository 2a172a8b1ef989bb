"""How models write tool calls, and which of vLLM's parsers reads them.

vLLM reads tool calls only with ``--enable-auto-tool-choice --tool-call-parser NAME``. The names are those of vLLM
0.32; older releases have fewer (``vllm serve --help=tool-call-parser`` lists a release's own).
"""

from __future__ import annotations

from typing import Final

TOOL_CALL_MARKS: Final = (
    "<tool_call>",
    "<|tool_call|>",
    "<|tool_call>",
    "<|python_tag|>",
    "<longcat_tool_call>",
    "<start_function_call>",
    "<minimax:tool_call>",
    "<seed:tool_call>",
    "<|tool_calls_section_begin|>",
    "<|tool▁calls▁begin|>",
    "[TOOL_CALLS]",
)
"""With these a model begins a call. Text that has one is a call that the server's parser didn't read."""

_FAMILIES: Final = (
    ("apertus", "apertus"),
    ("cohere", "cohere_command3"),
    ("command-a", "cohere_command3"),
    ("deepseek-v4", "deepseek_v4"),
    ("deepseek-v3.2", "deepseek_v32"),
    ("deepseek-v3.1", "deepseek_v31"),
    ("deepseek-v3", "deepseek_v3"),
    ("deepseek-r1-0528", "deepseek_v3"),
    ("ernie-4.5", "ernie45"),
    ("functiongemma", "functiongemma"),
    ("gemma-4", "gemma4"),
    ("gigachat3", "gigachat3"),
    ("glm-4.7", "glm47"),
    ("glm-4.5", "glm45"),
    ("glm-4.6", "glm45"),
    ("gpt-oss", "openai"),
    ("granite-20b-functioncalling", "granite-20b-fc"),
    ("granite-4", "granite4"),
    ("granite", "granite"),
    ("hermes", "hermes"),
    ("hunyuan-a13b", "hunyuan_a13b"),
    ("internlm", "internlm"),
    ("jamba", "jamba"),
    ("kimi-k2", "kimi_k2"),
    ("kimi-k3", "kimi_k3"),
    ("lfm2", "lfm2"),
    ("xlam", "xlam"),
    ("llama-4", "llama4_pythonic"),
    ("llama-3", "llama3_json"),
    ("longcat", "longcat"),
    ("mimo", "mimo"),
    ("minimax-m2", "minimax_m2"),
    ("minimax-m3", "minimax_m3"),
    ("ministral", "mistral"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
    ("devstral", "mistral"),
    ("olmo-3", "olmo3"),
    ("phi-4-mini", "phi4_mini_json"),
    ("qwen3-coder", "qwen3_xml"),
    ("qwen3.5", "qwen3_xml"),
    ("qwen", "hermes"),
    ("qwq", "hermes"),
    ("seed-oss", "seed_oss"),
    ("smollm", "hermes"),
    ("step3", "step3"),
    ("toolace", "pythonic"),
)
"""A part of the model's name and its parser; the first that fits counts."""


def tool_parser_for(model: str) -> str | None:
    """The name of the parser for a model, by a name or path of it; ``None`` if its family is not known."""
    name = model.lower().replace("_", "-")
    return next((parser for part, parser in _FAMILIES if part in name), None)


TOOL_PARSERS: Final = frozenset(parser for _, parser in _FAMILIES)
"""All parsers that the table names."""
