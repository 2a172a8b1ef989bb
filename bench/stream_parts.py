"""The parts of ``streams.py`` that count, each in a process of its own: stream_parts.py NAME URL COUNT. Prints JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import urllib.request
from typing import Any, Final

from processes import forget_peak, memory_mib

from abstractcore import VLLMProvider
from abstractcore.errors import AbstractCoreError
from abstractcore.wire.call import Timeouts

MODEL: Final = "smollm2"
"""As the load source was recorded; an answer by any other would be refused."""
TOKENS: Final = 20
SPACING: Final = 1000


def told(**options: object) -> dict[str, Any]:
    """Options of a request to a source."""
    user = ",".join(f"{name}={value}" for name, value in options.items())
    return {"extra_body": {"user": user}, "allow_unknown": True, "max_output_tokens": 4096}


def provider(url: str) -> VLLMProvider:
    """A client of ours."""
    return VLLMProvider(MODEL, base_url=url)


async def read(llm: VLLMProvider, **options: Any) -> str:
    """The text of a stream, read to its end."""
    stream = await llm.agenerate("x", stream=True, **options)
    return "".join([part.content async for part in stream])


async def many(url: str, count: int) -> dict[str, Any]:
    """So many streams at once: what fails, and what memory each takes."""
    async with provider(url) as llm:
        expected = await read(llm, **told(chunks=TOKENS))
        gc.collect()
        forget_peak(os.getpid())
        before, cpu, began = memory_mib(os.getpid()), time.process_time(), time.monotonic()
        failures: dict[str, int] = {}
        begun = 0
        all_begun = asyncio.Event()

        async def one() -> None:
            nonlocal begun
            texts = []
            try:
                async for part in await llm.agenerate("x", stream=True, **told(chunks=TOKENS, spacing=SPACING)):
                    if not texts:
                        begun += 1
                        if begun == count:
                            all_begun.set()
                        await all_begun.wait()  # nobody ends before everybody has begun
                    texts.append(part.content)
                problem = "" if "".join(texts) == expected else "wrong text"
            except AbstractCoreError as error:
                problem = f"{type(error).__name__}: {error.message}"
            if problem:
                failures[problem] = failures.get(problem, 0) + 1
                all_begun.set()

        streams = [asyncio.create_task(one()) for _ in range(count)]
        await all_begun.wait()
        at_source = await asyncio.to_thread(_counts, url)
        await asyncio.gather(*streams)
        seconds = time.monotonic() - began
        peak = memory_mib(os.getpid(), "VmHWM")
    return {
        "streams": count,
        "open_at_source": at_source["open"],
        "failed": sum(failures.values()),
        "failures": failures,
        "seconds": seconds,
        "ideal": (TOKENS - 1) * SPACING / 1e3,
        "before_mib": before,
        "peak_mib": peak,
        "kib_per_stream": (peak - before) * 1024 / count,
        "us_per_chunk": (time.process_time() - cpu) * 1e6 / count / TOKENS,
    }


async def cost(url: str, count: int) -> dict[str, Any]:
    """What a request costs beside so many open streams; measured anew for each line of the standard input."""
    batch = 400

    async def some(llm: VLLMProvider) -> None:
        for _ in range(batch // 10):
            await llm.agenerate("x", max_output_tokens=16)

    async def opened(llm: VLLMProvider) -> Any:
        stream = await llm.agenerate("x", stream=True, timeout=Timeouts(idle=600), **told(stall=1))
        await anext(stream)
        return stream

    async with provider(url) as llm:
        streams = await asyncio.gather(*(opened(llm) for _ in range(count)))
        await some(llm)
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline) == "go\n":
            cpu = time.process_time()
            await asyncio.gather(*(some(llm) for _ in range(10)))
            print((time.process_time() - cpu) * 1e6 / batch, flush=True)
        for stream in streams:
            stream.close()
    return {"open": count}


def _counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/source") as answer:  # noqa: S310 - our own source
        found: dict[str, int] = json.load(answer)
        return found


async def sequence(url: str, count: int) -> dict[str, Any]:
    """Streams one after the other, blocking and asynchronous: how many connections they take."""
    before = _counts(url)["connections"]
    with provider(url) as llm:
        for _ in range(count):
            for _part in llm.generate("x", stream=True, **told(chunks=5)):
                pass
    blocking = _counts(url)["connections"] - before - 1
    async with provider(url) as llm:
        for _ in range(count):
            await read(llm, **told(chunks=5))
        asynchronous = _counts(url)["connections"] - before - blocking - 2
    return {"streams": count, "sync": blocking, "async": asynchronous}


PARTS: Final = {part.__name__: part for part in (many, cost, sequence)}

if __name__ == "__main__":
    json.dump(asyncio.run(PARTS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))), sys.stdout)
