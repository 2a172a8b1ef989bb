"""Model folders and the hub's cache."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from abstractcore.errors import MissingExtraError, ModelNotFoundError
from abstractcore.providers import extras, local
from abstractcore.providers.local import checkpoint
from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.gguf import GGUFProvider
from abstractcore.providers.local.huggingface import HuggingFaceProvider
from abstractcore.providers.local.mlx import MLXProvider


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with one model in it."""
    at = tmp_path / "hub" / "models--org--tiny"
    (at / "refs").mkdir(parents=True)
    (at / "refs" / "main").write_text("abc123")
    snapshot = at / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"max_position_embeddings": 64}))
    (snapshot / "model.safetensors").write_bytes(b"")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return snapshot


def test_a_cached_model_is_found_by_its_id_and_without_the_network(hub: Path) -> None:
    assert checkpoint.find("org/tiny") == checkpoint.fetch("org/tiny", "mlx", None) == hub
    assert checkpoint.cached() == {"org/tiny": hub}


@pytest.mark.parametrize("provider", [HuggingFaceProvider, MLXProvider])
def test_the_cache_is_listed_and_the_nearest_name_is_given(hub: Path, provider: type[Any]) -> None:
    llm = provider("org/tinny")
    assert llm.list_available_models() == ["org/tiny"]
    with pytest.raises(ModelNotFoundError, match=r"org/tinny.*HF_HUB_OFFLINE") as caught:
        llm.generate("Hi")
    assert caught.value.available == ("org/tiny",)
    assert provider("org/tiny").model_info().context_length == 64
    assert not llm.validate_config()


def test_a_path_that_is_none_is_not_asked_of_the_hub(hub: Path) -> None:
    with pytest.raises(EngineError, match="no folder"):
        checkpoint.fetch("/nowhere/model", "mlx", None)


@pytest.mark.parametrize("provider", [HuggingFaceProvider, MLXProvider])
def test_a_missing_extra_is_named(hub: Path, provider: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(MissingExtraError, match=f"the {provider.provider} provider needs its extra"):
        provider("org/tiny").generate("Hi")


def test_gguf_files_and_local_go_to_llama_cpp() -> None:
    assert isinstance(HuggingFaceProvider(model="/models/x.GGUF"), GGUFProvider)
    assert isinstance(HuggingFaceProvider("local", temperature=0), GGUFProvider)
    assert isinstance(HuggingFaceProvider("org/tiny"), HuggingFaceProvider)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hubs_own_library_has_it(environ: dict[str, str], folder: str) -> None:
    assert checkpoint.hub_folder(environ) == Path(folder)


def test_what_the_files_say() -> None:
    assert checkpoint.context_length({"text_config": {"max_position_embeddings": 5}}) == 5
    assert checkpoint.context_length({}) is None
    assert checkpoint.end_tokens({"eos_token_id": 2}, {"eos_token_id": [2, 7]}) == {2, 7}
    assert checkpoint.sampling_defaults({"top_k": 20, "bos_token_id": 1}) == {"top_k": 20}


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ({"rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}}, {"rope_theta": 1e5}),
        ({"rope_theta": 5e5, "rope_scaling": None}, {}),
        (
            {"rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}},
            {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        ),
        (
            {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}},
            {"rope_theta": 1e6, "rope_local_base_freq": 1e4},
        ),
        (
            {"text_config": {"hidden_size": 8, "rope_parameters": {"rope_theta": 7.0}}},
            {"text_config": {"hidden_size": 8, "rope_parameters": {"rope_theta": 7.0}, "rope_theta": 7.0}},
        ),
    ],
)
def test_the_rotary_embedding_is_told_in_the_old_fields(config: dict[str, Any], overrides: dict[str, Any]) -> None:
    assert checkpoint.rope_overrides(config) == overrides


def test_no_framework_is_loaded_with_the_package() -> None:
    assert local.__doc__
    assert not {"torch", "transformers", "peft", "mlx", "mlx_lm"} & set(sys.modules)
