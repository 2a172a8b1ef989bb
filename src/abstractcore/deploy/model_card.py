"""A model as far as a plan needs it: its configuration, and the names, shapes and dtypes of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .safetensors_header import INDEX, Header, files_of, read_header
from .sizing.classify import classify
from .sizing.kv_layout import Cache, layout
from .sizing.quantization import Scheme
from .sizing.rope import scaling_of
from .sizing.shape import Shape, shape_of
from .sizing.tensors import DTYPES, Tensor, total
from .sizing.weights import expected_tensors

_BOUNDS = {
    "layers": (1, 10_000),
    "hidden": (1, 10**7),
    "vocab": (1, 10**8),
    "heads": (0, 10**5),
    "kv_heads": (0, 10**5),
    "head_dim": (0, 10**6),
    "intermediate": (0, 10**8),
    "experts": (0, 10**5),
}
"""What sizes a model can have at all."""
_AT_START = {"fp8": Scheme("fp8", 8, -1, floating=True, activations=True)}
"""What ``--quantization`` does to weights that are not quantized."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model."""

    name: str
    """A path or an id, as the user gave it."""
    shape: Shape
    header: Header | None = None
    """The tensors of its checkpoint, where they could be read."""
    source: str = "config.json"
    """Where this comes from, for people."""
    _cache: dict[tuple[str, str | None], tuple[Tensor, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def from_weights(self) -> bool:
        """The tensors were read; else they follow from the configuration."""
        return self.header is not None

    @property
    def is_known(self) -> bool:
        """How vLLM builds this architecture is known."""
        return self.shape.anatomy is not None

    def tensors_for(self, dtype: str, quantization: str | None = None) -> tuple[Tensor, ...]:
        """The tensors as they stand in memory.

        Args:
            dtype: What the model runs in.
            quantization: What ``--quantization`` turns unquantized weights into.

        Raises:
            ConfigurationError: The architecture is not known, and there are no weights to read.
        """
        key = (dtype, quantization)
        if key not in self._cache:
            self._cache[key] = self._tensors(dtype, quantization)
        return self._cache[key]

    def _tensors(self, dtype: str, quantization: str | None) -> tuple[Tensor, ...]:
        shape = self.shape
        if quantization in _AT_START and shape.scheme.method is None:
            from dataclasses import replace

            return expected_tensors(replace(shape, scheme=_AT_START[quantization]), dtype)
        if self.header is None:
            return expected_tensors(shape, dtype)
        from .sizing.rope import rope_tensors

        read = classify(self.header, dtype=dtype, layers=shape.layers, tied=shape.tied)
        return (*read, *rope_tensors(shape, dtype))

    @property
    def parameters(self) -> int:
        """Elements of all weights, as far as they are not packed."""
        return sum(
            t.elements * max(1, len(t.layers)) for t in self.tensors_for(self.shape.dtype) if "cache" not in t.name
        )

    @property
    def size(self) -> int:
        """Bytes of the weights as they are stored."""
        return total([t for t in self.tensors_for(self.shape.dtype) if "cos_sin_cache" not in t.name])


def from_config(
    name: str,
    config: Mapping[str, Any],
    *,
    header: Header | None = None,
    quantization: Mapping[str, Any] | None = None,
    source: str = "config.json",
) -> ModelCard:
    """Makes a card from what was read.

    Args:
        name: What the user calls the model.
        config: Its config.json.
        header: Its tensors, if they were read.
        quantization: Its hf_quant_config.json, if there is one.
        source: Where this comes from, for people.

    Raises:
        ConfigurationError: The configuration lacks what a plan needs.
    """
    try:
        card = ModelCard(name, shape_of(config, quantization), header, source)
        _try_out(card)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigurationError(
            f"the config.json of {name} makes no sense",
            why=f"{type(error).__name__}: {error}",
            hint="take the config.json of a complete Transformers checkpoint",
        ) from error
    return card


def _try_out(card: ModelCard) -> None:
    """Reads all that a plan reads, so that a broken entry is found here and not in its middle."""
    shape = card.shape
    for name, (least, most) in _BOUNDS.items():
        if not least <= int(getattr(shape, name)) <= most:
            raise ValueError(f"{name} is {getattr(shape, name)!r}")
    if shape.dtype not in DTYPES:
        raise ValueError(f"there is no dtype {shape.dtype!r}")
    layout(shape, Cache(tp=1, block=16, bytes_per_number=2, dtype=shape.dtype))
    scaling_of(shape)
    if shape.max_position is not None and not 0 < shape.max_position < 10**10:
        raise ValueError(f"the longest context is {shape.max_position!r}")
    if card.is_known or card.from_weights:
        card.tensors_for(shape.dtype)


def from_folder(folder: Path, name: str | None = None, *, source: str | None = None) -> ModelCard:
    """Reads a folder with a model: config.json, and the headers of its safetensors files.

    Raises:
        ConfigurationError: There is no config.json, it is broken, or a file of weights is.
    """
    path = folder / "config.json"
    try:
        config = _json(path)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{folder} has no config.json",
            why=f"there are: {', '.join(sorted(entry.name for entry in folder.iterdir())[:8]) or 'no files'}",
            hint="give the folder of a Transformers checkpoint",
        ) from error
    extra = folder / "hf_quant_config.json"
    quantization = _json(extra) if extra.exists() else None
    header: Header = {}
    files = weight_files(folder)
    for file in files:
        header |= read_header(file)
    said = source or str(folder)
    return from_config(
        name or str(folder), config, header=header or None, quantization=quantization,
        source=f"{said}, {'tensors read' if header else 'config.json only'}",
    )  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} can't be read", why=str(error), hint="get the file again; it has to be a JSON object"
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} can't be read", why="it is no JSON object", hint="get the file again")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that vLLM would load; none unless all that the index names are there."""
    index = folder / INDEX
    if index.exists():
        files = [folder / name for name in files_of(_json(index), source=str(index))]
        return files if all(file.exists() for file in files) else []
    found = sorted(file for file in folder.glob("*.safetensors") if not file.name.startswith("consolidated"))
    return [file for file in found if file.stat().st_size > 0]
