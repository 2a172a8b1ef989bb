"""Batches on a real server: in order, constrained item by item, killed and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from abstractcore import BatchProgress, ContextLengthError, VLLMProvider
from abstractcore.providers.vllm.load import read_load

COUNT = 40
PROGRAM = """
import os, signal, sys
from abstractcore import VLLMProvider
llm = VLLMProvider(sys.argv[2], base_url=sys.argv[1])
count = int(sys.argv[4])
def kill(progress):  # by itself: another process might not see the half before the whole is done
    if progress.done >= count // 2:
        os.kill(os.getpid(), signal.SIGKILL)
llm.generate_batch(
    [f"prompt {i}" for i in range(count)],
    resume=sys.argv[3], concurrency=3, max_tokens=24, extra_body={"ignore_eos": True}, progress=kill,
)
"""


class Served(Protocol):
    """What the server fixtures tell."""

    @property
    def base_url(self) -> str: ...
    @property
    def model(self) -> str: ...


@pytest.fixture
def tiny(tiny_vllm: Served) -> Iterator[VLLMProvider]:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        yield llm


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_each_item_has_its_own_options_and_failures(tiny: VLLMProvider) -> None:
    result = tiny.generate_batch(
        [
            "plain",
            {"prompt": "digits", "guided_regex": "[0-9]{3}"},
            {"prompt": "choice", "guided_choice": ["yes", "no"]},
            "too long " * 3000,
            [{"role": "user", "content": "a chat"}],
        ],
        max_tokens=8,
        progress=False,
    )
    assert [item.index for item in result] == [0, 1, 2, 3, 4]
    assert [item.index for item in result.failures] == [3]
    assert isinstance(result[3].error, ContextLengthError)
    assert result[1].response is not None
    assert result[1].response.content.isdigit()
    assert result[1].response.metadata["constraint"]["proved"] is True
    assert result[2].response is not None
    assert result[2].response.content in ("yes", "no")


async def test_concurrency_is_found_from_the_server(tiny: VLLMProvider) -> None:
    result = await tiny.agenerate_batch(
        (f"prompt {number}" for number in range(150)), max_tokens=32, extra_body={"ignore_eos": True}, progress=False
    )
    assert not result.failures
    assert result.output_tokens == 150 * 32
    assert result.concurrency >= 16


def test_killed_and_resumed_nothing_is_lost_or_doubled(tiny: VLLMProvider, tmp_path: Path) -> None:
    file = tmp_path / "batch.jsonl"
    argv = [sys.executable, "-c", PROGRAM, tiny.base_url, str(tiny.model), str(file), str(COUNT)]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    before = file.read_bytes()
    whole = before[: before.rindex(b"\n") + 1]
    with file.open("ab") as out:
        out.write(b'{"index":39,"digest":"54')  # as if the kill had hit a write
    assert COUNT // 2 <= whole.count(b"\n") < COUNT
    seen: list[BatchProgress] = []
    result = tiny.generate_batch(
        [f"prompt {number}" for number in range(COUNT)],
        resume=file, max_tokens=24, extra_body={"ignore_eos": True}, progress=seen.append,
    )  # fmt: skip
    assert not result.failures
    assert [item.index for item in result] == list(range(COUNT))
    assert seen[0].done == sum(item.resumed for item in result) == whole.count(b"\n")
    assert file.read_bytes().startswith(whole)
    assert sorted(line["index"] for line in lines(file)) == list(range(COUNT))


def test_interrupted_the_server_stops_too(tiny: VLLMProvider) -> None:
    pressed: list[int] = []

    def interrupt(progress: BatchProgress) -> None:
        # Once: asyncio takes a second Ctrl-C for one that won't wait, and leaves connections to the garbage collector.
        if progress.done and not pressed:
            pressed.append(progress.done)
            signal.raise_signal(signal.SIGINT)

    prompts: list[Any] = [{"prompt": "short", "max_tokens": 1}, *(f"long {number}" for number in range(20))]
    with pytest.raises(KeyboardInterrupt):
        tiny.generate_batch(prompts, max_tokens=1500, extra_body={"ignore_eos": True}, progress=interrupt)
    until = time.monotonic() + 10
    while busy(tiny):
        assert time.monotonic() < until
        time.sleep(0.05)


def busy(llm: VLLMProvider) -> int:
    """Requests on the server."""
    from urllib.request import urlopen

    with urlopen(llm.base_url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
        load = read_load(answer.read())
    assert load is not None
    return sum(load)
