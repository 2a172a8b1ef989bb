"""What a real vLLM 0.32.0 answered in Anthropic's protocol; made by ``scripts/record_anthropic.py``."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from abstractcore.providers.anthropic import AnthropicProvider
from abstractcore.testing import FakeServer, Reply

MODEL: Final = "smollm2"
_FILE: Final = Path(__file__).with_name("vllm-0.32.0.json.gz")


@dataclass(frozen=True)
class Case:
    """A call of the provider, and what passed between it and the server."""

    options: dict[str, Any]
    outcome: str
    """``answered``, or the name of the error."""
    exchanges: list[dict[str, Any]]

    @property
    def body(self) -> bytes:
        """The body of the last answer."""
        return "".join(self.exchanges[-1]["chunks"]).encode()

    @property
    def document(self) -> Any:
        """The same, decoded."""
        return json.loads(self.body)

    def server(self) -> FakeServer:
        """A server that gives these answers again."""
        routes: dict[str, list[Any]] = {}
        for exchange in self.exchanges:
            chunks = [chunk.encode() for chunk in exchange["chunks"]]
            reply = Reply(chunks, exchange["status"], exchange["answered"])
            routes.setdefault(f"{exchange['method']} {urlsplit(exchange['path']).path}", []).append(reply)
        return FakeServer(routes)


@cache
def cases() -> dict[str, Case]:
    """All calls by name."""
    document = json.loads(gzip.decompress(_FILE.read_bytes()))
    return {name: Case(**case) for name, case in document["cases"].items()}


def provider(server: FakeServer, **options: Any) -> AnthropicProvider:
    """The provider as it was when the calls were recorded."""
    return AnthropicProvider(MODEL, base_url="http://h", temperature=0, **server.transports, **options)
