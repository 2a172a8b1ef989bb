"""Answers requests for responses, and for those that the backend keeps."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from ...errors import ModelNotFoundError, ProviderError
from ...wire.call import Timeouts
from ..errors import GatewayError
from ..passing import Asked, Backing, Passage, pass_on, read
from ..promise import decoded
from ..route import Route
from .answer import read as read_response
from .answer import settled
from .request import PATH, prepare
from .types import CREATE, READER, STORED
from .watch import ResponseWatch

if TYPE_CHECKING:
    from ...providers.endpoint import Endpoint
    from ..asgi import Request
    from ..gateway import Gateway

_BELOW: Final = re.compile(rf"{PATH}/([\w.:-]{{1,256}})(/cancel|/input_items)?", re.ASCII)
_KEEPS: Final = "vLLM keeps responses only where it runs with VLLM_ENABLE_RESPONSES_API_STORE=1"
LOOKING_SECONDS: Final = 5.0


async def create(gateway: Gateway, request: Request) -> None:
    """Answers with a response."""
    asked = await read(gateway, request, READER)
    await pass_on(gateway, request, asked, partial(_prepare, asked))


def _prepare(asked: Asked, backing: Backing) -> Passage:
    body, promise = prepare(asked.fields, backing)
    settle = partial(settled, promise=promise, backing=backing, pending=bool(decoded(asked.fields, "background", bool)))
    return Passage(body, settle, ResponseWatch(settle), promise)


async def stored(gateway: Gateway, request: Request) -> None:
    """A response that a backend keeps: shown, cancelled or deleted there."""
    found = _BELOW.fullmatch(request.path)
    if found is None or (found[2] == "/cancel") is not (request.method == "POST"):
        raise GatewayError(f"there is nothing at {request.method} {request.path}", status=404, code="not_found")
    if b"stream=true" in request.query:
        raise GatewayError(
            "responses that are kept are not streamed here",
            status=501,
            code="unsupported_feature",
            param="stream",
            hint="leave stream out",
        )
    endpoint = await _home(gateway, request, found[1])
    query = f"?{request.query.decode('latin-1')}" if request.query else ""
    path = request.path + query
    body = b"" if request.method == "POST" else None
    try:
        await gateway.relay.answer(request, endpoint, path, body, lambda data: data, method=request.method)
    except ProviderError as error:
        if error.status not in (405, 501):
            raise
        raise GatewayError(
            f"{endpoint.provider} does not take {request.method} {request.path}",
            status=501,
            code="unsupported_feature",
            why=f"it answers {error.status}",
        ) from error


async def _home(gateway: Gateway, request: Request, response: str) -> Endpoint:
    """The server that keeps a response: all are asked, since a name says nothing of its place.

    Raises:
        GatewayError: None does, or not for this key.
    """
    replicas = [(backend, replica) for backend in gateway.backends.values() for replica in backend.replicas]
    places = [(backend, endpoint) for backend, each in replicas for endpoint in each.provider.endpoints_at(PATH)]
    models = await asyncio.gather(*(_model_of(gateway, endpoint, response) for _, endpoint in places))
    for (backend, endpoint), model in zip(places, models, strict=True):
        if model is None:
            continue
        try:
            await gateway.resolve(request, f"{backend.name}/{model}")
        except ModelNotFoundError:
            break  # for others only: to this key it is not there
        return endpoint
    raise GatewayError(f"no backend keeps a response {response!r}", status=404, code="not_found", hint=_KEEPS)


async def _model_of(gateway: Gateway, endpoint: Endpoint, response: str) -> str | None:
    """The model of a kept response; ``None`` if it is not kept there."""
    limits = Timeouts(connect=LOOKING_SECONDS, first_byte=LOOKING_SECONDS, idle=LOOKING_SECONDS, total=LOOKING_SECONDS)
    try:
        body = await gateway.relay.fetch(endpoint, f"{PATH}/{response}", limits)
        return read_response(body).model or ""
    except ProviderError:
        return None


_KEPT: Final = f"{PATH}/*"
ROUTES: Final = (
    Route("POST", PATH, create, "Answer with a response.", spec=CREATE),
    Route("GET", _KEPT, stored, "Show a response that a backend keeps.", spec=STORED),
    Route("POST", _KEPT, stored, "Cancel a response in the background.", spec=STORED),
    Route("DELETE", _KEPT, stored, "Delete a response that a backend keeps.", spec=STORED),
)
