"""The command line as a user or a script sees it: what goes where, exit codes, the form of errors."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from abstractcore import ConnectionFailedError, VLLMProvider, __version__, factory
from abstractcore.cli.main import COMMANDS, main
from abstractcore.testing import FakeServer, Reply

CHAT = "POST /v1/chat/completions"


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


class Shell:
    """Runs the command line in this process, against a fake server."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch = patch
        self._capture = capture
        self.server = FakeServer({CHAT: answer("Because."), "GET /version": Reply.json({"version": "0.32.0"})})
        self.made: list[dict[str, Any]] = []
        patch.setattr(factory, "create_llm", self._make)
        patch.setenv("NO_COLOR", "1")

    def _make(self, name: str, model: str | None = None, **config: Any) -> VLLMProvider:
        self.made.append({"provider": name, "model": model, **config})
        return VLLMProvider(model or "m", **{"base_url": "http://gpu:8000", **config, **self.server.transports})

    def __call__(self, *arguments: str, piped: str | None = None) -> Outcome:
        self._patch.setattr(sys, "stdin", Terminal() if piped is None else io.StringIO(piped))
        self._patch.setattr(sys, "argv", ["abstractcore", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = self._capture.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, out, err)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def answer(text: str) -> Reply:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return Reply.json(
        {"id": "r", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 1}}
    )


def streamed(*texts: str) -> Reply:
    parts = [{"index": 0, "delta": {"content": text}} for text in texts]
    parts.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    return Reply.events([{"id": "r", "model": "m", "choices": [part]} for part in parts])


def asked(run: Shell) -> str:
    text = run.server.sent[-1]["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("Why is the sky blue?",), ("ask", "Why is the sky blue?"), ("Why", "is the", "sky blue?")]
)
def test_a_prompt_is_the_default_command(run: Shell, arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == Outcome(0, "Because.\n", "")
    assert asked(run) == "Why is the sky blue?"


def test_options_may_stand_before_the_prompt(run: Shell) -> None:
    assert run("-t", "0.5", "--max-tokens", "7", "--seed", "3", "-s", "Be brief.", "Why?").code == 0
    [sent] = run.server.sent
    assert (sent["temperature"], sent["max_completion_tokens"], sent["seed"]) == (0.5, 7, 3)
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}


def test_what_is_piped_follows_the_prompt(run: Shell) -> None:
    run("Summarise", piped="a long text\n")
    assert asked(run) == "Summarise\n\na long text\n"
    run(piped="only this")
    assert asked(run) == "only this"


def test_nothing_to_ask_is_wrong_usage(run: Shell) -> None:
    outcome = run(piped="")
    assert (outcome.code, outcome.out) == (2, "")
    assert "there is no prompt" in outcome.err
    assert run.server.calls == []


def test_a_mistyped_command_is_not_sent_as_a_prompt(run: Shell) -> None:
    outcome = run("modles")
    assert outcome.code == 2
    assert "did you mean 'models'? As a prompt: abstractcore ask modles" in outcome.err
    assert run.server.calls == []


def test_a_stream_is_printed_as_it_comes(run: Shell) -> None:
    run.server.route(CHAT, streamed("Be", "cause", "."))
    assert run("Why?", "--stream") == Outcome(0, "Because.\n", "")


def test_the_proof_goes_beside_the_answer(run: Shell) -> None:
    run.server.route(CHAT, answer("123"))
    outcome = run("A number", "--guided-regex", "[0-9]{3}")
    assert outcome == Outcome(0, "123\n", "proved: regex by llguidance, sent as structured_outputs.regex\n")
    run.server.route(CHAT, streamed("1", "23"))
    assert run("A number", "--guided-regex", "[0-9]{3}", "--stream") == outcome


def test_a_constraint_from_a_file(run: Shell, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "array"}')
    run.server.route(CHAT, answer("[1]"))
    assert run("A list", "--guided-json", str(schema)).out == "[1]\n"
    assert run.server.sent[-1]["response_format"]["json_schema"]["schema"] == {"type": "array"}
    missing = run("A list", "--guided-json", str(tmp_path / "none.json"))
    assert missing.code == 2
    assert "can't read" in missing.err


def test_one_of_several(run: Shell) -> None:
    run.server.route(CHAT, answer("yes"))
    assert run("Well?", "--guided-choice", "yes", "--guided-choice", "no").out == "yes\n"
    assert run.server.sent[-1]["structured_outputs"] == {"choice": ["yes", "no"]}


def test_where_to_ask(run: Shell) -> None:
    run("Why?", "-p", "vllm", "-m", "other", "--base-url", "http://x:1")
    assert run.made == [{"provider": "vllm", "model": "other", "base_url": "http://x:1"}]


def test_settings_name_what_no_option_names(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSTRACTCORE_MODEL", "mine")
    run("Why?")
    assert run.made == [{"provider": "vllm", "model": "mine"}]


# --- for scripts -----------------------------------------------------------------------------------------------------

ANSWER_KEYS = {
    "schema", "content", "model", "finish_reason", "usage", "tool_calls", "reasoning", "logprobs", "alternatives",
    "index", "metadata", "gen_time",
}  # fmt: skip


def test_an_answer_as_json(run: Shell) -> None:
    outcome = run("Why?", "--json")
    document = msgspec.json.decode(outcome.out)
    assert document.keys() >= ANSWER_KEYS
    assert (document["schema"], document["content"]) == ("abstractcore.answer/1", "Because.")
    assert document["usage"].items() >= {"input_tokens": 2, "output_tokens": 1, "cached_tokens": None}.items()
    assert outcome.err == ""


def test_a_stream_as_json_is_one_line_a_chunk(run: Shell) -> None:
    run.server.route(CHAT, streamed("a", "b"))
    rows = [msgspec.json.decode(line) for line in run("Why?", "--json", "--stream").out.splitlines()]
    assert [row["content"] for row in rows] == ["a", "b", ""]
    assert {row["schema"] for row in rows} == {"abstractcore.chunk/1"}
    assert rows[-1]["finish_reason"] == "stop"


MODELS = Reply.json(
    {"data": [{"id": "base", "max_model_len": 2048, "root": "r"}, {"id": "sql", "parent": "base", "root": "/a"}]}
)


def test_models_for_people_and_for_scripts(run: Shell) -> None:
    run.server.route("GET /v1/models", MODELS)
    assert run("models").out == "base  2048 tokens\nsql   2048 tokens  adapter of base\n"
    document = msgspec.json.decode(run("models", "--json").out)
    assert document["schema"] == "abstractcore.models/1"
    assert [(row["id"], row["parent"], row["context_length"]) for row in document["models"]] == [
        ("base", None, 2048), ("sql", "base", 2048),
    ]  # fmt: skip


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_an_error_says_what_why_and_try_and_exits_with_1(run: Shell) -> None:
    refused = Reply.json({"error": {"message": "The model `x` does not exist.", "code": 404}}, 404)
    run.server.route(CHAT, refused)
    run.server.route("GET /v1/models", MODELS)
    outcome = run("Why?", "-m", "x")
    assert outcome == Outcome(
        1, "",
        "error: vllm: the server doesn't serve this model (HTTP 404): The model `x` does not exist.\n"
        "try: served here: base, sql\n",
    )  # fmt: skip


def test_a_server_that_is_down_exits_with_4(run: Shell) -> None:
    down = ConnectionFailedError("connection refused")
    down.refused = True
    run.server.route(CHAT, down)
    outcome = run("Why?")
    assert outcome == Outcome(
        4, "",
        "error: no vllm server answers at http://gpu:8000/v1\nwhy: connection refused\n"
        "try: vllm serve m    (without a GPU: abstractcore demo); "
        "if it still loads its model: wait_until_ready(600), or --wait 600\n",
    )  # fmt: skip


def test_a_server_that_does_not_get_ready_exits_with_4(run: Shell) -> None:
    run.server.route("GET /health", Reply.json({}, 500))
    outcome = run("Why?", "--wait", "0")
    assert outcome.code == 4
    assert "was not ready within 0 s" in outcome.err
    assert CHAT not in run.server.paths()


def test_a_broken_constraint_exits_with_1_and_asks_nobody(run: Shell) -> None:
    outcome = run("x", "--guided-regex", "[0-9")
    assert outcome.code == 1
    assert outcome.err.startswith("error: the regex does not compile: unclosed character class\nwhy: ")
    assert "\ntry: mend the pattern" in outcome.err
    assert run.server.calls == []


def test_a_violation_exits_with_1_and_prints_no_answer(run: Shell) -> None:
    run.server.route(CHAT, answer("Sure! 123"))
    outcome = run("x", "--guided-regex", "[0-9]{3}")
    assert (outcome.code, outcome.out) == (1, "")
    assert "does not satisfy the regex" in outcome.err


def test_an_interruption_exits_with_130(run: Shell) -> None:
    def interrupt(call: Any) -> Reply:
        raise KeyboardInterrupt

    run.server.route(CHAT, interrupt)
    outcome = run("x")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "interrupted")


@pytest.mark.parametrize(
    "arguments", [("--nonsense",), ("models", "extra"), ("x", "--max-tokens", "0"), ("x", "--on-cut", "no")]
)
def test_wrong_usage_exits_with_2(run: Shell, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: abstractcore" in outcome.err


def test_an_unknown_provider_exits_with_1(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    outcome = run("x", "-p", "gpt")
    assert outcome.code == 1
    assert "there is no provider 'gpt'" in outcome.err


# --- the program itself ----------------------------------------------------------------------------------------------

PROGRAM = [sys.executable, "-m", "abstractcore"]


HELP = """\
Usage: abstractcore [OPTIONS] COMMAND [ARGS]...

  One interface for language models: ask them, and run vLLM well.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
{commands}

  abstractcore "Why is the sky blue?"
  git diff | abstractcore "Write a commit message"
  abstractcore "List 3 colors" --guided-json schema.json

  Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check or plan says no, 4 server unreachable, 130 interrupted.
"""


def test_the_help_text() -> None:
    shown = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"})
    width = max(map(len, COMMANDS))
    assert shown.stdout == HELP.format(
        commands="\n".join(f"  {name:<{width}}  {row.summary}" for name, row in COMMANDS.items())
    )
    assert shown.returncode == 0


def test_every_command_has_its_own_help() -> None:
    for name, row in COMMANDS.items():
        shown = subprocess.run([*PROGRAM, name, "--help"], capture_output=True, text=True)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith(f"Usage: abstractcore {name} ")
        assert "\\b" not in shown.stdout
        assert row.summary.endswith(".")


def test_the_version() -> None:
    shown = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True)
    assert shown.stdout == f"abstractcore, version {__version__}\n"


def test_a_reader_that_leaves_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run([*PROGRAM, "--help"], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
