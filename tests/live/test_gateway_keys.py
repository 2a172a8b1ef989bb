"""Keys and limits of a real gateway in front of a real vLLM, with OpenAI's SDK."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import openai
import pytest

from tests.gateway_process import Running, serving
from tests.live.conftest import LiveServer

ASKED: list[Any] = [{"role": "user", "content": "Count to twenty."}]


def keys(file: Path, *arguments: str) -> str:
    """Runs ``abstractcore keys``; what it prints."""
    command = [sys.executable, "-m", "abstractcore", "keys", *arguments, "--file", str(file)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    keys(path, "add", "first")
    return path


@pytest.fixture(scope="module")
def gateway(file: Path, vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    arguments = ("--backend", f"vllm={vllm.base_url}", "--alias", f"fast=vllm/{vllm.model}", "--keys", str(file))
    with serving(folder, *arguments) as running:
        yield running


def client_of(gateway: Running, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0)


def added(file: Path, *arguments: str) -> str:
    """A new key, which the gateway knows by now."""
    made = keys(file, "add", *arguments)
    time.sleep(1.1)  # the gateway looks at its file once a second
    return made


def test_a_key_lets_the_sdk_in_from_the_moment_it_is_made_until_it_is_removed(file: Path, gateway: Running) -> None:
    key = added(file, "short-lived")
    with client_of(gateway, key) as client:
        answer = client.chat.completions.create(model="fast", messages=ASKED, max_tokens=4)
        assert answer.choices[0].finish_reason == "length"
        keys(file, "remove", "short-lived")
        time.sleep(1.1)
        with pytest.raises(openai.AuthenticationError, match="does not know this key"):
            client.chat.completions.create(model="fast", messages=ASKED, max_tokens=4)
    assert key not in gateway.log.read_text()
    assert "short-lived" in gateway.log.read_text()


def test_a_key_for_other_models_sees_none_of_these(file: Path, gateway: Running, vllm: LiveServer) -> None:
    with client_of(gateway, added(file, "elsewhere", "--models", "openai/*")) as client:
        assert list(client.models.list()) == []
        for name in ("fast", vllm.model, f"vllm/{vllm.model}", "vllm"):
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model=name, messages=ASKED, max_tokens=4)


def test_a_rate_is_kept_and_told(file: Path, gateway: Running) -> None:
    with client_of(gateway, added(file, "slow", "--rate", "2/min")) as client:
        raw = client.chat.completions.with_raw_response.create(model="fast", messages=ASKED, max_tokens=2)
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        client.chat.completions.create(model="fast", messages=ASKED, max_tokens=2)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="fast", messages=ASKED, max_tokens=2)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_what_a_key_has_too_much_at_a_time_is_refused_while_the_rest_goes_on(file: Path, gateway: Running) -> None:
    with client_of(gateway, added(file, "one-at-a-time", "--in-flight", "1")) as client:

        def ask(limit: int) -> str | None:
            try:
                answer = client.chat.completions.create(
                    model="fast", messages=ASKED, max_tokens=limit, extra_body={"ignore_eos": True}
                )
            except openai.RateLimitError:
                return None
            return str(answer.choices[0].finish_reason)

        with ThreadPoolExecutor() as pool:
            outcomes = list(pool.map(ask, [40] * 4))
        assert sorted(outcomes, key=str) == [None, None, None, "length"]
        assert ask(2) == "length"


def test_metrics_ask_for_a_key_and_tell_of_all_this(file: Path, gateway: Running) -> None:
    with pytest.raises(HTTPError) as caught:
        urlopen(f"{gateway.url}/metrics")
    with caught.value as refused:
        assert refused.code == 401
    key = added(file, "prometheus")
    with urlopen(Request(f"{gateway.url}/metrics", headers={"Authorization": f"Bearer {key}"})) as answer:
        page = answer.read().decode()
    assert 'abstractcore_shed_total{reason="rate_limited"} 1' in page
    assert 'abstractcore_shed_total{reason="too_many_at_once"} 3' in page
    assert "smollm2" not in page
