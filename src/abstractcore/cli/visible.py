"""Text from outside on a terminal: what would steer the terminal is shown in its place."""

from __future__ import annotations

from typing import Final

_PICTURES: Final = 0x2400
"""Where Unicode has a picture of each control character."""
_TABLE: Final[dict[int, int | None]] = {
    **{code: _PICTURES + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)},
    0x0D: None,
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


def visible(text: str) -> str:
    """The text with control characters as pictures; tabs and line feeds stay, carriage returns go.

    A model, or who wrote what it read, could else move the cursor, rename the window or fill the clipboard.
    """
    return text.translate(_TABLE)
