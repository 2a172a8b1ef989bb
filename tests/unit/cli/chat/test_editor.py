"""The keys, by prompt_toolkit's own pipe in the place of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from abstractcore import VLLMProvider
from abstractcore.cli.chat.conversation import Conversation
from abstractcore.cli.chat.inputs import Inputs
from abstractcore.cli.chat.terminal import Editor, Names, completer_of
from abstractcore.testing import EchoProvider, FakeServer, Reply

ALT_ENTER = "\x1b\r"
CTRL_C, CTRL_D, CTRL_J = "\x03", "\x04", "\n"
UP = "\x1b[A"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    """Where keys are pressed."""
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe


@pytest.fixture
def editor(keys: PipeInput, tmp_path: Path) -> Editor:
    return Editor(Conversation(EchoProvider(), {}, stream=True), Inputs(tmp_path / "inputs"))


@pytest.mark.parametrize(
    ("pressed", "line"),
    [
        ("hello\r", "hello"),
        (f"one{ALT_ENTER}two\r", "one\ntwo"),
        (f"one{CTRL_J}two\r", "one\ntwo"),
        ('"""\rone\rtwo\r"""\r', '"""\none\ntwo\n"""'),
        ("\x1b[200~one\r\n\ttwo\nthree\x1b[201~\r", "one\n\ttwo\nthree"),
        (f"dropped{CTRL_C}kept\r", "kept"),
    ],
    ids=["enter", "alt-enter", "ctrl-j", "quotes", "paste", "ctrl-c"],
)
def test_keys_make_lines(editor: Editor, keys: PipeInput, pressed: str, line: str) -> None:
    keys.send_text(pressed)
    assert editor.read() == line


def offered(names: Names, line: str) -> list[str]:
    completer = completer_of(names)
    return [found.text for found in completer.get_completions(Document(line), CompleteEvent())]


def test_tab_offers_commands_and_what_the_server_has() -> None:
    llm = EchoProvider()
    names = Names(Conversation(llm, {}, stream=True))
    assert offered(names, "/he") == ["/help "]
    assert offered(names, "/models e") == offered(names, "/model e") == ["echo"]
    assert offered(names, "/adapter use e") == []
    llm.model = "another"
    assert offered(names, "/model ") == ["echo"]  # asked a moment ago


def test_tab_offers_nothing_where_nobody_answers() -> None:
    llm = VLLMProvider("m", **FakeServer({"GET /v1/models": Reply.json({}, 401)}).transports)
    assert offered(Names(Conversation(llm, {}, stream=True)), "/model ") == []


def test_on_an_empty_line_they_leave(editor: Editor, keys: PipeInput) -> None:
    keys.send_text(CTRL_C)
    with pytest.raises(KeyboardInterrupt):
        editor.read()
    keys.send_text(CTRL_D)
    with pytest.raises(EOFError):
        editor.read()


def test_the_arrow_brings_back_what_was_typed_in_an_earlier_conversation(
    editor: Editor, keys: PipeInput, tmp_path: Path
) -> None:
    keys.send_text(f"one{ALT_ENTER}two\r")
    editor.read()
    later = Editor(Conversation(EchoProvider(), {}, stream=True), Inputs(tmp_path / "inputs"))
    keys.send_text(f"{UP}\r")
    assert later.read() == "one\ntwo"


def test_a_folder_that_can_not_be_written_is_said_and_no_hindrance(keys: PipeInput, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    editor = Editor(Conversation(EchoProvider(), {}, stream=True), Inputs(tmp_path / "file" / "inputs"))
    keys.send_text("hello\r")
    assert editor.read() == "hello"
    assert "file" in (editor.trouble or "")
