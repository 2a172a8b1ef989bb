"""A file of prompts in, a file of answers out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from abstractcore.cli.batch import batch
from abstractcore.errors import ConnectionFailedError
from abstractcore.providers import VLLMProvider
from tests.unit.providers.batch.conftest import FakeServer, refused

LINES = """\
{"prompt": "an object", "max_tokens": 2}

plain text
"a string"
[{"role": "user", "content": "a list"}]
{"messages": [{"role": "user", "content": "a chat"}]}
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer()
    llm = VLLMProvider("m", base_url="http://server.test/v1", async_transport=server)
    monkeypatch.setattr("abstractcore.cli.batch.connect", lambda *given: llm)
    return server


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.jsonl"
    file.write_text(LINES, encoding="utf-8")
    return file


def run(*arguments: Any, text: str | None = None) -> Result:
    given = io.BytesIO(text.encode()) if text is not None else None
    return CliRunner().invoke(batch, [str(argument) for argument in arguments], input=given)


def answers(file: Path) -> dict[int, Any]:
    return {line["index"]: line for line in map(json.loads, file.read_text().splitlines())}


def test_every_form_of_line(server: FakeServer, prompts: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    done = run(prompts, "-o", output, "--max-tokens", 9, "--guided-regex", "[A-Z ]+")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "5/5" in done.stderr
    texts = [answers(output)[index]["response"]["content"] for index in range(5)]
    assert texts == ["AN OBJECT", "PLAIN TEXT", "A STRING", "A LIST", "A CHAT"]
    limits = {body["messages"][0]["content"]: body["max_completion_tokens"] for body in server.bodies}
    assert limits == {"an object": 2, "plain text": 9, "a string": 9, "a list": 9, "a chat": 9}


def test_standard_input(server: FakeServer, tmp_path: Path) -> None:
    assert run("-", "-o", tmp_path / "out", text=LINES).exit_code == 0
    assert len(answers(tmp_path / "out")) == 5


def test_failures_are_counted_and_asked_again(server: FakeServer, prompts: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    server.fail = lambda prompt: 400 if prompt == "a list" else None
    done = run(prompts, "-o", output)
    assert done.exit_code == 1
    assert "no a list" in done.stderr
    assert "1 of 5 failed; --resume asks them again. This was item 3." in done.stderr
    assert "error" in answers(output)[3]
    server.fail = lambda prompt: None
    server.prompts.clear()
    assert run(prompts, "-o", output, "--resume").exit_code == 0
    assert server.prompts == {"a list": 1}
    assert sorted(answers(output)) == [0, 1, 2, 3, 4]


def test_a_server_that_is_not_there_is_one_error(server: FakeServer, prompts: Path, tmp_path: Path) -> None:
    server.fail = lambda prompt: refused()
    done = run(prompts, "-o", tmp_path / "out")
    assert isinstance(done.exception, ConnectionFailedError)  # which main() turns into exit code 4


def test_answers_are_not_overwritten(server: FakeServer, prompts: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    done = run(prompts, "-o", output)
    assert done.exit_code == 2
    assert "--resume goes on with it" in done.stderr
    assert output.read_text() == "precious\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"prompt": "cut', "line 2: it begins like JSON but is none"),
        ('{"prompt": "a", "max_token": 3}', "line 2: unknown option 'max_token'; did you mean 'max_tokens'?"),
    ],
)
def test_a_line_that_is_no_prompt_is_found_before_anything_is_sent(
    server: FakeServer, tmp_path: Path, line: str, why: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(f"fine\n{line}\n")
    done = run(file, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert why in done.stderr
    assert not server.prompts
    file.write_bytes(b"fine\n\xff\n")
    assert run(file, "-o", tmp_path / "out").exit_code == 2
