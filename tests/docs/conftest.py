"""What a reader's machine has: the model that pages name, as far as plans need it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.docs.blocks import EXAMPLE_MODEL
from tests.registered import as_it_was

REVISION: Final = "0" * 40
CONFIG: Final = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "torch_dtype": "bfloat16",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
}
"""What the model's own configuration says."""


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    """A provider that a page adds is gone after it."""
    with as_it_was():
        yield


@pytest.fixture(autouse=True)
def hub_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hugging Face hub with that model's configuration in it."""
    home = tmp_path_factory.mktemp("hub")
    folder = home / "hub" / f"models--{EXAMPLE_MODEL.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION, "utf-8")
    monkeypatch.setenv("HF_HOME", str(home))
    return home
