"""``abstractcore chat`` with a pipe in the place of a person."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from abstractcore import VLLMProvider
from abstractcore.cli.chat.command import meet
from abstractcore.cli.chat.commands import execute
from abstractcore.cli.chat.conversation import Conversation
from abstractcore.cli.chat.lines import Order
from abstractcore.cli.chat.screen import Screen
from abstractcore.errors import ConnectionFailedError, ModelNotFoundError
from abstractcore.testing import FakeServer, Reply
from tests.unit.cli.test_main import CHAT, Outcome, Shell, answer, streamed

MODELS = "GET /v1/models"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(monkeypatch, capsys)
    shell.server.route(MODELS, Reply.json({"data": [{"id": "m", "max_model_len": 2048, "root": "r"}]}))
    return shell


def test_each_line_is_a_turn_that_knows_the_ones_before(run: Shell) -> None:
    run.server.route(CHAT, [answer("Hello Ada."), answer("Ada.")])
    assert run("chat", piped="I am Ada.\n\nWho am I?\n") == Outcome(0, "Hello Ada.\nAda.\n", "")
    assert [message["content"] for message in run.server.sent[-1]["messages"]] == [
        "I am Ada.",
        "Hello Ada.",
        "Who am I?",
    ]


def test_commands_work_and_say_what_they_did_beside_the_answers(run: Shell) -> None:
    run.server.route(CHAT, answer("yes"))
    outcome = run("chat", "-t", "0", piped="/guided choice yes no\nWell?\n/quit\nnever asked\n")
    assert outcome == Outcome(
        0,
        "yes\n",
        "the next answers are held to this choice, and proved\n"
        "proved: choice by membership, sent as structured_outputs.choice\n",
    )
    assert len(run.server.sent) == 1
    assert run.server.sent[0]["temperature"] == 0


def test_several_lines_between_quotes_are_one_prompt(run: Shell) -> None:
    run("chat", piped='"""\ndef f():\n    pass\n"""\n')
    assert run.server.sent[-1]["messages"][-1]["content"] == "def f():\n    pass"


def test_the_first_error_ends_it(run: Shell) -> None:
    outcome = run("chat", piped="/nonsense\nnever asked\n")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: there is no command /nonsense\n")
    assert run.server.sent == []


def test_a_violation_is_no_answer(run: Shell) -> None:
    run.server.route(CHAT, answer("Sure! 123"))
    outcome = run("chat", "--guided-regex", "[0-9]{3}", piped="A number\n")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("no answer: only this had come\n| Sure! 123\nerror: the answer does not satisfy")


def test_answers_are_streamed_where_it_is_asked_for(run: Shell) -> None:
    run.server.route(CHAT, streamed("Be", "cause."))
    assert run("chat", "--stream", piped="Why?").out == "Because.\n"
    assert run.server.sent[-1]["stream"] is True


def test_a_saved_conversation_goes_on(run: Shell, tmp_path: Path) -> None:
    path = str(tmp_path / "talk.json")
    run("chat", "-s", "Be brief.", piped=f"I am Ada.\n/save {path}\n")
    outcome = run("chat", "--load", path, piped="Who am I?\n")
    assert "loaded 2 messages" in outcome.err
    assert [message["role"] for message in run.server.sent[-1]["messages"]] == ["system", "user", "assistant", "user"]


def test_a_server_that_is_down_is_said_at_once_with_what_helps(run: Shell) -> None:
    down = ConnectionFailedError("connection refused")
    down.refused = True
    run.server.route(MODELS, down)
    outcome = run("chat", piped="Why?\n")
    assert outcome == Outcome(
        4, "",
        "error: no vllm server answers at http://gpu:8000/v1\nwhy: connection refused\n"
        "try: vllm serve m    (without a GPU: abstractcore demo); "
        "if it still loads its model: wait_until_ready(600), or --wait 600; "
        "without a server: abstractcore chat --local\n",
    )  # fmt: skip


def test_a_model_that_is_not_served_is_said_at_once(run: Shell) -> None:
    outcome = run("chat", "-m", "other", piped="Why?\n")
    assert (outcome.code, outcome.out) == (1, "")
    assert "served here: m" in outcome.err
    assert run.server.sent == []


def several(*names: str) -> Conversation:
    """A conversation with a server that has several models, of which none was named."""
    rows = [{"id": name, "root": name} for name in names]
    llm = VLLMProvider(**FakeServer({MODELS: Reply.json({"data": rows})}).transports)
    return Conversation(llm, {}, stream=True)


def test_a_person_may_choose_among_several_models(capsys: pytest.CaptureFixture[str]) -> None:
    conversation = several("a", "b")
    meet(conversation, Screen(sys.stdout, sys.stderr, live=True, colour=False), live=True)
    assert "/model NAME; served here: a, b" in capsys.readouterr().err
    execute(conversation, Order("model", "b"))
    assert conversation.llm.model == "b"
    with pytest.raises(ModelNotFoundError):
        meet(several("a", "b"), Screen(sys.stdout, sys.stderr, live=False, colour=False), live=False)


def test_a_warning_is_a_remark(run: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(call: object) -> Reply:
        warnings.warn("the backend has no such parameter", UserWarning, stacklevel=1)
        return answer("Because.")

    run.server.route(CHAT, warned)
    warnings.simplefilter("default")
    assert run("chat", piped="Why?\n") == Outcome(0, "Because.\n", "note: the backend has no such parameter\n")
