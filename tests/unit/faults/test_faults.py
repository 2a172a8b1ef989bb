"""Whatever a server does: a complete answer or the right error, in four ways, and nothing leaks or stays behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from abstractcore import VLLMProvider
from abstractcore.errors import AbstractCoreError, RequestTimeoutError, StreamInterruptedError
from abstractcore.transport.retry import RetryPolicy
from tests.scripted_server import ScriptedServer

from .play import KEY, TEXT, Fault, script
from .spoken import everything_logged, said_by, shown_of, variables_of
from .table import FAULTS

PROMPT: Final = "a private question"
pytestmark = pytest.mark.usefixtures("loopback")


class Outcome:
    """What a caller got."""

    def __init__(self) -> None:
        self.text = ""
        self.finish_reason: str | None = None
        self.error: AbstractCoreError | None = None


def plain(llm: VLLMProvider, outcome: Outcome, **options: Any) -> None:
    answer = llm.generate(PROMPT, **options)
    outcome.text, outcome.finish_reason = answer.content, answer.finish_reason


def stream(llm: VLLMProvider, outcome: Outcome, **options: Any) -> None:
    for part in llm.generate(PROMPT, stream=True, **options):
        outcome.text += part.content if part.index == 0 else ""
        outcome.finish_reason = part.finish_reason


def aplain(llm: VLLMProvider, outcome: Outcome, **options: Any) -> None:
    async def run() -> None:
        answer = await llm.agenerate(PROMPT, **options)
        outcome.text, outcome.finish_reason = answer.content, answer.finish_reason

    asyncio.run(run(), debug=True)


def astream(llm: VLLMProvider, outcome: Outcome, **options: Any) -> None:
    async def run() -> None:
        async for part in await llm.agenerate(PROMPT, stream=True, **options):
            outcome.text += part.content if part.index == 0 else ""
            outcome.finish_reason = part.finish_reason

    asyncio.run(run(), debug=True)


@pytest.fixture
def address(fault: Fault, way: Callable[..., None]) -> Iterator[str]:
    if fault.refused:
        with ScriptedServer(lambda peer: None) as server:
            url = server.url
        yield url
        return
    with ScriptedServer(script(fault.attempts(stream="stream" in way.__name__))) as server:
        yield server.url


@pytest.mark.parametrize("way", [plain, aplain, stream, astream], ids=lambda way: way.__name__)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault(
    fault: Fault,
    way: Callable[..., None],
    address: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RetryPolicy, "_wait", lambda self, attempt: 0.001 if attempt < self.attempts else None)
    threads = threading.active_count()
    outcome = Outcome()
    with everything_logged() as log, VLLMProvider("m", base_url=address, api_key=KEY) as llm:
        if fault.name == "stale-connection":
            way(llm, Outcome())
        try:
            way(llm, outcome, timeout=fault.limits)
        except AbstractCoreError as error:
            outcome.error = error
    spoken = f"{log.getvalue()}{capfd.readouterr()}{llm!r}{shown_of(llm)}"
    is_stream = "stream" in way.__name__
    expected = fault.gives(stream=is_stream)
    if expected is None:
        assert outcome.error is None
        assert (outcome.text, outcome.finish_reason) == (TEXT, "stop")
    else:
        assert type(outcome.error) is expected, repr(outcome.error)
        assert outcome.finish_reason is None, "no chunk says that the answer is complete"
        if is_stream:
            assert outcome.text == fault.partial
        if isinstance(outcome.error, StreamInterruptedError):
            assert outcome.error.partial == fault.partial, "the text that had come is kept"
        spoken += said_by(outcome.error)
        if fault.name != "repeats-key":  # there they hold what the server sent
            assert KEY not in variables_of(outcome.error)
    assert KEY not in spoken
    assert PROMPT not in spoken
    assert threading.active_count() <= threads + 2, "only the server's own"


def test_there_are_at_least_fifty_faults_each_of_its_own_name() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= 50


def test_a_stall_is_told_from_a_late_first_token() -> None:
    """The three limits are kept apart, and the error says which one ran out."""
    phases = {}
    for name in ("silent", "stalled", "slow-loris"):
        fault = next(row for row in FAULTS if row.name == name)
        with ScriptedServer(script(fault.attempts(stream=False))) as server:
            with VLLMProvider("m", base_url=server.url) as llm, pytest.raises(RequestTimeoutError) as caught:
                llm.generate(PROMPT, timeout=fault.limits)
            phases[name] = caught.value.phase
    assert phases == {"silent": "first_byte", "stalled": "idle", "slow-loris": "total"}
