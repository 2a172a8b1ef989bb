"""pydantic-ai-slim, async, without an agent: its direct requests, which are the cheapest."""

from __future__ import annotations

from client_run import KEY, MODEL, PROMPT, Seen, run
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class PydanticAi:
    """As its documentation shows it."""

    def __init__(self, base_url: str) -> None:
        self.model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=base_url, api_key=KEY))
        self.asked = [ModelRequest.user_text_prompt(PROMPT)]

    async def request(self) -> Seen:
        answer = await model_request(self.model, self.asked)
        return answer.parts[0].content, answer.usage.input_tokens, answer.usage.output_tokens

    async def stream(self) -> Seen:
        texts = []
        async with model_request_stream(self.model, self.asked) as events:
            async for event in events:
                if isinstance(event, PartStartEvent):
                    texts.append(event.part.content)
                elif isinstance(event, PartDeltaEvent):
                    texts.append(event.delta.content_delta)
            usage = events.get().usage
        return "".join(texts), usage.input_tokens, usage.output_tokens


run(PydanticAi)
