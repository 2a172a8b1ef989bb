"""``/guided``: what the next answers are held to."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...capability import Capability, Support
from ...errors import ConfigurationError, InvalidConstraintError
from .conversation import GUIDED

if TYPE_CHECKING:
    from .conversation import Conversation

KINDS: Final = ("json", "regex", "choice", "grammar")
USAGE: Final = "/guided json FILE-or-schema | regex PATTERN | choice A B 'C D' | grammar FILE-or-text | off"


def guided(conversation: Conversation, argument: str) -> str:
    """Holds the next answers to a constraint; says what it is."""
    kind, _, text = argument.partition(" ")
    if not argument:
        return _current(conversation)
    if kind == "off":
        conversation.hold_to(None)
        return "answers are free again"
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, [*KINDS, "off"], 1)
        raise ConfigurationError(
            f"there is no constraint of the kind {kind!r}", hint=f"did you mean /guided {near[0]}?" if near else USAGE
        )
    value = read_constraint(kind, text.strip())
    _check(conversation, kind, value)
    conversation.hold_to(kind, value)
    return f"the next answers are held to this {kind}, and proved"


def read_constraint(kind: str, text: str) -> Any:
    """The value of a constraint, from what was typed or from the file that it names.

    Raises:
        ConfigurationError: There is none, or the file can't be read.
        InvalidConstraintError: It is no JSON.
    """
    if not text:
        raise ConfigurationError(f"/guided {kind} needs what to hold the answers to", hint=USAGE)
    if kind == "choice":
        return _options(text)
    if kind == "json":
        return _schema(text)
    if kind == "grammar" and "::=" not in text and "start:" not in text:
        return _read(text)
    return text


def _options(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(
            f"the options can't be read: {error}", hint='/guided choice yes no "I don\'t know"'
        ) from error


def _schema(text: str) -> Any:
    inline = text.startswith(("{", "[", '"')) or text in ("true", "false")
    try:
        return msgspec.json.decode(text if inline else _read(text))
    except msgspec.DecodeError as error:
        what = "what was typed" if inline else text
        raise InvalidConstraintError(
            f"{what} is no JSON", why=str(error), hint='/guided json {"type": "array", "items": {"type": "string"}}'
        ) from error


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path!r} can't be read", why=str(error), hint=USAGE) from error


def _check(conversation: Conversation, kind: str, value: Any) -> None:
    """Compiles the constraint, and asks whether this backend can keep to it: both are better known now than later."""
    from ...providers.promises import refusal
    from ...providers.request import GUIDED as CLASSES

    capability = Capability(GUIDED[kind])
    if conversation.llm.capabilities()[capability] is Support.UNSUPPORTED:
        raise refusal(conversation.llm.provider, capability)
    CLASSES[GUIDED[kind]](value).check()


def _current(conversation: Conversation) -> str:
    kind = conversation.constraint
    if kind is None:
        return f"answers are free\n{USAGE}"
    value = conversation.options[GUIDED[kind]]
    return f"{kind}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
