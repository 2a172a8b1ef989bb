"""any-llm-sdk, async, with its provider for vLLM."""

from __future__ import annotations

from any_llm import AnyLLM
from client_run import KEY, MESSAGES, MODEL, Seen, run


class AnyLlm:
    """As its documentation shows it."""

    def __init__(self, base_url: str) -> None:
        self.llm = AnyLLM.create("vllm", api_key=KEY, api_base=base_url)

    async def request(self) -> Seen:
        answer = await self.llm.acompletion(model=MODEL, messages=MESSAGES)
        return answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens

    async def stream(self) -> Seen:
        texts, usage = [], None
        chunks = await self.llm.acompletion(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in chunks:
            if chunk.choices:
                texts.append(chunk.choices[0].delta.content or "")
            usage = chunk.usage or usage
        return "".join(texts), usage.prompt_tokens, usage.completion_tokens


run(AnyLlm)
