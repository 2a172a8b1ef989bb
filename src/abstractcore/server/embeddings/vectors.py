"""Vectors in OpenAI's form, and whether an answer holds those that were asked for. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from ...errors import ProviderAPIError
from ...wire.failure import read_failure

FLOAT_BYTES: Final = 4


class _Row(Struct):
    embedding: list[float] | str


class _Rows(Struct):
    data: list[_Row]


_ROWS: Final = msgspec.json.Decoder(_Rows)


def count_of(given: Any) -> int:
    """How many texts an ``input`` holds: token ids are one, lists of them and texts several."""
    if isinstance(given, list):
        return 1 if given and isinstance(given[0], int) else len(given)
    return 1


def check(body: bytes, wanted: int, dimensions: int | None) -> bytes:
    """An answer with all vectors that were asked for, as long as they were asked for.

    Raises:
        ProviderAPIError: It is none such.
    """
    try:
        rows = _ROWS.decode(body).data
        lengths = {_length(row.embedding) for row in rows}
    except (ValueError, RecursionError) as error:
        why = read_failure(body).message if b'"error"' in body else str(error)
        raise ProviderAPIError("the backend's answer holds no embeddings", why=why) from error
    why = ""
    if len(rows) != wanted:
        why = f"it has {len(rows)} vectors for {wanted} texts"
    elif 0 in lengths or len(lengths) > 1:
        why = f"its vectors have the lengths {sorted(lengths)}"
    elif dimensions is not None and lengths != {dimensions}:
        why = f"{dimensions} dimensions were asked for, and it has {sorted(lengths)}"
    if why:
        raise ProviderAPIError("the backend's answer is not what was asked for", why=why)
    return body


def _length(vector: list[float] | str) -> int:
    if isinstance(vector, list):
        return len(vector)
    size = len(base64.b64decode(vector, validate=True))
    if size % FLOAT_BYTES:
        raise ValueError(f"{size} bytes are no float32 numbers")
    return size // FLOAT_BYTES


def render(vectors: Sequence[Sequence[float]], model: str, encoding: str | None) -> Mapping[str, Any]:
    """An answer of ours."""
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if encoding == "base64" else vector}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "model": model, "data": data, "usage": None}


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
