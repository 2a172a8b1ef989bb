"""The documentation is true: its offline blocks run, its links lead somewhere, its tasks exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from abstractcore.settings import SETTINGS, Setting
from tests.docs.blocks import PAGES, ROOT, blocks, commands, run

LINK = re.compile(r"\]\(([^)\s]+)\)")
EVERY_PAGE = pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT))
)


@EVERY_PAGE
def test_offline_blocks_run(page: Path) -> None:
    run([block for block in blocks(page) if block.tier == "offline"])


@EVERY_PAGE
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link


@EVERY_PAGE
def test_tasks_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {
        word
        for block in blocks(page)
        if block.language in ("bash", "console")
        for command in commands(block)
        if command.text.startswith("make ")
        for word in command.text.split("#")[0].split()[1:]
        if "=" not in word
    }
    assert {task for task in named if not re.search(rf"^{re.escape(task)}:", makefile, re.MULTILINE)} == set()


def test_the_pages_hold_something_to_run() -> None:
    tiers = [block.tier for page in PAGES for block in blocks(page)]
    assert "offline" in tiers
    assert "live" in tiers


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_readme_lists_every_setting(setting: Setting) -> None:
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for variable in setting.env:
        (row,) = [row for row in rows if f"`{variable}`" in row.split("|")[1]]
        assert setting.default is None or f"`{setting.default}`" in row
        assert setting.doc.removesuffix(".") in row
