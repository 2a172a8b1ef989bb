"""Images as content parts."""

from __future__ import annotations

from base64 import b64decode

import pytest

from abstractcore.wire.media import image_part, media_type, url_part

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(data: bytes, kind: str | None) -> None:
    assert media_type(data) == kind


def test_an_image_travels_whole() -> None:
    head, _, encoded = image_part(PNG, "image/png")["image_url"]["url"].partition(",")
    assert (head, b64decode(encoded)) == ("data:image/png;base64", PNG)


def test_a_url_is_left_alone() -> None:
    assert url_part("https://x/y.png") == {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
