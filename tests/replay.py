"""A server of a recorded release: its own description, and recorded answers to what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from abstractcore.providers import VLLMProvider
from abstractcore.wire.call import Answer, Call

from .recordings import openapi, recorded

MODEL: Final = "smollm2"
"""The name under which the recorded servers serve their model."""


class Replay:
    """Stands in for the network.

    Args:
        version: The recorded release.
        probes: Which probe's answer a path gives; what is not listed answers 404.
    """

    def __init__(self, version: str, probes: Mapping[str, str] | None = None) -> None:
        self.version = version
        self.probes = {"/v1/models": "GET /v1/models", "/version": "GET /version", **(probes or {})}
        self.sent: list[tuple[str, Any]] = []
        """Path and JSON body of what was posted."""

    @property
    def body(self) -> Any:
        """The last body that was posted."""
        return self.sent[-1][1]

    def provider(self, **defaults: Any) -> VLLMProvider:
        """A provider that talks to it."""
        return VLLMProvider(MODEL, base_url=f"http://vllm-{self.version}.test", transport=self, **defaults)

    def open(self, call: Call) -> Replayed:
        path = urlsplit(call.url).path
        if call.body is not None:
            self.sent.append((path, msgspec.json.decode(call.body)))
        if path == "/openapi.json":
            return Replayed(Answer(200, {}, msgspec.json.encode(openapi(self.version))), call)
        if path not in self.probes:
            return Replayed(Answer(404, {}, b'{"detail":"Not Found"}'), call)
        found = recorded(self.version, self.probes[path])
        return Replayed(Answer(found.status, found.headers, found.body), call)

    def close(self) -> None:
        """Nothing is open."""


class Replayed:
    """One recorded answer."""

    def __init__(self, answer: Answer, call: Call) -> None:
        self._rest = answer.body if call.stream else b""
        self.answer = Answer(answer.status, answer.headers, b"" if call.stream else answer.body)

    def read(self) -> bytes:
        data, self._rest = self._rest, b""
        return data

    def close(self) -> None:
        """Nothing is open."""
