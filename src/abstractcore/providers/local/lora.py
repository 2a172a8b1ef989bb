"""LoRA adapters on disk, in PEFT's form: what their files say, and whether they fit a model. Nothing is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from . import checkpoint
from .engine import EngineError

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
_PREFIX: Final = "base_model.model."
_LONGEST_HEADER: Final = 100_000_000


class AdapterFiles(Struct, frozen=True):
    """An adapter on disk."""

    folder: Path
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    """Of its tensors, by their names in the file."""

    @property
    def base(self) -> str | None:
        """The model that it was made for, as its makers called it."""
        return self.config.get("base_model_name_or_path")

    @property
    def scale(self) -> float:
        """What its contribution is multiplied with."""
        rank = int(self.config["r"])
        alpha = float(self.config.get("lora_alpha", rank))
        return alpha / (rank**0.5 if self.config.get("use_rslora") else rank)

    def modules(self) -> dict[str, tuple[int, int]]:
        """The modules that it changes, with their inputs and outputs."""
        found: dict[str, tuple[int, int]] = {}
        for name, shape in self.shapes.items():
            module, mark, _ = name.removeprefix(_PREFIX).partition(".lora_A.weight")
            other = self.shapes.get(name.replace(".lora_A.", ".lora_B."))
            if mark and other and shape:
                found[module] = (shape[-1], other[0])
        return found


def read_adapter(name: str, path: str) -> AdapterFiles:
    """Reads what an adapter's files say of it.

    Raises:
        EngineError: They are not there, or no LoRA adapter of PEFT's.
    """
    folder = checkpoint.find(path, filename=CONFIG)
    if folder is None or not (folder / CONFIG).exists():
        where = folder or Path(path).expanduser()
        raise EngineError(f"there is no adapter at {where}: no {CONFIG}", status=404)
    config = checkpoint.read_json(folder, CONFIG)
    if config.get("peft_type") != "LORA":
        raise EngineError(f"the adapter {name!r} is a {config.get('peft_type')}; only LORA can be loaded")
    if type(config.get("r")) is not int or config["r"] < 1:
        raise EngineError(f"the adapter {name!r} has no rank: {folder / CONFIG} lacks 'r'")
    if type(config.get("lora_alpha", 1)) not in (int, float):
        raise EngineError(f"the adapter {name!r} has no scale: 'lora_alpha' in {folder / CONFIG} is no number")
    return AdapterFiles(folder, config, _shapes(folder / WEIGHTS))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes in a safetensors file, by its header."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        rows = ((name, entry["shape"]) for name, entry in header.items() if name != "__metadata__")
        return {name: tuple(map(int, shape)) for name, shape in rows}
    except FileNotFoundError as error:
        raise EngineError(f"there is no {path}; weights in other forms than safetensors aren't loaded") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise EngineError(f"{path} is damaged: {error}") from error


def check_fit(name: str, files: AdapterFiles, model: str, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Holds an adapter against a model.

    Args:
        name: The adapter.
        files: What it is.
        model: The model's name.
        shapes: Inputs and outputs of the model's linear modules.

    Raises:
        EngineError: It was made for another one; names both, and the first place where they differ.
    """
    wanted = files.modules()
    if not wanted:
        raise EngineError(f"the adapter {name!r} changes no module: {files.folder / WEIGHTS} has no lora_A and lora_B")
    for module, (inputs, outputs) in wanted.items():
        there = shapes.get(module)
        if there == (inputs, outputs):
            continue
        has = "the model has no such module" if there is None else f"the model's has {there[0]} and {there[1]}"
        raise EngineError(
            f"the adapter {name!r} was made for another base: for {files.base}, and this model is {model}: "
            f"its {module} has {inputs} inputs and {outputs} outputs, {has}",
            code="adapter_mismatch",
        )


def other_base(files: AdapterFiles, model: str) -> str | None:
    """The name of the base that an adapter was made for, if it is not this model's by any spelling."""
    if not files.base or _plain(files.base) == _plain(model):
        return None
    return files.base


def _plain(name: str) -> str:
    """A model's own name, without its owner or folder; a snapshot's folder is named by the repository."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    repository = next((part for part in parts if part.startswith("models--")), None)
    return (repository.rpartition("--")[2] if repository else parts[-1] if parts else "").casefold()
