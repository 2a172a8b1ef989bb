"""The clients that are measured, each a process of its own that obeys orders (``peers/client_run.py``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from environments import environment, installed

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
FLOOR, OURS, BLOCKING, SDK = "floor", "abstractcore", "abstractcore blocking", "openai"
NEEDED = tuple(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"])


@dataclass(frozen=True)
class Kind:
    """A client as it can be measured.

    Args:
        name: In tables.
        packages: What pip installs for it.
        argv: Its script in ``peers`` and what that is told.
        imports: What a program writes to import it.
        makes: What it writes then to have a client, without touching the network.
    """

    name: str
    packages: tuple[str, ...]
    argv: tuple[str, ...]
    imports: str
    makes: str

    @property
    def ours(self) -> bool:
        """Whether it is this package."""
        return self.packages is NEEDED

    @property
    def env(self) -> Mapping[str, str]:
        """The variables of its processes: ours has bytecode like those that pip has installed."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, **({"PYTHONPATH": str(ROOT / "src")} if self.ours else {})}

    def command(self) -> list[str]:
        """What starts it."""
        return [self.python(), str(PEERS / self.argv[0]), *self.argv[1:]]

    def python(self) -> str:
        """The Python of its environment, which is made if it isn't there."""
        return str(environment(self.packages) / "python")

    def version(self) -> str:
        """Of the client; of the floor there is none."""
        if self.ours:
            project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            return project["version"]
        return "" if self.name == FLOOR else installed(environment(self.packages), self.packages[0])


_URL = "http://127.0.0.1:9/v1"
_OURS = "import abstractcore", f"abstractcore.create_llm('vllm', 'm', base_url='{_URL}', api_key='k')"
KINDS = {
    kind.name: kind
    for kind in (
        Kind(FLOOR, ("httptools", "msgspec"), ("client_floor.py",), "import asyncio, httptools, msgspec", "pass"),
        Kind(OURS, NEEDED, ("client_ours.py",), *_OURS),
        Kind(BLOCKING, NEEDED, ("client_ours.py", "blocking"), *_OURS),
        Kind("aiohttp", ("aiohttp", "msgspec"), ("client_aiohttp.py",), "import aiohttp, msgspec", "pass"),
        Kind(SDK, ("openai",), ("client_openai.py",),
             "import openai", f"openai.AsyncOpenAI(base_url='{_URL}', api_key='k')"),
        Kind("langchain-openai", ("langchain-openai",), ("client_langchain.py",),
             "import langchain_openai",
             f"langchain_openai.ChatOpenAI(model='m', base_url='{_URL}', api_key='k')"),
        Kind("any-llm-sdk", ("any-llm-sdk",), ("client_any_llm.py",),
             "import any_llm", f"any_llm.AnyLLM.create('vllm', api_key='k', api_base='{_URL}')"),
        Kind("pydantic-ai-slim", ("pydantic-ai-slim[openai]",), ("client_pydantic_ai.py",),
             "import pydantic_ai, pydantic_ai.models.openai as models, pydantic_ai.providers.openai as providers",
             f"models.OpenAIChatModel('m', provider=providers.OpenAIProvider(base_url='{_URL}', api_key='k'))"),
    )
}  # fmt: skip


@dataclass
class Client:
    """A client that runs."""

    kind: Kind
    process: subprocess.Popen[str]
    log: IO[bytes]
    version: str = ""
    each: dict[str, int] = field(default_factory=dict)
    found: dict[str, list[float]] = field(default_factory=dict)
    wrong: int = 0

    @property
    def name(self) -> str:
        """In tables."""
        return self.kind.name

    def obey(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Has it carry out an order, and gives what it saw.

        Raises:
            ConnectionError: It has ended; with what it said.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(json.dumps(order), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            said = self.log.read().decode("utf-8", "replace").strip().splitlines()
            raise ConnectionError("\n  ".join(["it has ended", *said[-6:]]))
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def running(names: Sequence[str], first: Mapping[str, Any]) -> Iterator[list[Client]]:
    """The clients, when each has carried out a first order."""
    with ExitStack() as stack:
        clients = []
        for name in names:
            try:
                client = _start(KINDS[name], stack)
                right = client.obey(first)["right"]
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            if not right:
                print(f"{name} is left out: its answer is not the one that was sent", file=sys.stderr)
                continue
            clients.append(client)
        yield clients


def _start(kind: Kind, stack: ExitStack) -> Client:
    log = stack.enter_context(TemporaryFile())  # noqa: SIM115 - the stack closes it
    process = subprocess.Popen(
        kind.command(), env=kind.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    )

    def stop() -> None:
        process.kill()
        process.communicate()

    stack.callback(stop)
    return Client(kind, process, log, kind.version())
