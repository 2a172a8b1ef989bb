"""Tab offers what can stand there, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.cli.chat.commands import COMMANDS
from abstractcore.cli.chat.completion import Source, complete, files

ARGUMENTS = {name: row.arguments for name, row in COMMANDS.items()}
NAMES = {
    Source.COMMANDS: list(COMMANDS),
    Source.MODELS: ["smollm2", "sql", "org/base"],
    Source.ADAPTERS: ["sql", "style"],
    Source.FILES: ["my talk.json", "my schema.json"],
}


def offered(text: str) -> list[str]:
    """The line after each offer was taken."""
    found = complete(text, ARGUMENTS, lambda source, begun: [n for n in NAMES[source] if n.startswith(begun)])
    return [text[: len(text) - offer.replaced] + offer.text for offer in found]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("/he", ["/help "]),
        ("/s", ["/system ", "/stream ", "/save ", "/settings"]),
        ("/model s", ["/model smollm2", "/model sql"]),
        ("/model org/", ["/model org/base"]),
        ("/adapter u", ["/adapter use ", "/adapter unload "]),
        ("/adapter use s", ["/adapter use sql", "/adapter use style"]),
        ("/adapter load sql my ", ["/adapter load sql my talk.json", "/adapter load sql my schema.json"]),
        ("/adapter load ", []),
        ("/adapter use sql ", []),
        ("/guided ", ["/guided json ", "/guided regex ", "/guided choice ", "/guided grammar ", "/guided off"]),
        ("/guided json my s", ["/guided json my schema.json"]),
        ("/guided regex m", []),
        ("/save my t", ["/save my talk.json"]),
        ("/help co", ["/help compact"]),
        ("/stream o", ["/stream on", "/stream off"]),
        ("/clear ", []),
        ("/nonsense x", []),
        ("hello /he", []),
    ],
)
def test_what_is_offered(text: str, lines: list[str]) -> None:
    assert offered(text) == lines


@given(st.text(alphabet="/ adegiloprstu", max_size=30).map("/".__add__))
def test_an_offer_never_changes_what_was_typed(text: str) -> None:
    assert all(line.startswith(text) for line in offered(text))


def test_files_are_offered_folder_by_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talks" / "old").mkdir(parents=True)
    (tmp_path / "talks" / "one.json").touch()
    (tmp_path / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files("") == ["talks/"]
    assert files("talks/o") == ["talks/old/", "talks/one.json"]
    assert files("~/ta") == ["~/talks/"]
    assert files(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert files("nowhere/") == []
