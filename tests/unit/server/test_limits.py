"""Buckets and counts; the clock is the test's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.server.config import Limits
from abstractcore.server.errors import GatewayError
from abstractcore.server.keys import Key
from abstractcore.server.limits import Bucket, Gate


def key(name: str = "a", **more: Any) -> Key:
    return Key(name=name, sha256="0" * 64, created=datetime(2030, 1, 1, tzinfo=UTC), **more)


@given(rate=st.integers(1, 1000), pauses=st.lists(st.floats(0, 5), max_size=200))
def test_no_minute_sees_more_than_its_rate_and_what_was_saved(rate: int, pauses: list[float]) -> None:
    now, bucket, taken = 0.0, Bucket(0.0, rate), 0
    for pause in pauses:
        now += pause
        wait = bucket.take(now, rate)
        if not wait:
            taken += 1
        else:
            assert bucket.take(now + wait * 1.001, rate) == 0, "it comes when it was told to"
            now += wait * 1.001
            taken += 1
    assert taken <= rate + now * rate / 60 + 1


def test_a_refused_request_learns_when_to_come_again() -> None:
    clock = [0.0]
    gate = Gate(Limits(), lambda: clock[0])
    for left in (1, 0):
        headers = dict(gate.enter(key(rate=2)))
        assert headers[b"x-ratelimit-remaining-requests"] == b"%d" % left
        gate.leave(key(rate=2))
    with pytest.raises(GatewayError) as caught:
        gate.enter(key(rate=2))
    assert (caught.value.status, caught.value.retry_after) == (429, 30)
    clock[0] = 30.0
    gate.enter(key(rate=2))


def test_a_changed_rate_counts_from_now_on() -> None:
    gate = Gate(Limits(), lambda: 0.0)
    gate.enter(key(rate=1))
    with pytest.raises(GatewayError):
        gate.enter(key(rate=1))
    with pytest.raises(GatewayError):
        gate.enter(key(rate=100))  # its bucket is as empty as it was
    gate.enter(key("b", rate=1))


def test_a_gate_that_is_full_refuses_at_once_and_opens_again() -> None:
    gate = Gate(Limits(max_in_flight=2))
    gate.enter(None)
    gate.enter(key())
    with pytest.raises(GatewayError) as caught:
        gate.enter(None)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    gate.leave(key())
    gate.enter(None)


@pytest.mark.parametrize(("limits", "own"), [(Limits(max_in_flight_per_key=1), {}), (Limits(), {"in_flight": 1})])
def test_one_key_does_not_take_the_places_of_others(limits: Limits, own: dict[str, Any]) -> None:
    gate = Gate(limits)
    gate.enter(key(**own))
    with pytest.raises(GatewayError) as caught:
        gate.enter(key(**own))
    assert caught.value.status == 429
    gate.enter(key("b", **own))
    gate.leave(key(**own))
    gate.enter(key(**own))
    assert gate.in_flight == 2
