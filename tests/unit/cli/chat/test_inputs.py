"""What was typed is there again next time: for its owner only, without keys."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.cli.chat.inputs import KEPT, Inputs, known_secrets, may_be_kept
from abstractcore.settings import state_dir


def test_lines_come_back_in_order_whatever_is_in_them(tmp_path: Path) -> None:
    typed = ["hello", "two\nlines", '/guided json {"a": 1}', "Ä\u2028\x85é", "\udcff"]
    inputs = Inputs(tmp_path / "new" / "inputs")
    for line in typed:
        inputs.add(line)
    assert Inputs(inputs.path).lines() == typed


def test_the_file_is_its_owners(tmp_path: Path) -> None:
    inputs = Inputs()
    inputs.add("hello")
    assert inputs.path == state_dir() / "chat-history.jsonl"
    assert stat.S_IMODE(inputs.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inputs.path.parent.stat().st_mode) == 0o700
    inputs.path.chmod(0o644)
    inputs.add("again")
    assert stat.S_IMODE(inputs.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text",
    [
        " with a space in front",
        "my key is sk-proj-0123456789abcdef",
        "use hf_abcdefghijklmnop",
        "curl -H 'Authorization: Bearer abcdefghijklm'",
        "the value of a setting: s3cret-of-mine",
        "  ",
    ],
)
def test_keys_and_what_begins_with_a_space_are_not_kept(tmp_path: Path, text: str) -> None:
    inputs = Inputs(tmp_path / "inputs", ["s3cret-of-mine"])
    inputs.add(text)
    assert inputs.lines() == []


def test_the_secrets_of_the_settings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_secrets() == []  # EMPTY, vLLM's default, is a word
    monkeypatch.setenv("VLLM_API_KEY", "0123456789")
    assert known_secrets() == ["0123456789"]


@given(st.text())
def test_plain_talk_is_kept(text: str) -> None:
    assert may_be_kept(f"x{text}", []) or "sk-" in text or "Bearer" in text or "_" in text or "-" in text


def test_a_long_file_is_shortened_and_broken_rows_are_passed_over(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path / "inputs")
    inputs.path.write_text('not json\n{"a": 1}\n' + "".join(f'"{number}"\n' for number in range(2 * KEPT)))
    assert inputs.lines() == [str(number) for number in range(KEPT, 2 * KEPT)]
    assert len(inputs.path.read_bytes().splitlines()) == KEPT
    assert stat.S_IMODE(inputs.path.stat().st_mode) == 0o600
