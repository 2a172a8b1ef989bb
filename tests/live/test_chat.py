"""The conversation as a person has it: at a terminal, with a real vLLM."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from abstractcore.providers import VLLMProvider
from tests.live.conftest import LiveServer, unused_port
from tests.live.screen import Terminal, terminal
from tests.live.test_cancel import comes_to, running

ROOT = Path(__file__).parents[2]
CHAT = (sys.executable, "-m", "abstractcore", "chat", "-t", "0")
SCRIPT = (sys.executable, str(ROOT / "scripts" / "test-repl-gpu.py"))
CTRL_C, CTRL_D, TAB = "\x03", "\x04", "\t"
READY = "Ctrl-D leaves."
LONG = "/guided regex (la ){600}"
"""Holds an answer to 600 words, which take a CPU more than ten seconds."""


@pytest.fixture
def env(vllm: LiveServer, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who knows the server and nothing else."""
    away = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "VLLM_BASE_URL": vllm.base_url}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "ABSTRACTCORE_", "NO_"))}
    return {**kept, **away}


@pytest.fixture
def chat(env: dict[str, str]) -> Iterator[Terminal]:
    """A conversation that has begun."""
    with terminal(CHAT, env) as opened:
        opened.sees(READY)
        opened.status()
        yield opened


def test_an_answer_comes_piece_by_piece_and_ctrl_c_stops_it_on_the_server(chat: Terminal, vllm: LiveServer) -> None:
    assert comes_to(vllm.base_url, 0)
    chat.enter(LONG)
    chat.sees("held to this regex")
    chat.enter("Sing.")
    chat.sees("la la la")
    assert running(vllm.base_url) >= 1
    chat.press(CTRL_C)
    shown = chat.sees("stopped; nothing of it is kept")
    assert shown.count("la ") < 600
    assert comes_to(vllm.base_url, 0)
    chat.enter("/guided off")
    chat.enter("What is the capital of France?")
    chat.sees("tokens/s")
    assert "Paris" in chat.text()
    assert "first after" in chat.status()
    assert f"of {model_length(vllm)} tokens" in chat.status()
    chat.enter("/history")
    assert "Sing." not in chat.sees("user: ").partition("/history")[2]


def model_length(vllm: LiveServer) -> int:
    with VLLMProvider(base_url=vllm.base_url) as llm:
        return llm.model_info().context_length or 0


def test_a_constrained_answer_is_proved_or_marked_as_none(chat: Terminal) -> None:
    chat.enter("/guided choice red 'dark green'")
    chat.enter("Name a colour.")
    shown = chat.sees("proved: choice by membership, sent as structured_outputs.choice")
    assert any(line in ("red", "dark green") for line in shown.splitlines())
    chat.enter("/tokens 4")
    chat.enter(r"/guided regex \d{40}")
    chat.enter("A number?")
    shown = chat.sees("try: /tokens")
    assert "no answer: the text above is only what had come" in shown
    assert "error: max_output_tokens=4 cut the answer before it satisfied the regex" in shown
    chat.enter("/guided regex [a")
    chat.sees("unclosed character class")
    assert "held to regex" in chat.status()  # the one that compiled stays


def test_adapters_are_loaded_used_and_unloaded(chat: Terminal, vllm: LiveServer) -> None:
    path = vllm.adapters["lora-1"]
    chat.enter(f"/adapter load chat-style {path}")
    chat.sees("'chat-style' loaded successfully")
    chat.enter("/adapter use chat-stile")
    chat.sees("try: /adapter use chat-style")
    chat.press(f"/adapter use chat{TAB}")
    chat.sees("> /adapter use chat-style")
    chat.press("\r")
    chat.sees(f"chat-style answers, an adapter of {vllm.model}")
    chat.enter("/tokens 8")
    chat.enter("Hello?")
    chat.sees("tokens of an answer: at most 8")
    chat.enter("/adapter unload chat-style")
    chat.sees(f"{vllm.model} answers itself")
    assert "| adapter chat-style |" not in chat.status()
    chat.enter("/adapter")
    chat.sees("no adapter is loaded")


def test_models_are_listed_and_chosen(chat: Terminal, vllm: LiveServer) -> None:
    chat.enter("/model")
    chat.sees(f"* {vllm.model}")
    chat.enter("/model nonsense")
    chat.sees("'nonsense' is not served")
    chat.enter(f"/model vllm/{vllm.model}")
    chat.sees("going on with vllm ")


def test_a_conversation_is_saved_and_goes_on_another_day(chat: Terminal, env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    chat.enter("/tokens 8")
    chat.enter("My name is Ada.")
    chat.sees("tokens/s")
    chat.enter(f"/save {path}")
    chat.sees("saved 2 messages")
    chat.press(CTRL_D)
    assert chat.ends() == 0
    with terminal((*CHAT, "--load", str(path)), env) as later:
        later.sees("loaded 2 messages")
        later.enter("/clear")
        later.sees("forgot 2 messages")
        later.enter(f"/load {path}")
        later.sees("loaded 2 messages", times=2)
        later.press("\x1b[A\x1b[A\x1b[A\x1b[A")  # past this conversation's lines, to the earlier one's
        later.sees("> My name is Ada.")
        later.press(CTRL_C)
        later.enter("/history")
        later.sees("user: My name is Ada.")
    kept = tmp_path / "abstractcore" / "chat-history.jsonl"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_keys_that_are_pressed_while_an_answer_comes_are_not_mixed_into_it(chat: Terminal, vllm: LiveServer) -> None:
    chat.enter("/guided regex (la ){60}")
    chat.sees("held to this regex")
    chat.enter("Sing.")
    chat.sees("la la la")
    chat.enter("/guided")
    shown = chat.sees("regex: (la ){60}")
    assert ("la " * 60).rstrip() in shown.replace("\n", "")


@pytest.mark.parametrize("keys", [[CTRL_D], [CTRL_C, CTRL_C], ["/quit\r"]])
def test_it_is_left_in_peace(chat: Terminal, keys: list[str]) -> None:
    for count, key in enumerate(keys):
        if count:
            chat.sees("Ctrl-C again, or Ctrl-D, leaves")
        chat.press(key)
    assert chat.ends() == 0
    assert chat.echoes()


def test_no_server_is_said_at_once_with_what_helps(env: dict[str, str]) -> None:
    with terminal(CHAT, {**env, "VLLM_BASE_URL": f"http://127.0.0.1:{unused_port()}"}) as chat:
        assert chat.ends() == 4
        assert "error: no vllm server answers at" in chat.text()
        said = chat.text().replace("\n", "")  # the screen ends a line where it is full
        assert "without a server: abstractcore chat --local" in said
        assert "Traceback" not in chat.text()


def test_a_pipe_is_read_line_by_line(env: dict[str, str]) -> None:
    piped = "/guided choice yes no\nIs the sky blue?\nAre you sure?\n/history\n"
    done = subprocess.run(CHAT, env=env, input=piped, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert set(done.stdout.splitlines()) <= {"yes", "no"}
    assert "user: Is the sky blue?\nassistant: " in done.stderr


def test_the_script_shows_what_it_found_and_talks(env: dict[str, str], vllm: LiveServer) -> None:
    with terminal(SCRIPT, env) as script:
        shown = script.sees(READY)
        assert f"model     {vllm.model}, {model_length(vllm)} tokens of context" in shown
        assert "server    vLLM " in shown
        assert "adapters  " in shown
        assert "guided_json" in shown
        script.enter("/guided choice yes no")
        script.enter("Well?")
        script.sees("proved: choice")
        script.press(CTRL_D)
        assert script.ends() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--no-chat",), 0, "emulated  best_of"),
        (("--nonsense",), 2, "unrecognized arguments"),
        (("--base-url", "http://127.0.0.1:{port}"), 4, "error: no vllm server answers"),
        (("-m", "nonsense"), 1, "'nonsense' is not served"),
    ],
)
def test_the_script_tells_by_its_exit_code(
    env: dict[str, str], arguments: tuple[str, ...], code: int, says: str
) -> None:
    filled = [argument.format(port=unused_port()) for argument in arguments]
    done = subprocess.run((*SCRIPT, *filled), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
