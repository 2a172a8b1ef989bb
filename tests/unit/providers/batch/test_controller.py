"""The number in flight follows the server's load."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abstractcore.providers.batch.controller import CAP, START, Load, next_concurrency

COUNTS = st.integers(min_value=0, max_value=5000)
CURRENT = st.integers(min_value=1, max_value=CAP)


def seen(sent: int, seats: int) -> Load:
    """What a server with so many seats says when all that was sent is there."""
    return Load(min(sent, seats), max(0, sent - seats))


@given(COUNTS, COUNTS, CURRENT, st.integers(min_value=1, max_value=CAP))
def test_one_look_changes_it_by_a_factor_of_two_at_most_and_within_bounds(
    running: int, waiting: int, current: int, cap: int
) -> None:
    wanted = next_concurrency(Load(running, waiting), current, cap)
    assert 1 <= wanted <= cap
    assert wanted <= 2 * current
    assert wanted >= min(cap, current / 2)


@given(st.integers(min_value=1, max_value=1000), CURRENT)
def test_alone_it_settles_with_a_short_queue_on_the_server(seats: int, start: int) -> None:
    current = start
    for _ in range(20):
        current = next_concurrency(seen(current, seats), current)
    assert next_concurrency(seen(current, seats), current) == current
    load = seen(current, seats)
    assert load.waiting <= max(1, seats // 8) + 1
    assert current == CAP or load.waiting >= 1


@given(st.integers(min_value=1, max_value=CAP - 40), st.integers(min_value=1, max_value=CAP))
def test_a_longer_queue_never_asks_for_more(running: int, current: int) -> None:
    wanted = [next_concurrency(Load(running, waiting), current) for waiting in range(1, 200)]
    assert wanted == sorted(wanted, reverse=True)


@given(st.integers(min_value=0, max_value=300), CURRENT)
def test_no_queue_never_asks_for_less(running: int, current: int) -> None:
    assert next_concurrency(Load(running, 0), current) >= current


def test_two_clients_share_a_server_and_none_is_starved() -> None:
    ours, theirs = START, 200
    for _ in range(30):
        load = seen(ours + theirs, 64)
        ours, theirs = next_concurrency(load, ours), next_concurrency(load, theirs)
    assert ours >= 5
    assert 64 < ours + theirs <= 64 + 8 + 2


def test_it_does_not_grow_where_the_server_is_not_what_holds_us_back() -> None:
    assert next_concurrency(Load(running=3, waiting=0), 16) == 16
