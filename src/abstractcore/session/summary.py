"""Turns the older part of a conversation into a summary, by the model itself. Decides, and asks nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeAlias

from ..errors import ContextLengthError
from ..types import GenerateResponse, Message

Prompts: TypeAlias = Generator[str, str, str]
"""Gives prompts, takes the answers, and ends in the summary."""


def older_than(messages: Sequence[Message], keep: int) -> int:
    """How many messages stand before the last ``keep`` turns; a turn begins with the user and has all calls in it."""
    turns = [index for index, message in enumerate(messages) if message.role == "user"]
    if keep <= 0:
        return len(messages)
    return turns[-keep] if len(turns) >= keep else 0


def summarise(summary: str | None, messages: Sequence[Message]) -> Prompts:
    """The summary of a conversation. A part that is too long for one prompt is summarised in halves, one by one.

    Raises:
        ContextLengthError: A single message is too long.
    """
    try:
        return (yield _prompt(summary, messages)).strip()
    except ContextLengthError:
        if len(messages) < 2:
            raise
    middle = len(messages) // 2
    summary = yield from summarise(summary, messages[:middle])
    return (yield from summarise(summary, messages[middle:]))


def run(steps: Prompts, ask: Callable[[str], GenerateResponse]) -> str:
    """Has a summary written, in this thread."""
    try:
        prompt = next(steps)
        while True:
            try:
                text = ask(prompt).content
            except ContextLengthError as error:
                prompt = steps.throw(error)
            else:
                prompt = steps.send(text)
    except StopIteration as stop:
        return str(stop.value)


async def arun(steps: Prompts, ask: Callable[[str], Awaitable[GenerateResponse]]) -> str:
    """The same on the event loop."""
    try:
        prompt = next(steps)
        while True:
            try:
                text = (await ask(prompt)).content
            except ContextLengthError as error:
                prompt = steps.throw(error)
            else:
                prompt = steps.send(text)
    except StopIteration as stop:
        return str(stop.value)


def _prompt(summary: str | None, messages: Sequence[Message]) -> str:
    talk = "\n".join(f"{message.role}: {_text(message)}" for message in messages)
    before = f"What was said before that:\n{summary}\n\n" if summary else ""
    return (
        "Summarise this conversation in a few sentences, for yourself to continue it. Keep names, numbers, decisions"
        f" and open questions.\n\n{before}The conversation:\n{talk}\n\nSummary:"
    )


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        text = message.content
    else:
        text = " ".join(
            part["text"] if part.get("type") == "text" else f"[{part.get('type')}]" for part in message.content
        )
    calls = " ".join(f"[calls {call.name}({call.arguments})]" for call in message.tool_calls or ())
    return f"{text} {calls}".strip()
