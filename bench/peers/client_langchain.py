"""langchain-openai, async."""

from __future__ import annotations

from client_run import KEY, MODEL, PROMPT, Seen, run
from langchain_openai import ChatOpenAI


class LangChain:
    """As its documentation shows it."""

    def __init__(self, base_url: str) -> None:
        self.model = ChatOpenAI(model=MODEL, base_url=base_url, api_key=KEY, stream_usage=True)

    async def request(self) -> Seen:
        answer = await self.model.ainvoke(PROMPT)
        usage = answer.usage_metadata
        return answer.content, usage["input_tokens"], usage["output_tokens"]

    async def stream(self) -> Seen:
        texts, usage = [], None
        async for chunk in self.model.astream(PROMPT):
            texts.append(chunk.content)
            usage = chunk.usage_metadata or usage
        return "".join(texts), usage["input_tokens"], usage["output_tokens"]


run(LangChain)
