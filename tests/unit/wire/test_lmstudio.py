"""LM Studio's own lists of models, in the form that its documentation shows."""

from __future__ import annotations

import msgspec
import pytest

from abstractcore.providers.request import build_request
from abstractcore.wire.lmstudio import LMSTUDIO, read_models, read_old_models

NEW = b"""{"models": [
 {"type": "llm", "publisher": "google", "key": "google/gemma-3-4b", "loaded_instances": [],
  "max_context_length": 131072, "format": "mlx", "capabilities": {"vision": true, "trained_for_tool_use": false}},
 {"type": "llm", "publisher": "qwen", "key": "qwen/qwen3.5-9b", "max_context_length": 262144,
  "loaded_instances": [{"id": "qwen/qwen3.5-9b", "config": {"context_length": 4096, "flash_attention": true}}],
  "capabilities": {"vision": false, "trained_for_tool_use": true}},
 {"type": "embedding", "publisher": "nomic", "key": "nomic-embed", "loaded_instances": [],
  "max_context_length": 2048}]}"""
OLD = b"""{"object": "list", "data": [
 {"id": "qwen2-vl-7b", "object": "model", "type": "vlm", "publisher": "mlx-community", "state": "not-loaded",
  "max_context_length": 32768},
 {"id": "phi-4", "type": "llm", "state": "loaded", "max_context_length": 16384, "loaded_context_length": 4096,
  "capabilities": ["tool_use"]},
 {"id": "nomic", "type": "embeddings", "state": "loaded", "max_context_length": 2048}]}"""


def test_what_is_loaded_how_long_it_reads_and_what_it_can_do() -> None:
    gemma, qwen, nomic = read_models(NEW)
    assert (gemma.id, gemma.loaded, gemma.context_length, gemma.capabilities) == (
        "google/gemma-3-4b", False, 131072, ("images",)
    )  # fmt: skip
    assert (qwen.loaded, qwen.context_length, qwen.capabilities) == (True, 4096, ("tools",))
    assert nomic.capabilities == ("embeddings",)


def test_the_same_of_versions_before_0_4() -> None:
    qwen, phi, nomic = read_old_models(OLD)
    assert (qwen.loaded, qwen.context_length, qwen.capabilities) == (False, 32768, ("images",))
    assert (phi.loaded, phi.context_length, phi.capabilities) == (True, 4096, ("tools",))
    assert nomic.capabilities == ("embeddings",)


@pytest.mark.parametrize("read", [read_models, read_old_models])
def test_an_error_with_status_200_is_no_list(read: object) -> None:
    assert callable(read)
    with pytest.raises(msgspec.DecodeError):
        read(b'{"error": "Unexpected endpoint or method. (GET /api/v1/models)"}')


def test_two_fields_have_names_of_their_own() -> None:
    body = LMSTUDIO.body(build_request("x", {"max_tokens": 3, "repetition_penalty": 1.1}), "m", stream=False)
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "repeat_penalty": 1.1,
    }  # fmt: skip
