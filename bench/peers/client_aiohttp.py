"""aiohttp for the transport, msgspec for the JSON, and nothing else: what many write themselves."""

from __future__ import annotations

import aiohttp
from client_run import MESSAGES, MODEL, Seen, run
from msgspec.json import decode


class Aiohttp:
    """A session without limits."""

    def __init__(self, base_url: str) -> None:
        self.url = f"{base_url}/chat/completions"
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )

    async def request(self) -> Seen:
        async with self.session.post(self.url, json={"model": MODEL, "messages": MESSAGES}) as answer:
            whole = decode(await answer.read())
        usage = whole["usage"]
        return whole["choices"][0]["message"]["content"], usage["prompt_tokens"], usage["completion_tokens"]

    async def stream(self) -> Seen:
        body = {"model": MODEL, "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
        texts, usage, rest = [], {}, b""
        async with self.session.post(self.url, json=body) as answer:
            async for block in answer.content.iter_any():
                *events, rest = (rest + block).split(b"\n\n")
                for event in events:
                    if event == b"data: [DONE]":
                        continue
                    chunk = decode(event[6:])
                    if chunk["choices"]:
                        texts.append(chunk["choices"][0]["delta"].get("content") or "")
                    usage = chunk.get("usage") or usage
        return "".join(texts), usage["prompt_tokens"], usage["completion_tokens"]


run(Aiohttp)
