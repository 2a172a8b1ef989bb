"""File descriptors: whether any are left, and how many there may be."""

from __future__ import annotations

import errno
import os
from typing import Final

NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE)


def are_left() -> bool:
    """Whether this process can open a file now. What reads files in silence, such as a name lookup, does not say."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in NONE_LEFT
    return True


def allowed() -> str:
    """How many there may be, in words."""
    try:
        import resource
    except (ImportError, OSError):  # there is no such module on Windows, and to load it may take a file
        return "the system allows no more"
    return f"this process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} of them"
