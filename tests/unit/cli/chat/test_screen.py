"""What is shown of an answer, and of what is none."""

from __future__ import annotations

import io

import pytest

from abstractcore.cli.chat.conversation import Conversation
from abstractcore.cli.chat.screen import Screen
from abstractcore.cli.visible import visible
from abstractcore.errors import AbstractCoreError, StreamInterruptedError, TruncatedOutputError
from abstractcore.testing import EchoProvider
from abstractcore.types import GenerateResponse


class Shown:
    """A screen and what is on it."""

    def __init__(self, *, live: bool = True, colour: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.screen = Screen(self.out, self.err, live=live, colour=colour)

    def ask(self, llm: EchoProvider, *, stream: bool = True, **options: object) -> tuple[str, str]:
        self.screen.answer(Conversation(llm, options, stream=stream), "Well?")
        return self.out.getvalue(), self.err.getvalue()


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_goes_to_the_one_place_its_proof_to_the_other(stream: bool) -> None:
    out, err = Shown(live=False).ask(EchoProvider(answers="1234"), stream=stream, guided_regex="[0-9]{4}")
    assert out == "1234\n"
    assert err == "proved: regex by llguidance, sent as echo\n"


def test_reasoning_is_dim_and_told_apart_without_colours() -> None:
    thought = GenerateResponse(reasoning="Hm.", content="Yes.")
    out, _ = Shown(colour=True).ask(EchoProvider(answers=thought))
    assert "\x1b[2mHm.\x1b[0m\n\nYes.\n" in out
    out, _ = Shown().ask(EchoProvider(answers=thought))
    assert out == "reasoning: Hm.\n\nanswer: Yes.\n"
    out, _ = Shown(live=False).ask(EchoProvider(answers=thought))
    assert out == "Yes.\n"


def test_a_stream_that_breaks_is_marked_as_no_answer() -> None:
    broken = StreamInterruptedError("the server went away")
    broken.partial = "The capital is"
    shown = Shown()
    with pytest.raises(StreamInterruptedError):
        shown.ask(EchoProvider(answers=broken))
    assert shown.out.getvalue() == "The capital is\n"
    assert shown.err.getvalue() == "no answer: the text above is only what had come\n"


def test_a_partial_text_that_was_not_shown_is_quoted_and_the_advice_is_for_here() -> None:
    shown = Shown()
    with pytest.raises(TruncatedOutputError) as caught:
        shown.ask(
            EchoProvider(answers="one two three"), stream=False, guided_regex="one two three", max_output_tokens=2
        )
    assert shown.out.getvalue() == ""
    assert shown.err.getvalue() == "no answer: only this had come\n| one two\n"
    assert caught.value.hint
    assert caught.value.hint.startswith("/tokens")


def test_an_answer_that_was_cut_or_is_empty_says_so() -> None:
    _, err = Shown().ask(EchoProvider(answers="one two three"), max_output_tokens=2)
    assert "the limit of tokens was reached" in err
    _, err = Shown().ask(EchoProvider(answers=""))
    assert "the answer is empty" in err


def test_a_model_can_not_steer_the_terminal() -> None:
    out, _ = Shown().ask(EchoProvider(answers="a\x1b]0;title\x07b\x9b2J\r\nc\td"))
    assert out == "a\N{SYMBOL FOR ESCAPE}]0;title\N{SYMBOL FOR BELL}b\ufffd2J\nc\td\n"
    assert visible("\x7f\ud800") == "\N{SYMBOL FOR DELETE}\ufffd"


def test_a_pipe_gets_the_text_as_it_is() -> None:
    out, _ = Shown(live=False).ask(EchoProvider(answers="a\x1b[1mb"))
    assert out == "a\x1b[1mb\n"


def test_an_error_has_its_three_parts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    Shown().screen.error(AbstractCoreError("it failed", why="measured \x1b[1m", hint="this"))
    assert capsys.readouterr().err == "error: it failed\nwhy: measured \N{SYMBOL FOR ESCAPE}[1m\ntry: this\n"
