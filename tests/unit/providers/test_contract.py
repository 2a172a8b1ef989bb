"""The contract of all providers, held against what their real backends answered."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from abstractcore.testing import Replay
from tests.contract.cases import CASES
from tests.contract.recorded import path_of, unpack
from tests.contract.targets import BACKENDS

KEYED = ("openai", "anthropic", "vllm")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("provider", BACKENDS)
def test_contract(provider: str, case: str, tmp_path: Path) -> None:
    backend = BACKENDS[provider]
    if case in backend.lacks:
        assert not path_of(provider, case).exists()
        return
    lines = tmp_path / "recording.jsonl"
    unpack(path_of(provider, case), lines)
    replay = Replay(lines)
    target = backend.target(lambda: replay.transports, **({"api_key": "EMPTY"} if provider in KEYED else {}))
    outcome = CASES[case](target)
    if inspect.isawaitable(outcome):
        asyncio.run(_awaited(outcome))
    assert replay.unasked == []


async def _awaited(outcome: Any) -> None:
    await outcome
