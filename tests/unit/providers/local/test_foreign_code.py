"""A model that brings code of its own runs none of it unless that was asked for by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from abstractcore.errors import MissingExtraError
from abstractcore.providers.local import checkpoint
from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.lora import read_adapter
from abstractcore.providers.local.mlx_engine import MLXEngine
from abstractcore.providers.local.transformers_engine import TransformersEngine

Engine = type[TransformersEngine | MLXEngine]
CODE = {"auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "modeling_mine.py").write_text("raise SystemExit('it ran')")
    return tmp_path


def nothing_is_imported(name: str, *_: object) -> None:
    raise MissingExtraError(f"{name} was asked for")


@pytest.mark.parametrize("config", [CODE, {"model_file": "modeling_mine.py"}])
@pytest.mark.parametrize("engine", [TransformersEngine, MLXEngine])
def test_such_a_model_is_refused_before_anything_is_loaded(
    folder: Path,
    engine: type[TransformersEngine | MLXEngine],
    config: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(f"{engine.__module__}.need", nothing_is_imported)
    if engine is TransformersEngine and "model_file" in config:  # which means nothing to transformers
        with pytest.raises(MissingExtraError):
            engine(str(folder)).load()
        return
    with pytest.raises(EngineError, match="brings Python code of its own") as caught:
        engine(str(folder)).load()
    assert caught.value.code == "remote_code"


def test_who_trusts_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.json").write_text(json.dumps(CODE))
    monkeypatch.setattr(f"{TransformersEngine.__module__}.need", nothing_is_imported)
    with pytest.raises(MissingExtraError):
        TransformersEngine(str(folder), trust_remote_code=True).load()


def test_of_the_hub_neither_code_nor_pickles_are_fetched() -> None:
    fetched = [name for name in ("modeling.py", "pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl")
               if any(Path(name).match(pattern) for pattern in checkpoint._PATTERNS)]  # fmt: skip
    assert fetched == []
    assert any(Path("model-00001-of-00002.safetensors").match(pattern) for pattern in checkpoint._PATTERNS)


def test_an_adapter_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    (tmp_path / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(EngineError, match="weights in other forms than safetensors aren't loaded"):
        read_adapter("mine", str(tmp_path))
