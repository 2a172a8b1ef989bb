"""Tokens, images, template variables and pooling endpoints on a real server."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from abstractcore import ContextLengthError, InvalidRequestError, UnsupportedFeatureError
from abstractcore.providers import VLLMProvider
from tests.live.conftest import LiveServer


def png() -> bytes:
    """One red pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def tiny(tiny_vllm: LiveServer) -> Iterator[VLLMProvider]:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as provider:
        yield provider


@pytest.mark.parametrize("text", ["hello world", "naïve 😀 \n\ttabs", ""])
def test_tokens_and_back(tiny: VLLMProvider, text: str) -> None:
    assert tiny.detokenize(tiny.tokenize(text, special_tokens=False)) == text


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"system_prompt": "Be brief."},
        {"raw_prompt": True},
        {"messages": [{"role": "assistant", "content": "Yes?"}]},
    ],
    ids=["chat", "system", "raw", "history"],
)
def test_a_count_is_exact(tiny: VLLMProvider, options: dict[str, Any]) -> None:
    counted = tiny.count_tokens("Hello, server", **options)
    response = tiny.generate("Hello, server", max_tokens=1, **options)
    assert counted == response.input_tokens


def test_a_prompt_that_does_not_fit_is_known_before_it_is_sent(tiny: VLLMProvider) -> None:
    room = (tiny.model_info().context_length or 0) - tiny.count_tokens("hello")
    with pytest.raises(ContextLengthError) as refusal:
        tiny.generate("hello", max_tokens=room + 1, check_length=True)
    assert refusal.value.status is None
    assert refusal.value.hint == f"give max_output_tokens={room} or less"


def test_a_template_without_a_reasoning_switch_is_found_out(tiny: VLLMProvider) -> None:
    with pytest.raises(UnsupportedFeatureError, match="thinking=True"):
        tiny.generate("hello", thinking=True)


def test_images_reach_a_model_that_can_t_see(tiny: VLLMProvider) -> None:
    with pytest.raises(InvalidRequestError, match="not a multimodal model"):
        tiny.generate("What is it?", media=[png()], max_tokens=3)


def test_structural_tags_hold(tiny: VLLMProvider) -> None:
    # Not a JSON schema: between its tokens a random model may write blanks until it is cut.
    content = {"type": "regex", "pattern": r'\{"n": [12]\}'}
    tag = {"type": "tag", "begin": "<f>", "content": content, "end": "</f>"}
    calls = {
        "type": "triggered_tags",
        "triggers": ["<f"],
        "tags": [tag],
        "at_least_one": True,
        "stop_after_first": True,
    }
    for form in (tag, calls, {"type": "repeat", "min": 2, "max": 2, "content": tag}):
        response = tiny.generate("Call f", guided_structural_tag=form, max_tokens=60)
        assert "<f>{" in response.content
        assert response.metadata["constraint"]["proved"]


def test_a_chat_model_gives_no_embeddings(tiny: VLLMProvider) -> None:
    with pytest.raises(UnsupportedFeatureError, match="gives no embeddings"):
        tiny.embed("a")
    with pytest.raises(UnsupportedFeatureError, match="gives no scores"):
        tiny.rerank("a", ["b"])
