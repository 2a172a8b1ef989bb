"""Two real vLLM servers that a test may kill, freeze and start again, and a load of requests through a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.request import ProxyHandler, build_opener

from abstractcore.deploy import local_vllm, runtime, vllm_server
from abstractcore.errors import ProviderError
from abstractcore.transport import AsyncHttpTransport
from abstractcore.wire.call import Call, Timeouts

NAME: Final = "tiny"
ONE_THREAD: Final = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
"""Threads that wait do so by spinning: more of them than cores, and no server speaks for seconds."""
PATIENCE: Final = 120.0
"""Seconds after which something that should come to be has failed."""
START: Final = 600.0
"""Seconds in which a server has to start."""
DRAIN: Final = 60
"""Seconds that a server that is told to stop gives to what runs."""
STOP: Final = DRAIN + 60.0
"""Seconds in which it has to be gone: with nothing to do left, its parts take up to 20."""
_LIMITS: Final = Timeouts(connect=5.0, first_byte=90.0, idle=90.0, total=180.0)
_DIRECT: Final = build_opener(ProxyHandler({}))


@dataclass
class Server:
    """One vLLM, running or not."""

    spec: vllm_server.ServerSpec
    folder: Path
    process: runtime.ServerProcess | None = None
    starts: int = 0

    @property
    def address(self) -> str:
        """Host and port."""
        return self.spec.base_url.removeprefix("http://").removesuffix("/v1")

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self.starts += 1
        log, pid_file = self.folder / f"server-{self.starts}.log", self.folder / "server.json"
        self.process = vllm_server.start(self.spec, log=log, pid_file=pid_file, limit=START)

    def stop(self) -> None:
        """Has it end in peace, as an operator does."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGTERM)
        ends = time.monotonic() + STOP
        while runtime.is_alive(self.process):
            assert time.monotonic() < ends, f"not gone after {STOP:g} s: {self.state()}"
            time.sleep(0.1)

    def state(self) -> str:
        """What can be said of it where a test gives up."""
        assert self.process is not None
        lines = Path(self.process.log).read_text(encoding="utf-8", errors="replace").splitlines()
        alive = "alive" if runtime.is_alive(self.process) else "gone"
        return "\n  ".join((f"{self.address} is {alive}; its log ends:", *lines[-5:]))

    def kill(self) -> None:
        """Ends it without a word."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)

    def engines(self) -> list[int]:
        """The processes that generate; the one that speaks HTTP is not among them."""
        assert self.process is not None
        names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in runtime.server_members(self.process)}
        return [pid for pid, name in names.items() if "Engine" in name]

    def freeze(self) -> None:
        """Stops its engine; its HTTP server goes on."""
        for pid in self.engines():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        for pid in self.engines():
            os.kill(pid, signal.SIGCONT)

    def adapters(self) -> list[str]:
        """Those that it says it has."""
        rows = json.loads(fetch(f"{self.spec.base_url}/models"))["data"]
        return [row["id"] for row in rows if row.get("parent")]

    def is_up(self, gateway: str) -> bool:
        """Whether a gateway gives it requests."""
        rows = fetch(f"{gateway}/metrics").decode().splitlines()
        (mine,) = [row for row in rows if row.startswith("abstractcore_replica_up") and self.address in row]
        return float(mine.rpartition(" ")[2]) == 1.0


@contextmanager
def servers(environment: local_vllm.Environment, model: Path, ports: list[int], folder: Path) -> Iterator[list[Server]]:
    """Servers of one model while the block runs, started one after the other."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a killed test run stops them too
    found = []
    for port in ports:
        place = folder / str(port)
        place.mkdir()
        # With a time to shut down, what runs is ended in peace; new requests are answered 500 meanwhile.
        args = (*vllm_server.LORA_ARGS, *vllm_server.TOOL_ARGS, "--shutdown-timeout", str(DRAIN))
        env = {**vllm_server.LORA_ENV, **ONE_THREAD}
        spec = vllm_server.small_server(environment, model, name=NAME, port=port, args=args, env=env)
        found.append(Server(spec, place))
    try:
        for server in found:
            server.start()
        yield found
    finally:
        for server in found:
            if server.process is not None:
                runtime.stop_server(server.process, grace=5.0)
        signal.signal(signal.SIGTERM, before)


@dataclass
class Outcome:
    """What became of one request."""

    status: int
    body: bytes
    seconds: float

    @property
    def done(self) -> bool:
        """Whether a stream said that it is complete."""
        return self.body.rstrip().endswith(b"data: [DONE]")

    @property
    def error(self) -> Any:
        """What the last event, or the envelope, says."""
        last = self.body.rstrip().rpartition(b"\n\n")[2].removeprefix(b"data: ")
        return json.loads(last).get("error")


@dataclass
class Load:
    """Requests through a gateway, as many at a time as there are workers, until the block ends."""

    url: str
    model: str = NAME
    workers: int = 6
    outcomes: list[Outcome] = field(default_factory=list)
    _stop: bool = False

    async def __aenter__(self) -> Self:
        self._transport = AsyncHttpTransport()
        self._tasks = [asyncio.ensure_future(self._work(number)) for number in range(self.workers)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)
        self._transport.close()

    @property
    def failures(self) -> list[Outcome]:
        """Those that were not answered."""
        return [outcome for outcome in self.outcomes if outcome.status != 200]

    async def more(self, count: int) -> None:
        """Waits until so many further requests are over."""
        wanted = len(self.outcomes) + count
        await until(lambda: len(self.outcomes) >= wanted, f"{count} more answers")

    async def _work(self, number: int) -> None:
        turn = 0
        while not self._stop:
            turn += 1
            outcome = await self.ask(f"worker {number}, turn {turn}", max_tokens=16)
            self.outcomes.append(outcome)
            # Who asks again at once takes the cores that a server needs to start, and that one never comes back.
            await asyncio.sleep(0.05 if outcome.status == 200 else 1.0)

    async def ask(self, text: str, **fields: Any) -> Outcome:
        """One chat."""
        return await self._send(text, fields)

    async def stream(self, text: str, started: Callable[[], object], tokens: int = 1900) -> Outcome:
        """A long stream; ``started`` is called when there is text."""
        return await self._send(text, {"max_tokens": tokens, "stream": True, "ignore_eos": True}, started)

    async def _send(self, text: str, fields: dict[str, Any], started: Callable[[], object] | None = None) -> Outcome:
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], **fields}
        headers = {"content-type": "application/json"}
        url, data = f"{self.url}/v1/chat/completions", json.dumps(body).encode()
        began, parts = time.monotonic(), b""
        try:
            exchange = await self._transport.open(Call("POST", url, headers, data, stream=True, timeouts=_LIMITS))
            while part := await exchange.read():
                parts += part
                if started is not None and b'"content":"' in part.replace(b'"content":""', b""):
                    started()
        except ProviderError as error:
            return Outcome(0, parts + str(error).encode(), time.monotonic() - began)
        return Outcome(exchange.answer.status, parts, time.monotonic() - began)


def fetch(url: str) -> bytes:
    """What a server answers."""
    with _DIRECT.open(url, timeout=30) as answer:
        data: bytes = answer.read()
        return data


async def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
    """Waits until something is so; gives the seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began
