"""The registry of providers and its tables, before and after a test that adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from abstractcore.capability import CAPABILITIES, KNOBS
from abstractcore.providers import registry
from abstractcore.settings import TABLE


@contextmanager
def as_it_was() -> Iterator[None]:
    """Gives a fresh registry; what is added to it and to the tables is gone afterwards."""
    with patch.dict(CAPABILITIES), patch.dict(KNOBS), patch.dict(TABLE), patch.object(registry, "_registry", None):
        yield
