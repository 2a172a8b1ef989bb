"""The header of a safetensors file: names, shapes and dtypes of its tensors, without their bytes."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigurationError

Header = dict[str, tuple[str, tuple[int, ...]]]
INDEX: Final = "model.safetensors.index.json"
"""The file that lists the others, where there are several."""
LENGTH: Final = 8
"""Bytes in front of the header that hold its length."""
_LIMIT: Final = 100_000_000
"""No reader of the format takes a longer header."""


def files_of(index: Any, *, source: str) -> list[str]:
    """The names of the files that an index lists.

    Raises:
        ConfigurationError: It is no index.
    """
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names or not all(map(_is_name, names.values())):
        raise ConfigurationError(
            f"{source} is no index of weights",
            why="it has no table weight_map of file names",
            hint="get the file again",
        )
    return sorted(set(names.values()))


def _is_name(given: Any) -> bool:
    """Of a file in the same folder, or below it."""
    plain = isinstance(given, str) and given.isprintable() and 0 < len(given) < 256
    return plain and ".." not in given and given[0] != "/"


def header_length(start: bytes, *, source: str) -> int:
    """Bytes of the header that follows the first eight bytes.

    Raises:
        ConfigurationError: This is no safetensors file.
    """
    length = struct.unpack("<Q", start[:LENGTH])[0] if len(start) >= LENGTH else 0
    if not 2 <= length <= _LIMIT:
        raise ConfigurationError(
            f"{source} is not a safetensors file",
            why=f"its first eight bytes name a header of {length} bytes",
            hint="get the file again; a pointer file of Git LFS has to be replaced by what it points to",
        )
    return int(length)


def parse_header(text: bytes, *, source: str) -> Header:
    """Reads a header.

    Raises:
        ConfigurationError: It is broken.
    """
    try:
        entries: dict[str, Any] = json.loads(text)
        return {
            name: (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            for name, entry in entries.items()
            if name != "__metadata__"
        }
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"the header of {source} can't be read", why=str(error), hint="get the file again"
        ) from error


def read_header(path: Path) -> Header:
    """Reads the header of a file on disk.

    Raises:
        ConfigurationError: The file is broken or can't be read.
    """
    try:
        with path.open("rb") as file:
            length = header_length(file.read(LENGTH), source=str(path))
            return parse_header(file.read(length), source=str(path))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read", why=str(error)) from error
