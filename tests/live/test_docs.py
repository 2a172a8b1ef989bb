"""Every block of the documentation that needs a server runs against a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from tests.docs.blocks import EXAMPLE_MODEL, PAGES, ROOT, blocks, run

LIVE = {page: live for page in PAGES if (live := [block for block in blocks(page) if block.tier == "live"])}


class Served(Protocol):
    """What the fixture ``vllm`` tells about its server."""

    @property
    def base_url(self) -> str:
        """Ends with ``/v1``."""

    @property
    def model(self) -> str:
        """Name of the served model."""


@pytest.mark.parametrize("page", LIVE, ids=lambda page: str(page.relative_to(ROOT)))
def test_live_blocks_run(page: Path, vllm: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # some blocks save a file
    monkeypatch.setenv("VLLM_BASE_URL", vllm.base_url)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # no settings of this machine
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert run(LIVE[page], replace=(EXAMPLE_MODEL, vllm.model))
