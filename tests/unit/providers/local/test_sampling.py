"""The next token: penalties, temperature, top-k, top-p, min-p, seed."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.sampling import Sampling, logprobs_of, penalized, pick

from .plain_model import PlainScores

VALUES = st.lists(st.floats(-20, 20), min_size=1, max_size=40)


@given(VALUES, st.integers(0, 2**32))
def test_temperature_zero_takes_the_first_of_the_best(values: list[float], seed: int) -> None:
    token = pick(PlainScores(values), Sampling(temperature=0, top_p=0.5, min_p=0.5), Random(seed))
    assert token == values.index(max(values))


@given(VALUES, st.integers(1, 5), st.integers(0, 2**32), st.floats(0.1, 3))
def test_top_k_chooses_among_the_best(values: list[float], count: int, seed: int, temperature: float) -> None:
    token = pick(PlainScores(values), Sampling(temperature=temperature, top_k=count), Random(seed))
    assert values[token] >= sorted(values, reverse=True)[: min(count, len(values))][-1]


@given(VALUES, st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_top_p_leaves_out_what_the_likelier_ones_make_needless(values: list[float], share: float, seed: int) -> None:
    token = pick(PlainScores(values), Sampling(top_p=share), Random(seed))
    whole = math.fsum(math.exp(value) for value in values)
    likelier = math.fsum(math.exp(value) for value in values if value > values[token])
    assert likelier / whole < share + 1e-9


@given(VALUES, st.floats(0.01, 1), st.integers(0, 2**32))
def test_min_p_leaves_out_what_is_far_below_the_best(values: list[float], share: float, seed: int) -> None:
    token = pick(PlainScores(values), Sampling(min_p=share), Random(seed))
    assert math.exp(values[token] - max(values)) >= share - 1e-9


def test_tokens_come_as_often_as_their_probability_says() -> None:
    values, random = [math.log(share) for share in (0.5, 0.3, 0.15, 0.05)], Random(1)
    found = Counter(pick(PlainScores(values), Sampling(), random) for _ in range(5_000))
    for token, share in enumerate((0.5, 0.3, 0.15, 0.05)):
        assert found[token] / 5_000 == pytest.approx(share, abs=0.03)
    cut = Counter(pick(PlainScores(values), Sampling(top_p=0.75), random) for _ in range(5_000))
    assert set(cut) == {0, 1}
    assert cut[0] / 5_000 == pytest.approx(0.625, abs=0.03)


def test_a_flat_vocabulary_is_reached_to_its_last_token() -> None:
    random = Random(2)
    found = {pick(PlainScores([0.0] * 3000), Sampling(), random) for _ in range(60)}
    assert max(found) > 2500


@given(VALUES, st.integers(0, 2**32))
def test_what_is_not_allowed_is_never_chosen(values: list[float], seed: int) -> None:
    mask = bytes([0b10101010] * 5)
    if len(values) < 2:
        return
    token = pick(PlainScores(values).allowed(mask), Sampling(), Random(seed))
    assert token % 2 == 1


def test_a_seed_gives_the_same_tokens_again() -> None:
    scores = PlainScores([0.1 * token for token in range(50)])
    first, second = Random(7), Random(7)
    assert [pick(scores, Sampling(), first) for _ in range(30)] == [pick(scores, Sampling(), second) for _ in range(30)]


def test_repetition_is_punished_on_both_sides_of_zero() -> None:
    scores = PlainScores([2.0, -2.0, 2.0, -2.0])
    after = penalized(scores, Sampling(repetition_penalty=2.0), [0], {1: 3})
    assert after.best(4) == [(2, 2.0), (0, 1.0), (3, -2.0), (1, -4.0)]


def test_presence_and_frequency_count_only_what_was_generated() -> None:
    after = penalized(
        PlainScores([5.0, 5.0, 5.0]), Sampling(presence_penalty=1.0, frequency_penalty=0.5), [0], {1: 1, 2: 4}
    )
    assert after.at([0, 1, 2]) == [5.0, 3.5, 2.0]


def test_logprobs_are_those_of_the_model_before_any_sampling() -> None:
    chosen, top = logprobs_of(PlainScores([math.log(3.0), 0.0]), 1, 2)
    assert chosen == pytest.approx(math.log(0.25))
    assert top[0][0] == 0
    assert top[0][1] == pytest.approx(math.log(0.75))


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -1), ("top_p", 0), ("top_p", 1.5), ("min_p", 2), ("repetition_penalty", 0), ("top_k", "many")],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(EngineError, match=name):
        Sampling.of({name: value}, {})


def test_the_request_goes_before_the_models_own_recommendation() -> None:
    assert Sampling.of({"temperature": 0.2}, {"temperature": 0.7, "top_k": 20}) == Sampling(temperature=0.2, top_k=20)
    assert Sampling.of({"top_k": -1}, {}).top_k == 0
