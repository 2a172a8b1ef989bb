"""A server of a recorded release: its own description, and recorded answers to what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from abstractcore.providers import VLLMProvider
from abstractcore.wire.call import Answer, Call, ReadWithin

from .recordings import openapi, recorded, recorded_pooling

MODEL: Final = "smollm2"
"""The name under which the recorded servers serve their model."""


class Replay:
    """Stands in for the network.

    Args:
        version: The recorded release.
        probes: Which probe's answer a path gives; what is not listed answers 404.
        hidden: Whether a proxy hides what the server says of itself.
    """

    def __init__(self, version: str, probes: Mapping[str, str] | None = None, *, hidden: bool = False) -> None:
        self.version = version
        self.hidden = hidden
        own = {"/v1/models": "GET /v1/models", "/version": "GET /version", "/openapi.json": "GET /openapi.json"}
        self.probes = own | dict(probes or {})
        self.sent: list[tuple[str, Any]] = []
        """Path and JSON body of what was posted."""

    @property
    def body(self) -> Any:
        """The last body that was posted."""
        return self.sent[-1][1]

    def provider(self, **defaults: Any) -> VLLMProvider:
        """A provider that talks to it."""
        host = "hidden" if self.hidden else type(self).__name__.lower()
        return VLLMProvider(MODEL, base_url=f"http://{host}-{self.version}.test", transport=self, **defaults)

    def open(self, call: Call) -> Replayed:
        path = urlsplit(call.url).path
        if call.body is not None:
            self.sent.append((path, msgspec.json.decode(call.body)))
        known = path in self.probes and not (self.hidden and path in ("/version", "/openapi.json"))
        if not known:
            return Replayed(Answer(404, {}, b'{"detail":"Not Found"}'), call)
        return Replayed(self.answer(path), call)

    def answer(self, path: str) -> Answer:
        """What the recorded server answered."""
        if path == "/openapi.json":
            return Answer(200, {}, msgspec.json.encode(openapi(self.version)))
        found = recorded(self.version, self.probes[path])
        return Answer(found.status, found.headers, found.body)

    def close(self) -> None:
        """Nothing is open."""


class PoolingReplay(Replay):
    """Stands in for the network to a server with an embedding model."""

    def __init__(self, probes: Mapping[str, str]) -> None:
        super().__init__("0.32.0", probes)
        del self.probes["/v1/models"]

    def answer(self, path: str) -> Answer:
        found = recorded_pooling(self.probes[path], self.version)
        return Answer(found.status, found.headers, found.body)


class Replayed:
    """One recorded answer."""

    def __init__(self, answer: Answer, call: Call) -> None:
        self._rest = answer.body if call.stream else b""
        self.answer = Answer(answer.status, answer.headers, b"" if call.stream else answer.body)

    def read(self, within: ReadWithin | None = None) -> bytes:
        data, self._rest = self._rest, b""
        return data

    def close(self) -> None:
        """Nothing is open."""
