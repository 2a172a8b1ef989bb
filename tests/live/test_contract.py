"""The contract of all providers, held against real backends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest

from abstractcore import create_llm
from abstractcore.providers.local.async_transport import AsyncEngineTransport
from abstractcore.providers.local.provider import LocalProvider
from abstractcore.settings import cache_dir
from abstractcore.testing import Recorder
from tests.contract.cases import CASES
from tests.contract.recorded import pack, path_of, recording_folder
from tests.contract.target import Target
from tests.contract.targets import BACKENDS
from tests.live import llama_server, ollama_double
from tests.live.conftest import LiveServer

IN_PROCESS = ("huggingface", "mlx")
Opened = Callable[[], Mapping[str, Any]]


@pytest.fixture(scope="module")
def ollama() -> Iterator[ollama_double.Double]:
    """The double of Ollama, with a real llama.cpp behind."""
    with ollama_double.running("--num-ctx", str(BACKENDS["ollama"].context)) as found:
        yield found


@pytest.fixture(scope="module")
def lmstudio() -> Iterator[str]:
    """llama.cpp's own server, which is LM Studio's engine."""
    with llama_server.running() as url:
        yield url


@pytest.fixture
def in_process(request: pytest.FixtureRequest, provider: str) -> None:
    """Has the engine loaded once, in the folder where the models are, so that they are called by short names."""
    if provider in IN_PROCESS:
        request.getfixturevalue(f"loaded_{provider}")


@pytest.fixture(scope="module")
def loaded_huggingface(small_models: Path) -> Iterator[None]:
    """Keeps the engine of transformers in memory."""
    with _loaded("huggingface", small_models):
        yield


@pytest.fixture(scope="module")
def loaded_mlx(small_models: Path) -> Iterator[None]:
    """Keeps the engine of MLX in memory."""
    with _loaded("mlx", small_models):
        yield


@contextmanager
def _loaded(provider: str, folder: Path) -> Iterator[None]:
    with chdir(folder), create_llm(provider, model=BACKENDS[provider].model) as keeper:
        keeper.wait_until_ready(300)
        yield


@pytest.fixture(scope="session")
def small_models(smollm2: tuple[Path, dict[str, Path]]) -> Path:
    """The folder of the small chat model."""
    return smollm2[0].parent


@pytest.fixture
def config(request: pytest.FixtureRequest, provider: str) -> dict[str, Any]:
    """What leads the provider to its backend, which is started when first asked for."""
    if provider == "ollama":
        return {"base_url": request.getfixturevalue("ollama").url}
    if provider in IN_PROCESS:
        return {}
    if provider == "lmstudio":
        return {"base_url": request.getfixturevalue("lmstudio")}
    server: LiveServer = request.getfixturevalue("vllm")
    url = server.base_url.removesuffix("/v1") if provider == "anthropic" else server.base_url
    return {"base_url": url, "api_key": "EMPTY"}


@pytest.fixture
def transports(provider: str, case: str, in_process: None, tmp_path: Path) -> Iterator[Opened]:
    """The network, or the engine in this process; recorded, if the script asks for that."""
    folder = recording_folder()
    opened: dict[str, Any] = {}
    if provider in IN_PROCESS:
        donor = create_llm(provider, model=BACKENDS[provider].model)
        assert isinstance(donor, LocalProvider)
        opened = {"transport": donor._transport, "async_transport": AsyncEngineTransport(donor._lease)}
        if folder is None:
            yield lambda: opened
            return
    if folder is None:
        from abstractcore.transport.http_async import AsyncHttpTransport
        from abstractcore.transport.http_sync import HttpTransport

        yield lambda: {"transport": HttpTransport(), "async_transport": AsyncHttpTransport()}
        return
    lines = tmp_path / "recording.jsonl"
    with Recorder(lines, secrets=[str(cache_dir())], **opened) as recorder:  # where the models lie
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
