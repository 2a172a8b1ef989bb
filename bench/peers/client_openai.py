"""The OpenAI SDK, async."""

from __future__ import annotations

from client_run import KEY, MESSAGES, MODEL, Seen, run
from openai import AsyncOpenAI


class OpenAI:
    """As its documentation shows it."""

    def __init__(self, base_url: str) -> None:
        self.client = AsyncOpenAI(base_url=base_url, api_key=KEY)

    async def request(self) -> Seen:
        answer = await self.client.chat.completions.create(model=MODEL, messages=MESSAGES)
        return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens

    async def stream(self) -> Seen:
        texts, usage = [], None
        chunks = await self.client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in chunks:
            if chunk.choices:
                texts.append(chunk.choices[0].delta.content or "")
            usage = chunk.usage or usage
        return "".join(texts), usage.prompt_tokens, usage.completion_tokens


run(OpenAI)
