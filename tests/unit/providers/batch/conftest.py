"""A server of the test's own making: answers when the test says so, and keeps count."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError
from abstractcore.providers import VLLMProvider
from abstractcore.wire.call import Answer, Call, ReadWithin


class Exchange:
    """A whole answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def read(self, within: ReadWithin | None = None) -> bytes:
        return b""

    def close(self) -> None:
        pass


class FakeServer:
    """Stands in for the network. ``prompts`` counts what was asked, ``most`` how much of it at once."""

    def __init__(self) -> None:
        self.prompts: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.in_flight = self.most = self.aborted = 0
        self.metrics: Callable[[], str] | None = None
        self.hold = asyncio.Event()
        """While it is cleared, nothing is answered but what has a gate of its own."""
        self.hold.set()
        self.gates: dict[str, asyncio.Event] = {}
        self.delay: Callable[[str], float] = lambda prompt: 0.0
        self.fail: Callable[[str], int | Exception | None] = lambda prompt: None

    async def open(self, call: Call) -> Exchange:
        if call.url.endswith("/metrics"):
            return Exchange(Answer(200, {}, self.metrics().encode()) if self.metrics else Answer(404, {}))
        if call.url.endswith("/version"):
            return Exchange(Answer(200, {}, b'{"version": "0.32.0"}'))
        if call.body is None:
            return Exchange(Answer(404, {}))
        body = json.loads(call.body)
        prompt = body["messages"][-1]["content"]
        self.prompts[prompt] += 1
        self.bodies.append(body)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.gates.get(prompt, self.hold).wait()
            await asyncio.sleep(self.delay(prompt))
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            self.in_flight -= 1
        return Exchange(self._answer(prompt))

    def close(self) -> None:
        pass

    def _answer(self, prompt: str) -> Answer:
        failure = self.fail(prompt)
        if isinstance(failure, Exception):
            raise failure
        if failure:
            return Answer(failure, {}, json.dumps({"error": {"message": f"no {prompt}", "code": failure}}).encode())
        message = {"role": "assistant", "content": prompt.upper()}
        usage = {"prompt_tokens": 2, "completion_tokens": 3}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return Answer(200, {}, json.dumps({"id": "x", "model": "m", "choices": choices, "usage": usage}).encode())


def refused() -> ConnectionFailedError:
    error = ConnectionFailedError("refused")
    error.refused = True
    return error


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it did not come to that")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def llm(server: FakeServer) -> VLLMProvider:
    return VLLMProvider("m", base_url="http://server.test/v1", async_transport=server)
