"""Requests made at random from the OpenAPI document, by schemathesis: none of them meets a fault of the gateway.

Seeded and short; a long run is ``st run http://127.0.0.1:8080/openapi.json --checks not_a_server_error``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.gateway_process import Running, serving
from tests.live.conftest import LiveServer

NO_SUCH_ENDPOINT = 501
"""Of the backend: a chat model has no embeddings."""
PATIENCE = 120
EXAMPLES = int(os.environ.get("ABSTRACTCORE_SCHEMA_EXAMPLES", "8"))
"""For each endpoint and way of making them; with 300 there are 10,000 requests."""


@pytest.fixture(scope="module")
def gateway(vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    backend = f"vllm={vllm.base_url}"
    with serving(tmp_path_factory.mktemp("gateway"), "--backend", backend, "--allow-adapters", "/") as running:
        yield running


@pytest.fixture(scope="module")
def operations(gateway: Running) -> list[Any]:
    with urlopen(f"{gateway.url}/openapi.json") as answer:
        schema = schemathesis.openapi.from_dict(json.load(answer))
    every: Iterator[Any] = schema.get_all_operations()
    return [found.ok() for found in every]


def aimed(body: Any, model: str) -> Any:
    """The same request for a model that there is, and short: the machine of a test is slow, not wrong."""
    if not isinstance(body, dict):
        return body
    limits = {name: 3 for name in ("max_tokens", "max_output_tokens") if isinstance(body.get(name), int)}
    limits |= {"max_tokens": 3} if "messages" in body or "prompt" in body else {}
    few = {name: 2 for name in ("n", "best_of") if isinstance(body.get(name), int)}
    return {**body, **limits, **few, "model": f"vllm/{model}"}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_meets_a_fault(
    operations: list[Any], gateway: Running, vllm: LiveServer, mode: GenerationMode
) -> None:
    met: set[int] = set()
    wanted = [each for each in operations if each.body or mode is GenerationMode.POSITIVE]  # without one all is right
    for operation in wanted:

        @hypothesis.seed(7)
        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode), is_aimed=st.booleans())
        def ask(case: Any, is_aimed: bool) -> None:
            if is_aimed:
                case.body = aimed(case.body, vllm.model)
            answer = case.call(base_url=gateway.url, timeout=PATIENCE)
            met.add(answer.status_code)
            assert answer.status_code < 500 or answer.status_code == NO_SUCH_ENDPOINT, (case.body, answer.text)
            if answer.status_code >= 400 and case.method != "HEAD":
                assert answer.json().get("error", {}).get("message"), answer.text

        ask()
    assert 400 in met
    assert (200 in met) == (mode is GenerationMode.POSITIVE)
