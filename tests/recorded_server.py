"""A recorded release as a server: it answers what it answered then, and nothing that it was not asked then."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from abstractcore.testing import FakeServer, Reply
from abstractcore.wire.call import Call
from tests.recordings import Recording, openapi, probe_names, recorded

MODEL: Final = "smollm2"
ASKED: Final[dict[str, Any]] = {
    "prompt": "Give me a number.", "model": MODEL, "temperature": 0, "seed": 1, "max_output_tokens": 16,
}  # fmt: skip
"""What most recorded chats have in common, as options of ``generate``."""
COMPLETED: Final[dict[str, Any]] = {**ASKED, "prompt": "Give me a number: ", "raw_prompt": True}
"""The same for text completions."""
ABOUT: Final = ("GET /version", "GET /openapi.json", "GET /v1/models")


class NeverAskedError(AssertionError):
    """The release was not asked this when it was recorded."""


def replaying(version: str, *, hidden: Collection[str] = ()) -> FakeServer:
    """A server of this release.

    Args:
        version: A recorded release.
        hidden: Routes that a proxy in front of it doesn't pass on.
    """
    routes: dict[str, Any] = {
        "GET /version": reply(recorded(version, "GET /version")),
        "GET /openapi.json": Reply.json(openapi(version)),
        "GET /v1/models": reply(recorded(version, "GET /v1/models")),
    }
    server = FakeServer({name: route for name, route in routes.items() if name not in hidden})
    for path in ("/v1/chat/completions", "/v1/completions"):
        server.route(f"POST {path}", lambda call: reply(exchange_of(version, call)))
    return server


def reply(found: Recording) -> Reply:
    """A recorded answer."""
    return Reply((found.body,), found.status, found.headers)


def exchange_of(version: str, call: Call) -> Recording:
    """The recorded exchange whose request says the same as this one.

    Raises:
        NeverAskedError: There is none.
    """
    body = json.loads(call.body or b"null")
    found = _exchanges(version).get(_meaning(urlsplit(call.url).path, body))
    if found is None:
        raise NeverAskedError(f"vLLM {version} was never asked {body}")
    return recorded(version, found)


@cache
def _exchanges(version: str) -> dict[str, str]:
    """The recorded generations by what they ask for; the name of the probe that did."""
    found: dict[str, str] = {}
    for probe in probe_names(version):
        request = recorded(version, probe).request
        if request.path in ("/v1/chat/completions", "/v1/completions"):
            try:
                found.setdefault(_meaning(request.path, request.json()), probe)
            except ValueError:
                continue  # the probe sends broken JSON
    return found


def _meaning(path: str, body: Any) -> str:
    """A request without what changes nothing: one limit under two names, and the name of a schema."""
    if isinstance(body, dict):
        body = dict(body)
        if "max_completion_tokens" in body:
            body.setdefault("max_tokens", body.pop("max_completion_tokens"))
        wanted = body.get("response_format")
        if isinstance(wanted, dict) and isinstance(wanted.get("json_schema"), dict):
            body["response_format"] = {**wanted, "json_schema": wanted["json_schema"].get("schema")}
    return path + json.dumps(body, sort_keys=True)
