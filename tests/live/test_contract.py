"""The contract of all providers, held against real backends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from abstractcore.testing import Recorder
from tests.contract.cases import CASES
from tests.contract.recorded import pack, path_of, recording_folder
from tests.contract.target import Target
from tests.contract.targets import BACKENDS
from tests.live import ollama_double
from tests.live.conftest import LiveServer

Opened = Callable[[], Mapping[str, Any]]


@pytest.fixture(scope="module")
def ollama() -> Iterator[ollama_double.Double]:
    """The double of Ollama, with a real llama.cpp behind."""
    with ollama_double.running("--num-ctx", str(BACKENDS["ollama"].context)) as found:
        yield found


@pytest.fixture
def config(request: pytest.FixtureRequest, provider: str) -> dict[str, Any]:
    """What leads the provider to its backend, which is started when first asked for."""
    if provider == "ollama":
        return {"base_url": request.getfixturevalue("ollama").url}
    server: LiveServer = request.getfixturevalue("vllm")
    url = server.base_url.removesuffix("/v1") if provider == "anthropic" else server.base_url
    return {"base_url": url, "api_key": "EMPTY"}


@pytest.fixture
def transports(provider: str, case: str, tmp_path: Path) -> Iterator[Opened]:
    """The network itself; recorded, if the script asks for that."""
    folder = recording_folder()
    if folder is None:
        from abstractcore.transport.http_async import AsyncHttpTransport
        from abstractcore.transport.http_sync import HttpTransport

        yield lambda: {"transport": HttpTransport(), "async_transport": AsyncHttpTransport()}
        return
    lines = tmp_path / "recording.jsonl"
    with Recorder(lines) as recorder:
        yield lambda: recorder.transports
    if case not in BACKENDS[provider].lacks:
        pack(lines, path_of(provider, case, folder))


@pytest.fixture
def target(provider: str, transports: Opened, config: dict[str, Any]) -> Target:
    return BACKENDS[provider].target(transports, **config)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("provider", BACKENDS)
def test_contract(provider: str, case: str, target: Target) -> None:
    if case in target.lacks:
        assert target.lacks[case]
        return
    outcome = CASES[case](target)
    if inspect.isawaitable(outcome):
        asyncio.run(_awaited(outcome))


async def _awaited(outcome: Any) -> None:
    await outcome
