"""The commands of the conversation: a table, and what each one does. No terminal here."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ...errors import ConfigurationError, ProviderError, SessionError, UnsupportedFeatureError
from . import asked, constraints
from .completion import ANY, Arguments, Source
from .conversation import ADAPTER
from .lines import Order

if TYPE_CHECKING:
    from .conversation import Conversation


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Args:
        usage: How it is written, without the slash and its name.
        summary: What it does, for the list.
        run: Does it, and says what was done.
        arguments: What Tab offers behind it.
    """

    usage: str
    summary: str
    run: Callable[[Conversation, str], str]
    arguments: Arguments = field(default_factory=dict)

    def usage_of(self, name: str) -> str:
        """How it is written."""
        return f"/{name} {self.usage}".rstrip()


def execute(conversation: Conversation, order: Order) -> str:
    """Does what a command says; gives what there is to say about it.

    Raises:
        ConfigurationError: There is no such command, or it can't be read.
        AbstractCoreError: What it asked for failed.
        EOFError: It ends the conversation.
    """
    return COMMANDS[_known(order.name)].run(conversation, order.argument)


def _known(name: str) -> str:
    """The command of this name.

    Raises:
        ConfigurationError: There is none.
    """
    found = ALIASES.get(name, name)
    if found not in COMMANDS:
        near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], 1, 0.5)
        hint = f"/{near[0]}" if near else "/help"
        raise ConfigurationError(
            f"there is no command /{name}", hint=f"{hint}   (a space in front sends the line to the model)"
        )
    return found


# --- how answers are made --------------------------------------------------------------------------------------------


def stream(conversation: Conversation, argument: str) -> str:
    """Shows answers while they are generated, or when they are whole."""
    if argument not in ("", "on", "off"):
        raise ConfigurationError(f"/stream takes on or off, not {argument!r}", hint="/stream on")
    conversation.stream = not conversation.stream if argument == "" else argument == "on"
    return f"answers are shown {'as they are generated' if conversation.stream else 'when they are whole'}"


def temp(conversation: Conversation, argument: str) -> str:
    """Shows or sets the temperature."""
    if argument:
        conversation.set("temperature", _temperature(argument))
    value = conversation.options.get("temperature")
    return "temperature: the server's own" if value is None else f"temperature: {value:g}"


def _temperature(text: str) -> float | None:
    if text == "off":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigurationError(f"{text!r} is no temperature", hint="/temp 0.7, or /temp off for the server's own")
    return value


def tokens(conversation: Conversation, argument: str) -> str:
    """Shows or sets how long an answer may get."""
    if argument:
        if argument != "off" and not (argument.isdecimal() and int(argument)):
            raise ConfigurationError(f"{argument!r} is no number of tokens", hint="/tokens 200, or /tokens off")
        conversation.set("max_tokens", None)  # the other name of the same limit
        conversation.set("max_output_tokens", None if argument == "off" else int(argument))
    value = conversation.options.get("max_output_tokens", conversation.options.get("max_tokens"))
    return "tokens of an answer: as the context holds" if value is None else f"tokens of an answer: at most {value}"


def system(conversation: Conversation, argument: str) -> str:
    """Shows, sets or drops the system prompt."""
    if argument:
        conversation.session.system_prompt = None if argument == "off" else argument
    prompt = conversation.session.system_prompt
    return f"system prompt: {prompt}" if prompt else "no system prompt"


# --- what was said ---------------------------------------------------------------------------------------------------


def history(conversation: Conversation) -> str:
    """Shows what was said."""
    session = conversation.session
    lines = [f"system: {session.system_prompt}"] if session.system_prompt else []
    lines += [f"summary: {session.summary}"] if session.summary else []
    lines += [f"{message.role}: {_shown(message.content)}" for message in session.get_messages()]
    return "\n".join(lines) or "nothing was said yet"


def clear(conversation: Conversation) -> str:
    """Forgets what was said."""
    return f"forgot {conversation.forget()} messages; system prompt and settings stay"


def compact(conversation: Conversation) -> str:
    """Has the model sum up the older messages."""
    count = conversation.session.compact()
    return f"a summary took the place of {count} messages" if count else "there are no older messages to sum up"


def save(conversation: Conversation, argument: str) -> str:
    """Writes the conversation to a file."""
    from ...session import archive

    path = _path(argument, "save")
    if path.exists():
        try:
            archive.load(path)
        except SessionError as error:
            raise ConfigurationError(
                f"{argument!r} is there, and is no saved conversation: it is left as it is",
                why=error.why,
                hint="/save with another name",
            ) from error
    conversation.session.save(path)
    return f"saved {len(conversation.session)} messages to {path}"


def load(conversation: Conversation, argument: str) -> str:
    """Goes on with a saved conversation and its settings; who is asked stays."""
    from ...session import Session, archive

    path = _path(argument, "load")
    head = archive.load(path).session
    conversation.resume(Session.load(path, conversation.llm, tools=[]))
    notes = [f"loaded {len(conversation.session)} messages from {path}"]
    if head.model != conversation.llm.model:
        notes.append(f"they were said with {head.provider}/{head.model}; from here on {conversation.llm.model} answers")
    name = conversation.adapter
    if name is not None:
        try:
            asked.use(conversation, name)
        except (ProviderError, UnsupportedFeatureError) as error:
            conversation.set(ADAPTER, None)
            notes.append(f"{error.message}, so {conversation.llm.model} answers itself")
    return "\n".join(notes)


def _path(argument: str, command: str) -> Path:
    if not argument:
        raise ConfigurationError(f"/{command} needs the name of a file", hint=f"/{command} talk.json")
    return Path(argument).expanduser()


# --- the rest --------------------------------------------------------------------------------------------------------


def settings(conversation: Conversation) -> str:
    """Shows all that is set."""
    rows = {
        "provider": conversation.where(),
        "model": conversation.llm.model or "none yet: /model NAME",
        "adapter": conversation.adapter or "none",
        "context": f"{conversation.context_length} tokens" if conversation.context_length else "unknown",
        "stream": "on" if conversation.stream else "off",
        "system": conversation.session.system_prompt or "none",
        **{name: _shown(value) for name, value in conversation.options.items() if name != ADAPTER},
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _shown(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def help_(_: Conversation, argument: str) -> str:
    """Lists the commands, or explains one."""
    if argument:
        name = _known(argument.removeprefix("/"))
        return f"{COMMANDS[name].usage_of(name)}\n  {COMMANDS[name].summary}"
    lines = []
    for name, row in COMMANDS.items():
        usage = row.usage_of(name)
        lines += (
            [usage, f"{'':<{_COLUMN}}{row.summary}"]
            if len(usage) > _COLUMN - 2
            else [f"{usage:<{_COLUMN}}{row.summary}"]
        )
    return "\n".join([*lines, "", KEYS])


def leave(_: Conversation) -> str:
    """Ends the conversation."""
    raise EOFError


def alone(run: Callable[[Conversation], str]) -> Callable[[Conversation, str], str]:
    """A command that takes nothing; what stands behind it all the same is refused."""

    def checked(conversation: Conversation, argument: str) -> str:
        if argument:
            raise ConfigurationError(f"the command takes nothing, and got {argument!r}", hint="/help")
        return run(conversation)

    return checked


_COLUMN: Final = 25
"""Where the summaries begin; a longer usage gets a line of its own."""
KEYS: Final = """\
Alt-Enter or Ctrl-J begins a new line; so does Enter between \"\"\" and \"\"\".
Tab completes; the arrow keys bring back what was typed before.
A line that begins with a space is no command, and is not kept for later.
Ctrl-C stops an answer. Ctrl-C twice on an empty line, or Ctrl-D, leaves."""
_SWITCH: Final[Arguments] = {(): ("on", "off")}
_OFF: Final[Arguments] = {(): ("off",)}
_FILE: Final[Arguments] = {(): Source.FILES}

COMMANDS: Final[Mapping[str, Command]] = {
    "model": Command("[NAME]", "List the models, or go on with another one.", asked.model, {(): Source.MODELS}),
    "adapter": Command(
        asked.ADAPTER_USAGE.partition(" ")[2],
        "LoRA adapters; PATH is the server's.",
        asked.adapter,
        {
            (): ("list", "use", "off", "load", "unload"),
            ("use",): Source.ADAPTERS,
            ("unload",): Source.ADAPTERS,
            ("load", ANY): Source.FILES,
        },
    ),
    "guided": Command(
        constraints.USAGE.partition(" ")[2],
        "Hold answers to a constraint, and prove them.",
        constraints.guided,
        {
            (): (*constraints.KINDS, "off"),
            ("json",): Source.FILES,
            ("grammar",): Source.FILES,
            ("regex",): (),
            ("choice",): (),
        },
    ),
    "system": Command("[TEXT | off]", "Show, set or drop the system prompt.", system, _OFF),
    "temp": Command("[NUMBER | off]", "Show or set the temperature.", temp, _OFF),
    "tokens": Command("[NUMBER | off]", "Show or set how long an answer may get.", tokens, _OFF),
    "stream": Command("[on | off]", "Show answers while they are generated, or not.", stream, _SWITCH),
    "history": Command("", "Show what was said.", alone(history)),
    "clear": Command("", "Forget what was said.", alone(clear)),
    "compact": Command("", "Have the older messages summed up.", alone(compact)),
    "save": Command("FILE", "Write the conversation to a file.", save, _FILE),
    "load": Command("FILE", "Go on with a saved conversation.", load, _FILE),
    "settings": Command("", "Show all that is set.", alone(settings)),
    "help": Command("[COMMAND]", "This list.", help_, {(): Source.COMMANDS}),
    "quit": Command("", "Leave.", alone(leave)),
}
ALIASES: Final[Mapping[str, str]] = {
    "?": "help",
    "adapters": "adapter",
    "bye": "quit",
    "exit": "quit",
    "max": "tokens",
    "models": "model",
    "q": "quit",
    "temperature": "temp",
}
"""Other names that people try."""
