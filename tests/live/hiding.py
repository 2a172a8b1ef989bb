"""A way to a real server through something that hides what the server says of itself, and may drop fields."""

from __future__ import annotations

import json
from collections.abc import Collection

from msgspec.structs import replace

from abstractcore.transport import Exchange, HttpTransport
from abstractcore.wire.call import Answer, Call, ReadWithin

ABOUT = ("/version", "/openapi.json")


class Page:
    """An answer that no server gave."""

    def __init__(self, status: int) -> None:
        self.answer = Answer(status, {"content-type": "text/html"}, b"<html>nothing here</html>")

    def read(self, within: ReadWithin | None = None) -> bytes:
        return b""

    def close(self) -> None:
        """Nothing is open."""


class Hiding:
    """Passes requests on, but not those for the version and the schema.

    Args:
        status: What it answers to those.
        drops: Fields that it takes out of the bodies.
    """

    def __init__(self, status: int, drops: Collection[str] = ()) -> None:
        self._status = status
        self._drops = drops
        self._way = HttpTransport()
        self.generated = 0

    def open(self, call: Call) -> Exchange:
        if call.url.endswith(ABOUT):
            return Page(self._status)
        if call.body is not None and call.url.endswith("/completions"):
            self.generated += 1
            body = {name: value for name, value in json.loads(call.body).items() if name not in self._drops}
            call = replace(call, body=json.dumps(body).encode())
        return self._way.open(call)

    def close(self) -> None:
        self._way.close()
