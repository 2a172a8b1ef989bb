"""A conversation with a real server: turns, a stream, a file, and on with it in another protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pydantic
import pytest

from abstractcore import ContextLengthError, Session, VLLMProvider
from abstractcore.providers.anthropic import AnthropicProvider
from tests.live.conftest import LiveServer


class Colour(pydantic.BaseModel):
    name: Literal["red", "green"]


def test_a_conversation_is_held_saved_and_gone_on_with(llm: VLLMProvider, vllm: LiveServer, tmp_path: Path) -> None:
    session = Session(llm, system_prompt="Answer in one sentence.", temperature=0, max_output_tokens=40)
    first = session.generate("What is the capital of France?")
    second = session.generate("Say that again.")
    assert first.input_tokens is not None
    assert first.output_tokens is not None
    assert second.input_tokens is not None
    assert second.input_tokens > first.input_tokens + first.output_tokens, "the second turn is told of the first"

    *parts, last = session.generate("And the capital of Italy?", stream=True)
    assert last.finish_reason in ("stop", "length")
    assert session.get_messages()[-1].content == "".join(part.content for part in parts)

    session.save(tmp_path / "talk.json")
    again = Session.load(tmp_path / "talk.json", llm)
    assert again.get_messages() == session.get_messages()
    assert again.generate("A colour?", response_model=Colour).name in ("red", "green")
    assert len(again) == 8

    counted = llm.count_tokens("And now?", messages=again.get_history())
    with AnthropicProvider(vllm.model, base_url=vllm.base_url) as again.llm:
        assert again.generate("And now?").input_tokens == counted, "the same conversation in another protocol"


async def test_the_same_on_the_event_loop(llm: VLLMProvider) -> None:
    session = Session(llm, temperature=0, max_output_tokens=12)
    await session.agenerate("Hello")
    stream = await session.agenerate("How are you?", stream=True)
    text = "".join([chunk.content async for chunk in stream])
    assert session.get_messages()[-1].content == text
    assert len(session) == 4


@pytest.mark.parametrize("kind", [VLLMProvider, AnthropicProvider])
def test_a_conversation_that_no_longer_fits_is_shortened(
    kind: type[VLLMProvider | AnthropicProvider], vllm: LiveServer
) -> None:
    with kind(vllm.model, base_url=vllm.base_url) as llm:
        session = Session(llm, temperature=0, max_output_tokens=20)
        for number in range(6):
            session.add_message("user", f"Remember {number}: " + "word " * 400)
            session.add_message("assistant", "Yes.")
        with pytest.raises(ContextLengthError, match=r"session\.compact"):
            session.generate("What was it?")
        assert len(session) == 12
        assert session.compact(keep=1, max_output_tokens=60, temperature=0) == 10
        assert session.summary
        assert session.generate("What was it?").finish_reason in ("stop", "length")
