"""What the beginning of a GGUF file says of its model, read without loading it. Pure but for the one file it reads."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from .engine import EngineError

_MAGIC: Final = b"GGUF"
_SCALARS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING: Final = 8
_ARRAY: Final = 9
_LONGEST: Final = 1 << 20
"""Bytes of a text that is believed: longer ones are damage."""


def read_header(path: Path) -> Mapping[str, Any]:
    """The scalar entries of a GGUF file up to its tokenizer, such as ``general.architecture``.

    Raises:
        EngineError: There is no such file, or it is none of this kind.
    """
    try:
        with path.open("rb") as file:
            return _entries(file)
    except FileNotFoundError:
        there = sorted(other.name for other in path.parent.glob("*.gguf"))[:8]
        tip = f"; its folder has: {', '.join(there)}" if there else ""
        raise EngineError(f"there is no file {path}{tip}", status=404, code="model_not_found") from None
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}", status=500) from error
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise EngineError(f"{path} is no whole GGUF file: {error}", status=500) from error


def context_length(header: Mapping[str, Any]) -> int | None:
    """The tokens that the model was trained for."""
    found = header.get(f"{header.get('general.architecture')}.context_length")
    return found if isinstance(found, int) and found > 0 else None


def has_pooling(header: Mapping[str, Any]) -> bool:
    """Whether the model says itself how its embeddings are made: it is a model for embeddings."""
    return bool(header.get(f"{header.get('general.architecture')}.pooling_type"))


def _entries(file: BinaryIO) -> dict[str, Any]:
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, _tensors, count = struct.unpack("<IQQ", file.read(20))
    if not 2 <= version <= 3:
        raise ValueError(f"its version is {version}; 2 and 3 are known")
    found: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        if key.startswith("tokenizer."):
            break
        value = _value(file, _number(file, "<I"))
        if value is not None:
            found[key] = value
    return found


def _value(file: BinaryIO, kind: int) -> Any:
    """One value; arrays are passed over."""
    if kind in _SCALARS:
        return _number(file, _SCALARS[kind])
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        raise ValueError(f"it has a value of the unknown kind {kind}")
    inner, length = struct.unpack("<IQ", file.read(12))
    if inner in _SCALARS:
        file.seek(length * struct.calcsize(_SCALARS[inner]), 1)
    else:
        for _ in range(length):
            _value(file, inner)
    return None


def _number(file: BinaryIO, form: str) -> Any:
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return value


def _text(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _LONGEST:
        raise ValueError(f"it has a text of {length} bytes in its header")
    data = file.read(length)
    if len(data) != length:
        raise ValueError("it ends within its header")
    return data.decode("utf-8")
