"""The registry of providers and its tables, before and after a test that adds to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from abstractcore.capability import CAPABILITIES, KNOBS
from abstractcore.providers import registry
from abstractcore.settings import TABLE


@contextmanager
def as_it_was() -> Iterator[None]:
    """Gives a fresh registry; what is added to it and to the tables is gone afterwards."""
    tables: list[dict[str, object]] = [CAPABILITIES, KNOBS, TABLE]  # type: ignore[list-item]
    before = [dict(table) for table in tables]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_registry", None)
        yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
