"""The small model behind the name ``local``: where it is, and what to do when it isn't there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...errors import ConfigurationError
from ...settings import cache_dir
from ...small_models import SMOLLM2, gguf_path

NAME: Final = "local"
"""The model's name that stands for it."""


def path() -> Path:
    """Where the file is, or will be."""
    return gguf_path(SMOLLM2, cache_dir())


def find(fetch: Callable[[], Path] | None) -> Path:
    """The file; fetched if it isn't there and there is a way.

    Raises:
        ConfigurationError: It isn't there, and nobody said how to get it.
    """
    found = path()
    if found.exists():
        return found
    if fetch is None:
        raise ConfigurationError(
            f"the small model {SMOLLM2.name} is not on this machine yet",
            why=f"{found} does not exist",
            hint='abstractcore --local --yes "Hello"    (gets it once, 93 MB)',
        )
    return fetch()
