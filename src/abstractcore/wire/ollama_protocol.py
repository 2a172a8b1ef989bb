"""Ollama's protocol in one piece, as ``providers.exchange`` takes it."""

from __future__ import annotations

from typing import Final

from .ollama import path, read_completion, request_body
from .ollama_stream import OllamaStreamReader
from .protocol import WireProtocol

OLLAMA: Final = WireProtocol(
    "Ollama's protocol",
    path,
    request_body,
    read_completion,
    OllamaStreamReader,
    "application/x-ndjson",
    lambda request, fields: 1,
)
