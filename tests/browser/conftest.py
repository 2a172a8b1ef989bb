"""Real Chromium against a real gateway in front of a real vLLM; nothing of it is skipped in CI.

A test takes ``visit``: a browser profile of its own at the gateway. When the test ends, any error in the console, any
content that the policy refused and any request to another address fails it; a picture of the page is kept then, in the
folder that the summary names. ``visit.shoot("name")`` keeps one anyway.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import chromium, gateway
from tests.browser.gateway import RunningGateway
from tests.browser.visit import Open, Visit, visiting
from tests.live.conftest import LiveServer, Shown, environment, show, smollm2, vllm

__all__ = ["environment", "show", "smollm2", "vllm"]

# Whatever a page tries, no name of the outside has an address, and nothing goes through a proxy.
ARGUMENTS: Final = ("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server")
SHOTS: Final = pytest.StashKey[Path]()
FAILED: Final = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def browser(show: Shown) -> Iterator[Browser]:
    """Chromium, without a window."""
    with show() as report:
        program = chromium.ensure(report)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(program), args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def served(vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """``abstractcore serve`` in front of vLLM with SmolLM2; adapters may be loaded and unloaded."""
    backend = f'[backends.vllm]\nbase_url = "{vllm.base_url}"\nallow_adapters = true\nadapter_folders = ["/"]\n'
    config = f'{backend}[aliases]\nsmall = "vllm/{vllm.model}"\n'
    with gateway.running(config, tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def open_browser(browser: Browser, request: pytest.FixtureRequest) -> Open:
    """For tests that need another gateway, another size or a second profile."""
    folder = request.config.stash[SHOTS]

    @contextmanager
    def opened(origin: str, name: str = "", **options: Any) -> Iterator[Visit]:
        title = "-".join(filter(None, (request.node.name, name)))
        with visiting(browser, origin, folder, title, **options) as visit:
            try:
                yield visit
                assert not visit.wrong, "\n".join(visit.wrong)
            except BaseException:
                visit.shoot("failed")
                raise
            if request.node.stash.get(FAILED, False):
                visit.shoot("failed")

    return opened


@pytest.fixture
def visit(open_browser: Open, served: RunningGateway) -> Iterator[Visit]:
    """A browser profile at the gateway in front of vLLM."""
    with open_browser(served.url) as opened:
        yield opened


def pytest_configure(config: pytest.Config) -> None:
    """Says where pictures go, and removes those of the last run."""
    folder = config.stash[SHOTS] = config.rootpath / ".screenshots"
    for old in folder.glob("*.png"):
        old.unlink()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells the fixtures that their test failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Names the folder with the pictures."""
    folder = config.stash[SHOTS]
    pictures = sorted(folder.glob("*.png")) if folder.exists() else []
    if pictures:
        terminalreporter.write_line(f"{len(pictures)} screenshots in {folder}")
