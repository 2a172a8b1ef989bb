"""The plans of backends that speak OpenAI's protocol, beside those for one request (``exchange``): what they serve."""

from __future__ import annotations

from ..types import ModelInfo
from ..wire.call import Plan
from ..wire.openai import read_models
from .endpoint import Endpoint, checked
from .exchange import read


def models(endpoint: Endpoint) -> Plan[list[ModelInfo]]:
    """What the server serves."""
    call = endpoint.get(f"{endpoint.base_url}/models")
    answer = yield from checked(endpoint, call)
    return read(read_models, endpoint, call, answer)
