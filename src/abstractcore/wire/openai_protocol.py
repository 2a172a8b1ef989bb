"""OpenAI's protocol in one piece, as ``providers.exchange`` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..types import GenerateRequest
from .openai import read_completion, request_body
from .openai_stream import OpenAIStreamReader
from .protocol import WireProtocol


def _path(request: GenerateRequest) -> str:
    return "/chat/completions" if request.raw_prompt is None else "/completions"


def _choices(request: GenerateRequest, fields: Mapping[str, Any]) -> int:
    return {**request.extra_body, **fields}.get("n") or request.n


OPENAI: Final = WireProtocol(
    "OpenAI's protocol", _path, request_body, read_completion, OpenAIStreamReader, "text/event-stream", _choices
)
