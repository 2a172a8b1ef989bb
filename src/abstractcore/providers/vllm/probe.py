"""What a server that hides its version and its schema obeys: one token shows it, before anything real is generated.

Both spellings of a constraint together are obeyed by every vLLM. A gateway may refuse fields that it doesn't know, or
drop them; a server that only resembles vLLM ignores them. So the server is asked for one token that is bound to be a
tilde, first in both spellings, then, where that is refused, in each alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec.structs import replace

from ...errors import ProviderError
from ...wire.call import Answer, Plan
from ...wire.openai import read_completion
from ..endpoint import Endpoint, send
from . import server
from .dialect import Dialect, Spelling, Surface

Reading: TypeAlias = Literal["bound", "ignored", "refused", "unclear"]

_TOKEN: Final = "~"  # noqa: S105 - no secret, but what the model would not say by itself
_SPELLED: Final[Mapping[Spelling, Mapping[str, Any]]] = {
    "both": {"structured_outputs": {"choice": [_TOKEN]}, "guided_choice": [_TOKEN]},
    "structured_outputs": {"structured_outputs": {"choice": [_TOKEN]}},
    "guided": {"guided_choice": [_TOKEN]},
}


def settle(endpoint: Endpoint, dialect: Dialect, surface: Surface, model: str) -> Plan[Dialect]:
    """Finds out which spelling binds, if the server hides what it understands; remembered for this server and model."""
    if dialect.basis != "unknown":
        return dialect
    remembered = server.bound_by(endpoint)
    if model not in remembered:
        found = yield from _ask(endpoint, surface, model)
        if found == "unclear":
            return dialect
        remembered[model] = found
    return replace(dialect, assumed=remembered[model], probed=True)


def _ask(endpoint: Endpoint, surface: Surface, model: str) -> Plan[Spelling | Literal["unclear"] | None]:
    was_ignored = False
    for spelling in _SPELLED:
        try:
            answer = yield from send(
                endpoint, endpoint.post(_url(endpoint, surface), body_of(spelling, surface, model))
            )
        except ProviderError:
            return "unclear"
        reading = read(answer)
        if reading == "bound":
            return spelling
        if reading == "ignored" and spelling == "both":
            return None
        if reading == "unclear":
            return "unclear"
        was_ignored |= reading == "ignored"
    return None if was_ignored else "unclear"


def body_of(spelling: Spelling, surface: Surface, model: str) -> dict[str, Any]:
    """The request that asks for the token."""
    question = {"prompt": "Hello"} if surface == "completions" else {"messages": [{"role": "user", "content": "Hello"}]}
    return {"model": model, **question, "max_tokens": 1, "temperature": 0, **_SPELLED[spelling]}


def read(answer: Answer) -> Reading:
    """What an answer says of the spelling in which it was asked for."""
    if answer.status in (400, 422):
        return "refused"
    try:
        [choice] = read_completion(answer.body).answers
    except (ValueError, RecursionError):
        return "unclear"
    if not choice.content:
        return "unclear"  # such as a reasoning model, which thinks first
    return "bound" if choice.content == _TOKEN else "ignored"


def _url(endpoint: Endpoint, surface: Surface) -> str:
    return endpoint.base_url + ("/completions" if surface == "completions" else "/chat/completions")
