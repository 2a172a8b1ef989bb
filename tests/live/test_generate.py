"""Whole answers and streams of a real model."""

from __future__ import annotations

import time
from typing import Any

import pytest

from abstractcore import GenerateResponse, Message, VLLMProvider, create_llm
from tests.live.conftest import LiveServer

COUNT: dict[str, Any] = {"prompt": "Count from one to twenty.", "temperature": 0, "max_output_tokens": 12}


def joined(chunks: list[GenerateResponse]) -> str:
    return "".join(chunk.content for chunk in chunks)


def test_a_plain_answer_with_nothing_but_an_address(vllm: LiveServer) -> None:
    answer = create_llm("vllm", base_url=vllm.base_url).generate("Say hello.", max_output_tokens=8)
    assert isinstance(answer, GenerateResponse)
    assert answer.content
    assert answer.model == vllm.model
    assert answer.finish_reason in ("stop", "length")
    assert answer.usage
    assert 0 < answer.usage.output_tokens <= 8
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.gen_time


def test_a_stream_is_the_same_answer_in_parts(llm: VLLMProvider) -> None:
    whole = llm.generate(**COUNT)
    *parts, last = llm.generate(**COUNT, stream=True)
    assert joined(parts) == whole.content
    assert len(parts) > 3
    assert (last.content, last.finish_reason, last.usage) == ("", "length", whole.usage)
    assert last.metadata["timings"]["time_to_first_token"] > 0


def test_the_first_part_comes_before_the_last_is_made(llm: VLLMProvider) -> None:
    """The server makes some 20 tokens a second, so the first of 30 comes when most of the work is still to do."""
    started = time.perf_counter()
    stream = llm.generate("Tell me a story.", stream=True, max_output_tokens=30, extra_body={"ignore_eos": True})
    next(stream)
    first = time.perf_counter() - started
    list(stream)
    whole = time.perf_counter() - started
    assert first < whole / 2


async def test_async_answers_and_streams_are_the_same(vllm: LiveServer) -> None:
    async with VLLMProvider(base_url=vllm.base_url) as llm:
        whole = await llm.agenerate(**COUNT)
        parts = [chunk async for chunk in await llm.agenerate(**COUNT, stream=True)]
    assert joined(parts) == whole.content
    assert parts[-1].usage == whole.usage
    assert parts[-1].finish_reason == whole.finish_reason


def test_several_answers(llm: VLLMProvider) -> None:
    answer = llm.generate("A number:", n=3, temperature=1.0, seed=1, max_output_tokens=4)
    assert [one.index for one in answer.alternatives] == [1, 2]
    assert len({answer.content, *(one.content for one in answer.alternatives)}) > 1
    *parts, last = llm.generate("A number:", n=3, temperature=1.0, seed=1, max_output_tokens=4, stream=True)
    for index, content in enumerate([answer.content, *(one.content for one in answer.alternatives)]):
        assert joined([part for part in parts if part.index == index]) == content
    assert last.usage == answer.usage


def test_a_seed_gives_the_same_again(llm: VLLMProvider) -> None:
    def said(seed: int) -> str:
        return llm.generate("A story:", seed=seed, temperature=1.5, max_output_tokens=12).content

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_logprobs(llm: VLLMProvider) -> None:
    answer = llm.generate(**COUNT, logprobs=3)
    assert answer.logprobs
    assert len(answer.logprobs) == 12
    assert "".join(token.token for token in answer.logprobs) == answer.content
    assert all(token.logprob <= 0 and len(token.top) >= 3 for token in answer.logprobs)
    parts = list(llm.generate(**COUNT, logprobs=3, stream=True))
    assert [token.token for part in parts for token in part.logprobs or ()] == [t.token for t in answer.logprobs]


def test_stop_ends_the_answer_before_the_word(llm: VLLMProvider) -> None:
    whole = llm.generate(**COUNT).content
    word = whole.split()[2]
    cut = llm.generate(**COUNT, stop=[word])
    assert cut.content == whole[: whole.index(word)]
    assert cut.finish_reason == "stop"


def test_a_conversation(llm: VLLMProvider) -> None:
    alone = llm.generate("And now?", temperature=0, max_output_tokens=8)
    history = [Message("user", "Say a colour."), Message("assistant", "Blue.")]
    after = llm.generate("And now?", messages=history, system_prompt="Be brief.", temperature=0, max_output_tokens=8)
    assert after.input_tokens
    assert alone.input_tokens
    assert after.input_tokens > alone.input_tokens


def test_a_raw_prompt_has_no_template(llm: VLLMProvider) -> None:
    raw = llm.generate("Hello", raw_prompt=True, max_output_tokens=2)
    chat = llm.generate("Hello", max_output_tokens=2)
    assert raw.input_tokens
    assert chat.input_tokens
    assert raw.input_tokens < chat.input_tokens


def test_what_the_server_says_of_itself(llm: VLLMProvider, vllm: LiveServer) -> None:
    assert llm.list_available_models() == sorted(llm.list_available_models())
    assert vllm.model in llm.list_available_models()
    assert llm.model_info().context_length == 2048
    assert llm.server_version()
    assert llm.validate_config()
    assert llm.health()["status"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_a_field_of_the_server_goes_through_extra_body(llm: VLLMProvider, stream: bool) -> None:
    answer: Any = llm.generate("Hi", extra_body={"min_tokens": 6}, max_output_tokens=6, stream=stream)
    usage = [*answer][-1].usage if stream else answer.usage
    assert usage.output_tokens == 6
