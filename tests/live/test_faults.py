"""A real vLLM that is stopped, killed, frozen and overrun: its callers get complete answers or the errors of a table.

One server has three lives: the tests that end one stand last, and each test starts it if it is not running.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from abstractcore import ServerNotReadyError, StreamInterruptedError, VLLMProvider
from abstractcore.deploy import local_vllm, runtime, vllm_server
from abstractcore.settings import cache_dir
from abstractcore.vllm_facts import RUNNING_METRIC, WAITING_METRIC
from abstractcore.wire.call import Timeouts
from abstractcore.wire.prometheus import read_totals

from . import real_faults as faults
from .conftest import Shown, make, make_adapters, unused_port
from .fleet import NAME, ONE_THREAD, Server, fetch
from .four_ways import PATIENCE, FourWays, until

SLOTS: Final = 4
"""Requests that the server runs at once."""
LENGTH: Final = 32768
"""So much fits into the model's context that no answer ends while a test does something to it, on no machine."""
LONG: Final[dict[str, Any]] = {
    "prompt": "Tell me a very long story.",
    "max_output_tokens": LENGTH - 1000,
    "extra_body": {"ignore_eos": True},
}
SHORT: Final[dict[str, Any]] = {"prompt": "Hi", "max_output_tokens": 8}
NO_HURRY: Final = Timeouts(connect=60.0, first_byte=PATIENCE, idle=PATIENCE)
OWN_ENV: Final = {**vllm_server.LORA_ENV, **ONE_THREAD}
OWN_ARGS: Final = (
    *vllm_server.LORA_ARGS,
    *("--max-num-seqs", str(SLOTS), "--max-model-len", str(LENGTH)),
    *("--hf-overrides", f'{{"max_position_embeddings": {LENGTH}}}'),
)
STAYS: Final = {"VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "1"}
"""Without it the HTTP side follows a dead engine after some seconds."""


@pytest.fixture(scope="module")
def home(
    environment: local_vllm.Environment, tmp_path_factory: pytest.TempPathFactory, show: Shown
) -> Iterator[Server]:
    """The server, not started."""
    model = cache_dir() / "models" / "tiny-qwen2"
    with show() as report:
        make(environment, model, ["model"], report)
        make_adapters(environment, model, report)
    spec = vllm_server.small_server(environment, model, name=NAME, port=unused_port(), args=OWN_ARGS, env=OWN_ENV)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed test run stops it too
    server = Server(spec, tmp_path_factory.mktemp("faults"))
    try:
        yield server
    finally:
        stop(server)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def server(home: Server) -> Server:
    """The server, running and at rest."""
    return at_rest(home)


@pytest.fixture
def lasting(home: Server) -> Server:
    """The server, running and at rest; its HTTP side outlives its engine."""
    if not outlives_its_engine(home):
        stop(home)
        outlive_its_engine(home)
    return at_rest(home)


def at_rest(server: Server) -> Server:
    if server.process is None:
        server.start()
    until(lambda: load(server) == (0, 0), "the server is at rest")
    return server


def outlive_its_engine(server: Server) -> None:
    """From its next start on."""
    server.spec = replace(server.spec, env={**server.spec.env, **STAYS})


def outlives_its_engine(server: Server) -> bool:
    return STAYS.items() <= server.spec.env.items()


def stop(server: Server) -> None:
    if server.process is not None:
        runtime.stop_server(server.process, grace=5.0)
        server.process = None


def load(server: Server) -> tuple[float, float]:
    """Requests that run and that wait."""
    totals = read_totals(fetch(f"http://{server.address}/metrics"))
    return totals[RUNNING_METRIC], totals[WAITING_METRIC]


def client(server: Server, **options: Any) -> VLLMProvider:
    return VLLMProvider(NAME, base_url=server.spec.base_url, **options)


def asking(server: Server, options: dict[str, Any], limits: Timeouts = NO_HURRY, **more: Any) -> FourWays:
    return FourWays(partial(client, server), {**options, "timeout": limits}, **more)


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


@contextmanager
def starting(server: Server) -> Iterator[None]:
    """Starts it beside the block, and waits for it in any case: a server that nobody knows would stay."""
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def in_the_middle(server: Server, four: FourWays) -> None:
    """Waits until all of the four are being answered."""
    until(lambda: four.begun() and load(server)[0] == len(four.outcomes), "all are in the middle of an answer")


# --- the server lives ------------------------------------------------------------------------------------------------


def test_an_error_event_and_then_done(server: Server) -> None:
    impossible = {"type": "array", "uniqueItems": True}
    with asking(server, {**SHORT, "guided_json": impossible}) as four:
        pass
    four.got(faults.REFUSES)
    with asking(server, SHORT) as after:
        pass
    after.got(faults.QUEUED)


def test_a_frozen_engine(server: Server) -> None:
    limits = Timeouts(connect=60.0, first_byte=2.0, idle=PATIENCE)
    with frozen(server):
        assert fetch(f"http://{server.address}/health") == b"", "it says that it is well"
        began = time.monotonic()
        with asking(server, SHORT, limits) as four:
            pass
        four.got(faults.FROZEN)
        assert all(outcome.ended_at - began < 30.0 for outcome in four.outcomes)
        with client(server) as llm, pytest.raises(ServerNotReadyError, match="engine frozen"):
            llm.wait_until_ready(0)
    with client(server) as llm:
        llm.wait_until_ready(PATIENCE)


def test_an_engine_that_freezes_and_goes_on(server: Server) -> None:
    limits = Timeouts(connect=60.0, first_byte=PATIENCE, idle=2.0)
    plain_options = {"timeout": Timeouts(connect=60.0, first_byte=6.0)}
    with asking(server, LONG, limits, plain_options=plain_options) as four:
        until(four.begun, "the streams have text")
        with frozen(server):
            until(lambda: all(outcome.ended_at for outcome in four.outcomes), "all have given up", 60.0)
    four.got(faults.FREEZES)
    with frozen(server):
        four = asking(server, SHORT)
        four.__enter__()
        threading.Event().wait(1.0)
    four.__exit__()
    four.got(faults.FROZE)


def test_a_long_queue(server: Server) -> None:
    """Waiting there counts for the time to the first token, and for no other limit."""
    idle = 6.0
    patient = Timeouts(connect=60.0, first_byte=PATIENCE, idle=idle)
    hasty = Timeouts(connect=60.0, first_byte=1.0, idle=PATIENCE)
    llm = client(server, timeout=NO_HURRY)
    blockers: Any = [llm.generate(**LONG, stream=True) for _ in range(SLOTS)]
    for blocker in blockers:
        next(blocker)
    with asking(server, SHORT, patient) as waiting:
        with asking(server, SHORT, hasty) as hurried:
            pass
        hurried.got(faults.QUEUED_TOO_LONG)
        until(lambda: load(server)[1] == len(waiting.outcomes), "the patient ones wait, and the hasty ones are out")
        threading.Event().wait(idle)
        for blocker in blockers:
            blocker.close()
    waiting.got(faults.QUEUED)
    assert min(outcome.time_to_first_token for outcome in waiting.outcomes if outcome.stream) > idle


def test_cancels_in_a_row_leave_nothing_behind(server: Server) -> None:
    """Closed, dropped or left: more of them than there are slots, so that one that stayed would be noticed."""
    with client(server, timeout=NO_HURRY) as llm:
        for turn in range(3 * SLOTS):
            stream: Any = llm.generate(**LONG, stream=True)
            next(stream)
            if turn % 3 == 0:
                stream.close()
            elif turn % 3 == 1:
                with stream:
                    pass
            del stream
            gc.collect()
        until(lambda: load(server) == (0, 0), "all slots are free", 30.0)
        assert llm.generate(**SHORT).content


# --- the server's life ends ------------------------------------------------------------------------------------------


def test_a_server_is_stopped_and_started_again(server: Server) -> None:
    """Its callers are told, also while it loads; and the adapter that it forgets is answered by nobody else."""
    adapter = str(cache_dir() / "models" / "tiny-qwen2-lora-1")
    keeper = client(server, timeout=NO_HURRY)
    assert keeper.ensure_adapters({"sql": adapter}) == ["sql"]
    assert keeper.generate(**SHORT, model="sql").model == "sql"
    plain_options = {"timeout": Timeouts(connect=60.0, first_byte=30.0)}
    with asking(server, LONG, Timeouts(idle=20.0), plain_options=plain_options) as four:
        in_the_middle(server, four)
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGTERM)
    four.got(faults.STOPPED)
    stop(server)
    outlive_its_engine(server)  # for the next test
    with starting(server):
        with asking(server, SHORT) as four:
            pass
        four.got(faults.LOADING)
        keeper.wait_until_ready(1800)
    lost = {**SHORT, "model": "sql"}
    with FourWays(lambda: keeper, lost) as four:
        pass
    four.got(faults.ADAPTER_LOST)
    with asking(server, lost) as four:
        pass
    four.got(faults.ADAPTER_GONE)
    assert keeper.ensure_adapters({"sql": adapter}) == ["sql"]
    assert keeper.generate(**SHORT, model="sql").model == "sql"
    keeper.close()


def test_an_engine_that_is_killed(lasting: Server) -> None:
    server = lasting
    with asking(server, LONG) as four:
        in_the_middle(server, four)
        for pid in server.engines():
            os.kill(pid, signal.SIGKILL)
    four.got(faults.ENGINE_DIES)
    with asking(server, SHORT) as four:
        pass
    four.got(faults.ENGINE_DEAD)
    stop(server)


def test_a_server_that_is_killed(lasting: Server) -> None:
    server = lasting
    with asking(server, LONG) as four:
        in_the_middle(server, four)
        server.kill()
    four.got(faults.KILLED)
    assert any(isinstance(outcome.error, StreamInterruptedError) for outcome in four.outcomes)
    stop(server)
