"""Images as content parts of a message, in OpenAI's form. Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Any


def media_type(data: bytes) -> str | None:
    """The type of an image by its first bytes; ``None`` if it is none of PNG, JPEG, GIF and WebP."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def image_part(data: bytes, kind: str) -> dict[str, Any]:
    """An image that travels in the request itself."""
    return url_part(f"data:{kind};base64,{b64encode(data).decode()}")


def url_part(url: str) -> dict[str, Any]:
    """An image that the server fetches, or that the URL holds (``data:``)."""
    return {"type": "image_url", "image_url": {"url": url}}
