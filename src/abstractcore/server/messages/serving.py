"""Answers requests for messages, and for the number of a prompt's tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ..passing import Asked, Backing, Passage, pass_on, read
from ..route import Route
from .answer import counted, settled
from .request import COUNT_PATH, PATH, prepare, prepare_count
from .types import COUNT, COUNT_READER, CREATE, READER
from .watch import MessageWatch

if TYPE_CHECKING:
    from ..asgi import Request
    from ..gateway import Gateway


async def create(gateway: Gateway, request: Request) -> None:
    """Answers with a message."""
    asked = await read(gateway, request, READER)
    await pass_on(gateway, request, asked, partial(_prepare, asked), headers=_headers(request))


async def count(gateway: Gateway, request: Request) -> None:
    """Counts the tokens of a prompt."""
    asked = await read(gateway, request, COUNT_READER)
    await pass_on(gateway, request, asked, partial(_prepare_count, asked), headers=_headers(request))


def _prepare(asked: Asked, backing: Backing) -> Passage:
    body, promise = prepare(asked.fields, backing)
    return Passage(body, partial(settled, promise=promise, backing=backing), MessageWatch(promise, backing), promise)


def _prepare_count(asked: Asked, backing: Backing) -> Passage:
    return Passage(prepare_count(asked.fields, backing), counted)


def _headers(request: Request) -> dict[str, str]:
    """What the client says of the protocol; its key stays here."""
    named = {name: request.header(name.encode()) for name in ("anthropic-version", "anthropic-beta")}
    return {name: value for name, value in named.items() if value}


ROUTES: Final = (
    Route("POST", PATH, create, "Answer with a message.", spec=CREATE),
    Route("POST", COUNT_PATH, count, "Count the tokens of a prompt.", spec=COUNT),
)
