"""No test knows what another one learned about a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from abstractcore.providers.vllm import server


@pytest.fixture(autouse=True)
def _nothing_learned() -> Iterator[None]:
    server._known.clear()
    yield
    server._known.clear()
