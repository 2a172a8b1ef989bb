"""The real servers that the live tests talk to.

Each is started once a session, on the CPU, from the parts in the cache folder, which are fetched when missing (about
0.9 GB the first time). While developing, ``ABSTRACTCORE_TEST_VLLM_URL`` names a running server to use in place of the
first one. A part that can't be had fails the test; nothing is skipped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.request import urlopen

import pytest

from abstractcore.cli.progress import ProgressLine
from abstractcore.deploy import local_vllm, runtime, small_model, vllm_server
from abstractcore.deploy.progress import Progress, Report
from abstractcore.settings import cache_dir
from tests.live import old_server

if TYPE_CHECKING:
    from abstractcore.providers import VLLMProvider

MAKER: Final = Path(__file__).parents[2] / "scripts" / "make_tiny_model.py"
WITHOUT_CHANCE: Final = ("--override-generation-config", '{"temperature": 0}')
"""Whoever asks for no temperature gets the likeliest tokens: a small model left to chance may wander into any limit."""

_NATIVE: Final = frozenset({"mlx", "torch", "xllamacpp"})
_outcome = pytest.ExitCode.OK


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keeps how the tests came out."""
    global _outcome  # noqa: PLW0603 - two hooks, one process
    _outcome = pytest.ExitCode(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Ends this process without the destructors of torch, MLX and llama.cpp.

    All three in one process have crashed after the last test, in code that is theirs; each alone ends well, which
    tests of their own show in processes of their own.
    """
    if _NATIVE & sys.modules.keys():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_outcome)


@dataclass(frozen=True)
class LiveServer:
    """A vLLM that answers."""

    base_url: str
    model: str
    adapters: Mapping[str, Path]
    """LoRA adapters that fit the model, on disk; none is loaded."""
    process: runtime.ServerProcess | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Leader of the server's process group."""
        return self.own.pid

    @property
    def log_path(self) -> Path:
        """What the server writes."""
        return Path(self.own.log)

    @property
    def own(self) -> runtime.ServerProcess:
        """The process, which a server named by the environment does not have."""
        if self.process is None:
            pytest.fail("this test needs a server of its own: unset ABSTRACTCORE_TEST_VLLM_URL")
        return self.process


@pytest.fixture(scope="session")
def smollm2(environment: local_vllm.Environment, show: Shown) -> tuple[Path, dict[str, Path]]:
    """The weights of SmolLM2-135M-Instruct, and two LoRA adapters for it."""
    with show() as report:
        model = small_model.ensure_model(small_model.SMOLLM2, environment.python, cache_dir(), report)
        return model, make_adapters(environment, model, report)


@pytest.fixture(scope="session")
def vllm(
    environment: local_vllm.Environment,
    smollm2: tuple[Path, dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
    show: Shown,
) -> Iterator[LiveServer]:
    """vLLM with SmolLM2-135M-Instruct, a real chat model; adapters can be loaded and tools are parsed."""
    model, adapters = smollm2
    running = os.environ.get("ABSTRACTCORE_TEST_VLLM_URL")
    if running:
        with urlopen(f"{running}/models", timeout=10) as answer:
            served = json.load(answer)["data"][0]["id"]
        yield LiveServer(running, served, adapters)
    else:
        folder = tmp_path_factory.mktemp("vllm")
        with serving(environment, model, "smollm2", adapters=adapters, folder=folder, show=show) as server:
            yield server


@pytest.fixture(scope="session")
def tiny_vllm(
    environment: local_vllm.Environment, tmp_path_factory: pytest.TempPathFactory, show: Shown
) -> Iterator[LiveServer]:
    """vLLM with a tiny random Qwen2: it answers fast, and nonsense."""
    model = cache_dir() / "models" / "tiny-qwen2"
    with show() as report:
        make(environment, model, ["model"], report)
        adapters = make_adapters(environment, model, report)
    folder = tmp_path_factory.mktemp("tiny-vllm")
    with serving(environment, model, "tiny", adapters=adapters, folder=folder, show=show) as server:
        yield server


@pytest.fixture(scope="session")
def old_vllm(tmp_path_factory: pytest.TempPathFactory, show: Shown) -> Iterator[LiveServer]:
    """vLLM 0.10.2, which knows only the old spellings, with a tiny random model."""
    adapters = {f"adapter-{letter}": old_server.model_folder() / f"adapter-{letter}" for letter in "ab"}
    running = os.environ.get("ABSTRACTCORE_TEST_OLD_VLLM_URL")
    if running:
        yield LiveServer(running, old_server.MODEL, adapters)
        return
    with show() as report:
        spec = old_server.spec(unused_port(), report, *WITHOUT_CHANCE)
    with running_server(spec, adapters=adapters, folder=tmp_path_factory.mktemp("old-vllm"), show=show) as server:
        yield server


@pytest.fixture
def llm(vllm: LiveServer) -> Iterator[VLLMProvider]:
    """A provider for the server with SmolLM2."""
    from abstractcore.providers import VLLMProvider

    with VLLMProvider(model=vllm.model, base_url=vllm.base_url) as provider:
        yield provider


@pytest.fixture(scope="session")
def environment(show: Shown) -> local_vllm.Environment:
    """The installed vLLM; the CPU build on every machine, so that all see the same."""
    environment = local_vllm.choose((), cache_dir())
    with show() as report:
        local_vllm.install(environment, report)
    return environment


class Shown:
    """Opens a progress line on the real terminal, past pytest's capture."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")

    @contextmanager
    def __call__(self) -> Iterator[Report]:
        """A report that the person at the terminal sees."""
        with self._capture.global_and_fixture_disabled(), ProgressLine(sys.stderr) as line:

            def report(progress: Progress) -> None:
                if not line.seconds:
                    sys.stderr.write("\n")
                line(progress)

            yield report


@pytest.fixture(scope="session")
def show(request: pytest.FixtureRequest) -> Shown:
    """Progress that is seen while the tests run."""
    return Shown(request.config)


@contextmanager
def serving(
    environment: local_vllm.Environment,
    model: Path,
    name: str,
    *,
    adapters: Mapping[str, Path],
    folder: Path,
    show: Shown,
) -> Iterator[LiveServer]:
    """Runs a server while the block runs; its log is kept with pytest's temporary folders."""
    args = (*vllm_server.LORA_ARGS, *vllm_server.TOOL_ARGS, *WITHOUT_CHANCE)
    port, env = unused_port(), vllm_server.LORA_ENV
    spec = vllm_server.small_server(environment, model, name=name, port=port, args=args, env=env)
    with running_server(spec, adapters=adapters, folder=folder, show=show) as server:
        yield server


@contextmanager
def running_server(
    spec: vllm_server.ServerSpec, *, adapters: Mapping[str, Path], folder: Path, show: Shown
) -> Iterator[LiveServer]:
    """Runs any server while the block runs."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed test run stops its server too
    try:
        with show() as report:
            log, pid_file = folder / "server.log", folder / "server.json"
            process = vllm_server.start(spec, log=log, pid_file=pid_file, report=report)
        try:
            yield LiveServer(spec.base_url, spec.name, adapters, process)
        finally:
            runtime.stop_server(process, grace=5.0)
    finally:
        signal.signal(signal.SIGTERM, before)


def make_adapters(environment: local_vllm.Environment, model: Path, report: Report) -> dict[str, Path]:
    """Two LoRA adapters beside the model; each gives another answer than the model alone."""
    found = {f"lora-{seed}": model.with_name(f"{model.name}-lora-{seed}") for seed in (1, 2)}
    for seed, folder in enumerate(found.values(), start=1):
        make(environment, folder, ["lora", "--base", str(model), "--seed", str(seed)], report)
    return found


def make(environment: local_vllm.Environment, folder: Path, arguments: list[str], report: Report) -> None:
    """Has the maker script make a folder that is missing."""
    if folder.exists():
        return
    report(Progress("model", f"making {folder.name}"))
    kind, *options = arguments
    argv = [str(environment.python), str(MAKER), kind, str(folder), *options]
    done = runtime.run(argv, env=local_vllm.child_env(os.environ))
    assert done.code == 0, "\n".join(done.tail)


def unused_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
