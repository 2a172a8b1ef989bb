"""Beam search on a real server."""

from __future__ import annotations

import pytest

from abstractcore import UnsupportedFeatureError
from abstractcore.providers import VLLMProvider
from tests.live.conftest import LiveServer


def test_beams_come_best_first_with_the_scores_that_rank_them(tiny_vllm: LiveServer) -> None:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        for penalty in (0.0, 1.0):
            found = llm.generate("Name a number", use_beam_search=True, best_of=4, length_penalty=penalty, max_tokens=8)
            texts = [found.content, *(other.content for other in found.alternatives)]
            scores = [found.score or 0.0, *(other.score or 0.0 for other in found.alternatives)]
            assert len(set(texts)) == 4
            assert scores == sorted(scores, reverse=True)
            assert all(score < 0 for score in scores)


def test_a_beam_search_ends_and_scores_real_answers(llm: VLLMProvider) -> None:
    found = llm.generate("Say yes or no.", use_beam_search=True, n=2, max_tokens=6)
    greedy = llm.generate("Say yes or no.", temperature=0, max_tokens=6, logprobs=True)
    assert (found.score or 0.0) > (found.alternatives[0].score or 0.0)
    assert greedy.score is not None


def test_a_constrained_beam_search_is_refused_or_emulated(tiny_vllm: LiveServer) -> None:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        with pytest.raises(UnsupportedFeatureError, match="use_beam_search with guided_choice"):
            llm.generate("Yes or no?", use_beam_search=True, n=3, guided_choice=["yes", "no"])
        found = llm.generate(
            "Yes or no?", use_beam_search=True, n=3, guided_choice=["yes", "no"], emulate=True, temperature=1.0
        )
        assert {found.content, *(other.content for other in found.alternatives)} <= {"yes", "no"}
        assert found.metadata["constraint"]["proved"]
        assert "use_beam_search" in found.metadata["emulated"]


def test_best_of_keeps_the_likeliest(tiny_vllm: LiveServer) -> None:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        found = llm.generate("Name a number", best_of=5, n=2, temperature=1.0, max_tokens=8)
        assert len(found.alternatives) == 1
        assert (found.score or 0.0) >= (found.alternatives[0].score or 0.0)


def test_a_streamed_beam_search_gives_each_beam_in_one_chunk(tiny_vllm: LiveServer) -> None:
    with VLLMProvider(tiny_vllm.model, base_url=tiny_vllm.base_url) as llm:
        *chunks, last = llm.generate("Name a number", use_beam_search=True, n=3, max_tokens=8, stream=True)
        assert [chunk.index for chunk in chunks] == [0, 1, 2]
        assert len(last.alternatives) == 2
