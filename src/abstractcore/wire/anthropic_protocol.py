"""Anthropic's protocol in one piece, as ``providers.exchange`` takes it."""

from __future__ import annotations

from typing import Final

from .anthropic import read_message, request_body
from .anthropic_stream import AnthropicStreamReader
from .protocol import WireProtocol

ANTHROPIC: Final = WireProtocol(
    "Anthropic's protocol",
    lambda request: "/messages",
    request_body,
    read_message,
    AnthropicStreamReader,
    "text/event-stream",
    lambda request, fields: 1,
)
