"""From what a batch is given to requests: strings, conversations, or dicts with options of their own. Lazy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct

from ...errors import AbstractCoreError
from ...structured import ResponseModel
from ...tools import read_tools
from ...types import GenerateRequest, Message
from ..request import GUIDED, build_request, check_names

Prompt: TypeAlias = str | Sequence[Message | Mapping[str, Any]] | Mapping[str, Any]
"""A prompt, a conversation, or a dict of ``prompt`` and/or options of ``generate`` that hold for this item only."""

_GROUPS: Final = (frozenset({*GUIDED, "response_model"}), frozenset({"max_output_tokens", "max_tokens"}))
"""Options of which only one can be given: one for an item takes the place of any for the batch."""


class Entry(Struct):
    """One item, ready to be sent; or the error that it can't be."""

    index: int
    request: GenerateRequest | None = None
    error: AbstractCoreError | None = None


def entries(prompts: Iterable[Prompt], shared: Mapping[str, Any]) -> Iterator[Entry]:
    """Turns prompts into entries, one at a time as they are asked for.

    Args:
        prompts: The items.
        shared: Options for all of them.

    Raises:
        TypeError: An item has another type, or an option is unknown; at once if it is one of ``shared``.
        ConfigurationError: The shared options make no sense.
        InvalidConstraintError: The shared constraint does not compile.
    """
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Iterable):
        raise TypeError(
            f"prompts is an iterable of prompts, not {type(prompts).__name__}; put a single one into a list"
        )
    check_names(shared)
    options = dict(shared)
    if options.get("response_model") is not None:  # what takes long to make is made once
        options["response_model"] = ResponseModel(options["response_model"])
    if options.get("tools"):
        options["tools"] = read_tools(options["tools"])
    build_request("?", {name: value for name, value in options.items() if name != "messages"})
    return (_entry(index, prompt, options) for index, prompt in enumerate(prompts))


def _entry(index: int, item: Prompt, shared: Mapping[str, Any]) -> Entry:
    prompt: str | None = None
    options = shared
    if isinstance(item, str):
        prompt = item
    elif isinstance(item, Mapping):
        prompt = item.get("prompt")
        options = _merged(shared, {name: value for name, value in item.items() if name != "prompt"})
    elif isinstance(item, Sequence) and not isinstance(item, bytes):
        options = {**shared, "messages": item}
    else:
        raise TypeError(f"prompt {index} is {type(item).__name__}; it must be a string, messages, or a dict of options")
    try:
        return Entry(index, build_request(prompt, options))
    except AbstractCoreError as error:
        return Entry(index, error=error)
    except TypeError as error:
        raise TypeError(f"prompt {index}: {error}") from error


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    replaced = {name for group in _GROUPS if not group.isdisjoint(own) for name in group}
    return {**{name: value for name, value in shared.items() if name not in replaced}, **own}
