"""abstractcore, async; with the argument "blocking" the same without an event loop."""

from __future__ import annotations

import sys

from client_run import KEY, MODEL, PROMPT, Seen, run, run_blocking

from abstractcore import create_llm


class Ours:
    """As its documentation shows it."""

    def __init__(self, base_url: str) -> None:
        self.llm = create_llm("vllm", MODEL, base_url=base_url, api_key=KEY)

    async def request(self) -> Seen:
        answer = await self.llm.agenerate(PROMPT)
        return answer.content, answer.usage.input_tokens, answer.usage.output_tokens

    async def stream(self) -> Seen:
        texts, usage = [], None
        async for chunk in await self.llm.agenerate(PROMPT, stream=True):
            texts.append(chunk.content)
            usage = chunk.usage or usage
        return "".join(texts), usage.input_tokens, usage.output_tokens


class Blocking(Ours):
    """In threads."""

    def request(self) -> Seen:
        answer = self.llm.generate(PROMPT)
        return answer.content, answer.usage.input_tokens, answer.usage.output_tokens

    def stream(self) -> Seen:
        texts, usage = [], None
        for chunk in self.llm.generate(PROMPT, stream=True):
            texts.append(chunk.content)
            usage = chunk.usage or usage
        return "".join(texts), usage.input_tokens, usage.output_tokens


if sys.argv[1:] == ["blocking"]:
    run_blocking(Blocking)
else:
    run(Ours)
