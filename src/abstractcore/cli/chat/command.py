"""``abstractcore chat``: brings conversation, editor and screen together."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import click

from ...errors import AbstractCoreError, ConfigurationError, ConnectionFailedError, ModelNotFoundError
from ..answering import answer_options, answering
from ..connection import connect, connection
from .commands import execute, load
from .conversation import Conversation, advice
from .inputs import Inputs, known_secrets
from .lines import Order, is_open, read
from .screen import Screen
from .terminal import Editor, quiet

EXAMPLES: Final = """\b
abstractcore chat
abstractcore chat -p ollama -m qwen3 -s "You are brief."
abstractcore chat --local
printf 'Hi, I am Ada.\\nWho am I?\\n' | abstractcore chat

\b
Standard input that is no terminal is read line by line: each line is a prompt or a command, three double quotes go
around one of several lines, the first error ends it. For a whole file as one prompt: abstractcore < file"""

WELCOME: Final = "/help lists the commands. Ctrl-C stops an answer, Ctrl-D leaves."
_LOCAL: Final = "without a server: abstractcore chat --local"


@click.command(epilog=EXAMPLES)
@connection
@click.option("--stream/--no-stream", default=None, help="Show answers while they are generated.  [default: terminal]")
@click.option("--load", "saved", type=click.Path(path_type=Path), metavar="FILE", help="Go on with a saved one.")
@answering
def chat(
    provider: str | None,
    model: str | None,
    base_url: str | None,
    wait: float | None,
    stream: bool | None,
    saved: Path | None,
    **options: Any,
) -> None:
    """Talks with a model.

    What is typed goes to the model, with all that was said before; lines that begin with a slash are commands. Answers
    go to standard output, all else to standard error.
    """
    live = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen(sys.stdout, sys.stderr, live=live, colour=live and _may_colour())
    llm = connect(provider, model, base_url, wait)
    given = {name: value for name, value in answer_options(**options).items() if value is not None}
    conversation = Conversation(llm, given, stream=live if stream is None else stream)
    with closing(conversation), _warnings_said(screen), quiet() if live else nullcontext():
        editor = Editor(conversation, Inputs(secrets=known_secrets())) if live else None
        meet(conversation, screen, live=live)
        if saved is not None:
            screen.say(load(conversation, str(saved)))
        if editor is not None:
            _talk(conversation, screen, editor)
        else:
            _read_through(conversation, screen, sys.stdin)


def _may_colour() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def meet(conversation: Conversation, screen: Screen, *, live: bool) -> None:
    """Finds out who answers; who sits at a terminal may choose among several models."""
    try:
        conversation.meet()
    except ConnectionFailedError as error:
        error.hint = f"{error.hint}; {_LOCAL}" if error.hint else _LOCAL
        raise
    except ModelNotFoundError as error:
        if conversation.llm.model or not (live and error.available):
            raise
        error.hint = advice(error)
        screen.error(error)
    if live:
        screen.say(f"{conversation.introduction()}\n{WELCOME}")


def _talk(conversation: Conversation, screen: Screen, editor: Editor) -> None:
    """The conversation with a person: errors are shown, and it goes on."""
    if editor.trouble:
        screen.say(f"what is typed is not kept: {editor.trouble}")
    for text in _typed(editor, screen):
        try:
            _turn(conversation, screen, text)
        except EOFError:
            return
        except KeyboardInterrupt:
            screen.say("stopped; nothing of it is kept in the conversation\n")
        except AbstractCoreError as error:
            screen.error(error)


def _typed(editor: Editor, screen: Screen) -> Iterator[str]:
    """What is typed, until Ctrl-D, or Ctrl-C twice in a row."""
    leaving = False
    while True:
        try:
            text = editor.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            if leaving:
                return
            leaving = True
            screen.say("Ctrl-C again, or Ctrl-D, leaves")
        else:
            leaving = False
            yield text


def _read_through(conversation: Conversation, screen: Screen, lines: Iterable[str]) -> None:
    """The conversation with a pipe: the first error ends it.

    Raises:
        AbstractCoreError: Of the line that failed.
    """
    for text in whole_lines(lines):
        try:
            _turn(conversation, screen, text)
        except EOFError:
            return


def _turn(conversation: Conversation, screen: Screen, text: str) -> None:
    line = read(text)
    if line is None:
        return
    if isinstance(line, Order):
        screen.say(execute(conversation, line))
    else:
        screen.answer(conversation, line.text)


def whole_lines(lines: Iterable[str]) -> Iterator[str]:
    """Puts the lines together that stand between three quotes.

    Raises:
        ConfigurationError: The quotes are never closed.
    """
    held = ""
    for line in lines:
        held += line
        if not is_open(held):
            yield held
            held = ""
    if held:
        raise ConfigurationError('the text that three quotes began has no end: """ is missing')


@contextmanager
def _warnings_said(screen: Screen) -> Iterator[None]:
    """Warnings, such as of a parameter that a backend lacks, become remarks."""

    def say(message: Warning | str, *_: object, **__: object) -> None:
        screen.say(f"note: {message}")

    with warnings.catch_warnings():
        show: Callable[..., None] = say
        warnings.showwarning = show
        yield
