"""How fast a batch is: against a bare client at the same concurrency, and against one request after the other.

    python bench/batch.py http://127.0.0.1:8000/v1 [--prompts 200] [--concurrency 16] [--max-tokens 32] [--rounds 3]

The bare client is asyncio with the least HTTP that works: requests made beforehand, one kept connection a worker, and
of an answer nothing is read but its length and the number of tokens. Both clients take turns, round by round, so that
what else the server or the machine does meanwhile hits both. Every answer has exactly ``--max-tokens`` tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from abstractcore import VLLMProvider

TOKENS = re.compile(rb'"completion_tokens":\s*(\d+)')
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


class Run(NamedTuple):
    """One run of one client."""

    tokens: int
    seconds: float
    cpu: float
    """Seconds of this process's CPU time."""
    concurrency: int

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


class Bench:
    """The same prompts, sent in several ways."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.llm = VLLMProvider(given.model, base_url=given.url, api_key=given.key)
        self.model = given.model or self.llm.model_info().id
        self.prompts = [f"{number}: a fact about the number {number * 7919}" for number in range(given.prompts)]
        self.extra = {"ignore_eos": True}

    def ours(self, prompts: list[str], concurrency: int | None) -> Run:
        """Through ``generate_batch``."""
        cpu = time.process_time()
        result = self.llm.generate_batch(
            prompts,
            concurrency=concurrency,
            temperature=0.0,
            max_output_tokens=self.given.max_tokens,
            extra_body=self.extra,
            progress=False,
        )
        assert not result.failures, result.failures[0].error
        return Run(result.output_tokens, result.seconds, time.process_time() - cpu, result.concurrency)

    def bare(self, prompts: list[str], concurrency: int) -> Run:
        """Through sockets."""
        at = urlsplit(self.llm.base_url)
        requests = iter([self._request(prompt, at.netloc) for prompt in prompts])
        started, cpu = time.perf_counter(), time.process_time()
        tokens = asyncio.run(_bare(requests, at.hostname or "", at.port or 80, concurrency))
        return Run(tokens, time.perf_counter() - started, time.process_time() - cpu, concurrency)

    def _request(self, prompt: str, host: str) -> bytes:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.0,
            "max_completion_tokens": self.given.max_tokens,
            **self.extra,
        }
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {self.llm.api_key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data


async def _bare(requests: Iterator[bytes], host: str, port: int, concurrency: int) -> int:
    async def work() -> int:
        tokens = 0
        reader, writer = await asyncio.open_connection(host, port)
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = LENGTH.search(head)
            assert length, head
            counted = TOKENS.search(await reader.readexactly(int(length[1])))
            assert counted
            tokens += int(counted[1])
        writer.close()
        return tokens

    return sum(await asyncio.gather(*(work() for _ in range(concurrency))))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of a vLLM server")
    parser.add_argument("--model")
    parser.add_argument("--key", default="EMPTY")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    bench = Bench(parser.parse_args())
    given, prompts = bench.given, bench.prompts
    print(f"{given.prompts} prompts, {given.max_tokens} tokens each, vLLM {bench.llm.server_version()}, {bench.model}")

    def show(name: str, run: Run, count: int) -> Run:
        cpu = run.cpu / count * 1e6
        row = f"{name:<12} {run.rate:8.1f} tok/s  {run.seconds:6.2f} s  {run.concurrency:3} at once"
        print(f"{row}  {cpu:5.0f} us CPU each", flush=True)
        return run

    few = prompts[: max(8, given.prompts // 10)]
    bench.bare(prompts[: given.concurrency], given.concurrency)  # the first ones warm the server up
    pairs = []
    for _ in range(given.rounds):
        bare = show("bare", bench.bare(prompts, given.concurrency), given.prompts)
        pairs.append((show("batch", bench.ours(prompts, given.concurrency), given.prompts), bare))
    found = show("batch, found", bench.ours(prompts, None), given.prompts)
    single = show("one by one", bench.ours(few, 1), len(few))
    ours = statistics.median(run.rate for run, _ in pairs)
    ratio = statistics.median(mine.rate / bare.rate for mine, bare in pairs)
    print(f"batch / bare:         {ratio:.3f} (median of {len(pairs)} pairs)")
    print(f"batch / one by one:   {ours / single.rate:.1f}")
    print(f"found / given number: {found.rate / ours:.3f}")


if __name__ == "__main__":
    main()
