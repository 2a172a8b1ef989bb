"""Beam search and best_of against what eight releases answered."""

from __future__ import annotations

import math
from typing import Any

import pytest

from abstractcore import ConfigurationError, InvalidRequestError, ProviderAPIError, UnsupportedFeatureError
from abstractcore.providers.vllm.beam import rank_candidates
from abstractcore.types import Alternative, TokenLogprob
from abstractcore.vllm_facts import BEAM_IGNORES
from abstractcore.wire.openai import Completion
from tests.recordings import VERSIONS, probe_names
from tests.replay import Replay

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
every_version = pytest.mark.parametrize("version", VERSIONS)


def ask(server: Replay, **options: Any) -> Any:
    return server.provider().generate("Give me a number.", max_tokens=16, **options)


@every_version
def test_a_beam_search_asks_for_its_width_and_gives_the_best_first(version: str) -> None:
    server = Replay(version, {CHAT: "beam+logprobs"})
    response = ask(server, use_beam_search=True, best_of=2)
    assert server.body | {"messages": None} == {
        "model": "smollm2", "messages": None, "max_completion_tokens": 16, "temperature": 0, "n": 2, "logprobs": True,
        "top_logprobs": 0, "use_beam_search": True, "include_stop_str_in_output": True,
    }  # fmt: skip
    assert response.content == " -" * 16
    assert [other.content for other in response.alternatives] == [" -" * 11 + "�" * 5]
    assert response.metadata["beam_search"] == {"width": 2, "length_penalty": 1.0}
    assert response.logprobs is None, "they were asked for the scores, not by the caller"


@every_version
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_scores_are_those_by_which_the_server_ranks(version: str, penalty: float) -> None:
    server = Replay(version, {CHAT: "beam+logprobs"})
    response = ask(server, use_beam_search=True, n=2, logprobs=1, length_penalty=penalty)
    total = sum(token.logprob for token in response.logprobs)
    assert response.score == pytest.approx(total / (19 + 16) ** penalty)
    assert response.score > response.alternatives[0].score
    assert server.body.get("length_penalty", 1.0) == penalty


@pytest.mark.parametrize("version", [version for version in VERSIONS if "beam n=4 lp" in probe_names(version)])
def test_without_log_probabilities_there_are_no_scores(version: str) -> None:
    response = ask(Replay(version, {CHAT: "beam n=4 lp"}), use_beam_search=True, n=4)
    assert len(response.alternatives) == 3
    assert [response.score, *(other.score for other in response.alternatives)] == [None] * 4


@every_version
def test_n_beside_best_of_says_how_many_are_kept(version: str) -> None:
    server = Replay(version, {CHAT: "beam+logprobs"})
    response = ask(server, use_beam_search=True, best_of=2, n=1)
    assert server.body["n"] == 2
    assert response.alternatives == []


@every_version
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stop": "-"}, "stop"),
        ({"temperature": 0.7, "top_p": 0.9, "seed": 1}, "seed, temperature, top_p"),
        ({"guided_regex": "[0-9]+"}, "guided_regex"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"extra_body": {"min_tokens": 3}}, "min_tokens"),
        ({"extra_body": {"response_format": {"type": "json_object"}}}, "guided_json"),
    ],
)
def test_what_a_beam_search_would_drop_is_refused(version: str, options: dict[str, Any], named: str) -> None:
    server = Replay(version)
    with pytest.raises(UnsupportedFeatureError, match=f"use_beam_search with {named}") as refusal:
        ask(server, use_beam_search=True, n=2, **options)
    assert server.sent == []
    assert str(refusal.value.server_version).startswith(version)
    assert "emulate=True" in refusal.value.alternatives[0]


@pytest.mark.parametrize("name", sorted(BEAM_IGNORES))
def test_each_field_that_a_beam_ignores_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match=name):
        ask(Replay("0.32.0"), use_beam_search=True, n=2, extra_body={name: [7]})


def test_values_that_change_nothing_are_no_reason_to_refuse() -> None:
    server = Replay("0.32.0", {CHAT: "beam+logprobs"})
    ask(server, use_beam_search=True, n=2, temperature=0, top_p=1, frequency_penalty=0, stop=[])
    assert server.body["use_beam_search"]


def test_a_beam_search_written_by_hand_is_one_like_any_other() -> None:
    server = Replay("0.32.0", {CHAT: "beam+logprobs"})
    response = ask(server, extra_body={"use_beam_search": True, "n": 2, "length_penalty": 0.0})
    assert response.score == pytest.approx(-87.148, abs=0.001)
    with pytest.raises(UnsupportedFeatureError, match="use_beam_search with stop"):
        ask(server, stop="a", extra_body={"use_beam_search": True, "n": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_beam_search": True}, "needs a width"),
        ({"use_beam_search": True, "n": 1}, "width 1 is no search"),
        ({"use_beam_search": True, "best_of": 2, "n": 3}, "best_of=2 can't give n=3"),
        ({"best_of": 2, "n": 3}, "best_of=2 can't give n=3"),
        ({"best_of": 2, "temperature": 0}, "choose among 2 equal answers"),
        ({"length_penalty": 1.0}, "belongs to a beam search"),
        ({"use_beam_search": True, "n": 2, "stop": "a", "emulate": True, "temperature": 0}, "would be the same"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    server = Replay("0.32.0")
    with pytest.raises(ConfigurationError, match=message):
        ask(server, **options)
    assert server.sent == []


@every_version
def test_a_width_beyond_the_server_s_limit_is_refused_before_it_is_sent(version: str) -> None:
    server = Replay(version, {CHAT: "beam n=20"})
    with pytest.raises(UnsupportedFeatureError, match="width 20"):
        ask(server, use_beam_search=True, n=20)
    assert server.sent == []
    with pytest.raises(InvalidRequestError, match=r"Cannot request more than 20|Requested sample logprobs of 40"):
        ask(server, use_beam_search=True, n=20, allow_unknown=True)


def test_an_answer_without_the_beams_is_no_answer() -> None:
    with pytest.raises(ProviderAPIError, match="it has 2 of 3 choices"):
        ask(Replay("0.32.0", {CHAT: "beam"}), use_beam_search=True, n=3)


@every_version
def test_chats_stream_each_beam_in_one_chunk(version: str) -> None:
    *chunks, last = ask(Replay(version, {CHAT: "beam stream"}), use_beam_search=True, n=2, stream=True)
    assert [(chunk.index, chunk.content[:6]) for chunk in chunks] == [(0, " - - -"), (1, " - - -")]
    assert last.finish_reason == "length"
    assert last.alternatives[0].content == chunks[1].content


@every_version
def test_completions_stream_a_beam_search_where_the_server_does(version: str) -> None:
    server = Replay(version, {COMPLETIONS: "beam comp stream"})
    stream = ask(server, use_beam_search=True, n=2, stream=True, raw_prompt=True)
    if version in ("0.24.0", "0.32.0"):
        with pytest.raises(UnsupportedFeatureError, match="stream and raw_prompt"):
            next(stream)
        assert server.sent == []
    else:
        assert [chunk.index for chunk in stream] == [0, 1, 0]


@pytest.mark.parametrize("options", [{"use_beam_search": True, "n": 2, "stop": "x", "emulate": True}, {"best_of": 2}])
def test_a_ranking_can_t_be_streamed(options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError, match="with stream"):
        next(ask(Replay("0.32.0"), stream=True, **options))


@every_version
def test_best_of_is_native_where_it_works_and_emulated_elsewhere(version: str) -> None:
    native = version == "0.8.5"
    server = Replay(version, {CHAT: "best_of" if native else "beam+logprobs"})
    response = ask(server, best_of=3 if native else 2, temperature=0.8)
    if native:
        assert server.body["best_of"] == 3
        assert "emulated" not in response.metadata
    else:
        assert (server.body["n"], server.body["logprobs"], "best_of" in server.body) == (2, True, False)
        assert response.content == " -" * 16
        assert response.alternatives == []
        assert response.score == pytest.approx(-87.148, abs=0.001)
        assert "2 candidates" in response.metadata["emulated"]["best_of"]
    assert response.logprobs is None


@every_version
def test_an_emulated_beam_search_keeps_the_other_promises(version: str) -> None:
    server = Replay(version, {CHAT: "beam+logprobs"})
    response = ask(server, use_beam_search=True, n=2, stop="x", emulate=True)
    assert (server.body["stop"], "use_beam_search" in server.body) == ("x", False)
    assert response.score == pytest.approx(-87.148 / 16, abs=0.001)
    assert "2 sampled candidates" in response.metadata["emulated"]["use_beam_search"]


def test_emulate_leaves_a_beam_search_that_the_server_can_do_to_the_server() -> None:
    server = Replay("0.32.0", {CHAT: "beam+logprobs"})
    assert "emulated" not in ask(server, use_beam_search=True, n=2, emulate=True).metadata
    assert server.body["use_beam_search"]


def candidate(index: int, content: str, *logprobs: float, end: str = "stop") -> Alternative:
    tokens = [TokenLogprob("t", logprob) for logprob in logprobs]
    return Alternative(index=index, content=content, finish_reason=end, logprobs=tokens or None)


def ranked(answers: list[Alternative], **options: Any) -> list[str]:
    given: dict[str, Any] = {
        "wanted": len(answers), "keep": None, "length_penalty": 1.0, "whole": None, "distinct": True, "strip": False,
    }  # fmt: skip
    completion = rank_candidates(Completion(answers, "m", None, None), **given | options)
    return [answer.content for answer in completion.answers]


def test_the_likeliest_come_first_and_equal_ones_once() -> None:
    answers = [candidate(0, "c", -3.0), candidate(1, "a", -1.0, -1.0), candidate(2, "b", -1.5), candidate(3, "c", -3.0)]
    assert ranked(answers) == ["a", "b", "c"]
    assert ranked(answers, length_penalty=0.0) == ["b", "a", "c"]
    assert ranked(answers, distinct=False, keep=3, length_penalty=0.0) == ["b", "a", "c"]


def test_answers_that_the_limit_cut_yield_to_complete_ones() -> None:
    answers = [candidate(0, "cut", -0.1, end="length"), candidate(1, "whole", -2.0)]
    assert ranked(answers, whole=lambda text: False) == ["whole"]
    assert ranked(answers, whole=lambda text: False, keep=2) == ["whole", "cut"]
    assert ranked(answers[:1], whole=lambda text: False) == ["cut"], "its proof then says what is wrong"
    assert ranked(answers, whole=lambda text: True) == ["cut", "whole"]


def test_candidates_without_log_probabilities_can_t_be_ranked() -> None:
    with pytest.raises(ProviderAPIError, match="1 of them"):
        ranked([candidate(0, "a", -1.0), candidate(1, "b")])
    with pytest.raises(ProviderAPIError, match="1 came"):
        ranked([candidate(0, "a", -math.inf)], wanted=2)


@pytest.mark.parametrize("choice", ["required", "get_n"])
def test_a_tool_that_must_be_called_is_a_constraint_and_refused(choice: str) -> None:
    tool = {"type": "function", "function": {"name": "get_n", "description": "x", "parameters": {"type": "object"}}}
    with pytest.raises(UnsupportedFeatureError, match="tools with use_beam_search"):
        ask(Replay("0.32.0"), use_beam_search=True, n=2, tools=[tool], tool_choice=choice)
