"""The line editor, by prompt_toolkit, which is loaded when a person sits at the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ...capability import Capability, Support
from ...errors import AbstractCoreError
from .commands import ALIASES, COMMANDS
from .completion import Source, complete, files
from .lines import is_open
from .status import status_line

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.key_binding import KeyBindings

    from ...types import ModelInfo
    from .conversation import Conversation
    from .inputs import Inputs

_MARK: Final = "> "
_FRESH: Final = 5.0
"""Seconds for which the names of models and adapters are offered without asking again."""
_PATIENCE: Final = 2.0
"""Seconds that Tab may take to ask for them."""


class Editor:
    """Reads what a person types.

    Args:
        conversation: What the status line and Tab tell of.
        inputs: What was typed before.
    """

    def __init__(self, conversation: Conversation, inputs: Inputs) -> None:
        self._conversation = conversation
        self._inputs = inputs
        self._names = Names(conversation)
        self.trouble: str | None = None
        """Why what is typed is not kept, if so."""
        self._prompt = self._make()

    def read(self) -> str:
        """The next line, which may have several lines in it.

        Raises:
            EOFError: Ctrl-D on an empty line.
            KeyboardInterrupt: Ctrl-C on an empty line.
        """
        text = self._prompt.prompt()
        try:
            self._inputs.add(text)
        except OSError as error:
            self.trouble = str(error)
        return text

    def _make(self) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory

        try:
            before = self._inputs.lines()
        except OSError as error:
            before, self.trouble = [], str(error)
        return PromptSession(
            _MARK,
            multiline=True,
            prompt_continuation="  ",
            key_bindings=_keys(),
            completer=completer_of(self._names),
            complete_in_thread=True,
            complete_while_typing=False,
            bottom_toolbar=self._status,
            history=InMemoryHistory(before),
        )

    def _status(self) -> str:
        from prompt_toolkit.application import get_app

        return status_line(self._conversation.status(), get_app().output.get_size().columns)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps keys that are typed while an answer comes from being mixed into it; they are read afterwards, as typed.

    Ctrl-C goes on to interrupt.
    """
    try:
        import termios
    except ImportError:  # Windows has no such thing
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    now = termios.tcgetattr(descriptor)
    now[0] &= ~termios.ICRNL  # Enter stays Enter, which sends; a line feed would only begin a new line
    now[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, now)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Names:
    """Finds what Tab offers.

    Args:
        conversation: Who is asked for models and adapters.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._rows: list[ModelInfo] = []
        self._at = -_FRESH

    def __call__(self, source: Source, begun: str) -> Iterable[str]:
        """The names of a source."""
        if source is Source.COMMANDS:
            return list(COMMANDS)
        if source is Source.FILES:
            return files(begun)
        rows = self._models()
        if source is Source.ADAPTERS:
            has_them = self._conversation.llm.capabilities()[Capability.MULTI_LORA] is not Support.UNSUPPORTED
            return [row.id for row in rows if row.parent is not None] if has_them else []
        return [row.id for row in rows]

    def _models(self) -> list[ModelInfo]:
        if time.monotonic() - self._at >= _FRESH:
            try:
                self._rows = self._conversation.llm.list_models(timeout=_PATIENCE)
            except AbstractCoreError:  # Tab has nothing to offer; the next command says why
                self._rows = []
            self._at = time.monotonic()
        return self._rows


def _keys() -> KeyBindings:
    """Enter sends, unless three quotes are open; Alt-Enter and Ctrl-J begin a new line; Ctrl-C drops what was typed."""
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _(event: Any) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _(event: Any) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    return keys


def completer_of(names: Names) -> Completer:
    """What prompt_toolkit asks for offers."""
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.document import Document

    commands = {name: row.arguments for name, row in COMMANDS.items()}
    known = {**commands, **{name: commands[of] for name, of in ALIASES.items()}}

    class Offers(Completer):
        def get_completions(self, document: Document, complete_event: object) -> Iterator[Completion]:
            text = document.text_before_cursor
            for offer in complete(text, known if " " in text else commands, names):
                yield Completion(offer.text, -offer.replaced)

    return Offers()
