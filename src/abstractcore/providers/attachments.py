"""Puts images into a conversation: from files, bytes and URLs to content parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from ..errors import ConfigurationError
from ..wire.media import image_part, media_type, url_part

Media: TypeAlias = str | bytes | os.PathLike[str]
"""A path, the bytes of an image, or a URL (``https:``, ``http:``, ``data:``)."""
MAX_BYTES: Final = 20 * 1024 * 1024
"""Larger images are refused: the server would have to decode them while others wait."""


def attach(messages: Sequence[dict[str, Any]], media: Sequence[Media]) -> list[dict[str, Any]]:
    """The conversation with images put before the text of its last message, which must be the user's.

    Raises:
        ConfigurationError: There is no such message, a file can't be read, or it is no image.
    """
    if isinstance(media, str | bytes | os.PathLike):
        media = [media]
    if not messages or messages[-1].get("role") != "user":
        raise ConfigurationError(
            "media belongs to a message of the user, and the conversation does not end with one",
            hint="give a prompt along with it; raw_prompt takes no media",
        )
    *before, last = messages
    content = last["content"]
    rest = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*before, {**last, "content": [*map(part, media), *rest]}]


def part(item: Media) -> dict[str, Any]:
    """One image as a content part. Reads the file, if it is a path.

    Raises:
        ConfigurationError: The file can't be read, is too large, or is no image of a known kind.
    """
    if isinstance(item, str) and item.startswith(("http://", "https://", "data:")):
        return url_part(item)
    data, name = (item, "the media given as bytes") if isinstance(item, bytes) else (_read(item), repr(os.fspath(item)))
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            f"{name} is too large to send",
            why=f"it has {len(data):,} bytes; at most {MAX_BYTES:,} are sent",
            hint="scale the image down: models see about one megapixel of it",
        )
    kind = media_type(data)
    if kind is None:
        raise ConfigurationError(
            f"{name} is no image of a known kind",
            why=f"it begins with {data[:12]!r}",
            hint="give a PNG, JPEG, GIF or WebP; other content goes into messages=[...] as content parts",
        )
    return image_part(data, kind)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        shown = repr(os.fspath(path))
        raise ConfigurationError(
            f"{shown[:200]} can't be read",
            why=str(error)[:300],
            hint="media takes paths, bytes, and URLs that begin with https://, http:// or data:",
        ) from error
