"""Which replica gets a request."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.server.choice import SLACK, Standing, choose, conversation_of

STANDINGS = st.lists(
    st.builds(Standing, st.uuids().map(str), st.integers(0, 200), st.integers(0, 1000), st.booleans()),
    max_size=8,
    unique_by=lambda row: row.name,
)
KEYS = st.none() | st.binary(min_size=1, max_size=32)


def fields(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


def say(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@given(STANDINGS, KEYS)
def test_a_full_replica_gets_nothing_and_one_with_room_is_found(rows: list[Standing], key: bytes | None) -> None:
    index = choose(rows, key)
    if all(row.full for row in rows):
        assert index is None
    else:
        assert index is not None
        assert not rows[index].full


@given(STANDINGS, KEYS)
def test_nobody_waits_behind_a_replica_that_is_clearly_busier(rows: list[Standing], key: bytes | None) -> None:
    index = choose(rows, key)
    if index is not None:
        least = min(row.load for row in rows if not row.full)
        assert rows[index].load <= (least if key is None else 2 * least + SLACK)


@given(STANDINGS.filter(lambda rows: len(rows) > 1), st.binary(min_size=1, max_size=32), st.randoms())
def test_a_conversation_stays_where_it_is(rows: list[Standing], key: bytes, random: object) -> None:
    """Whatever the order of the replicas, and when another one than its own goes away."""
    idle = [Standing(row.name, 0, row.served) for row in rows]
    index = choose(idle, key)
    assert index is not None
    home = idle[index].name
    turned = idle[1:] + idle[:1]
    assert turned[choose(turned, key) or 0].name == home
    for gone in idle:
        left = [row for row in idle if row is not gone]
        if gone.name != home:
            assert left[choose(left, key) or 0].name == home


def test_conversations_are_spread_evenly() -> None:
    rows = [Standing(f"10.0.0.{number}:8000", 0, 0) for number in range(4)]
    homes = [choose(rows, f"conversation {number}".encode()) for number in range(400)]
    assert all(60 < homes.count(index) < 140 for index in range(4))


def test_a_conversation_moves_on_when_its_home_is_clearly_busier_and_always_to_the_same_one() -> None:
    rows = [Standing(f"r{number}", 0, 0) for number in range(3)]
    home = choose(rows, b"k")
    assert home is not None
    busy = [row._replace(load=SLACK + 1) if index == home else row for index, row in enumerate(rows)]
    second = choose(busy, b"k")
    assert second not in (None, home)
    assert choose(busy, b"k") == second


def test_requests_without_a_conversation_take_turns() -> None:
    assert choose([Standing("a", 1, 5), Standing("b", 1, 4), Standing("c", 2, 0)], None) == 1


def test_a_conversation_keeps_its_key_while_it_grows() -> None:
    first = [say("system", "be brief"), say("user", "hello")]
    later = [*first, say("assistant", "hi"), say("user", "and then?")]
    key = conversation_of(fields(messages=first), "m")
    assert key is not None
    assert conversation_of(fields(messages=later, temperature=1), "m") == key
    assert conversation_of(fields(messages=[first[0], say("user", "hello there")]), "m") != key
    assert conversation_of(fields(messages=first), "an adapter") != key


def test_a_text_prompt_is_known_by_its_beginning() -> None:
    long = "x" * 5000
    assert conversation_of(fields(prompt=long), "m") == conversation_of(fields(prompt=long + "y"), "m")
    assert conversation_of(fields(prompt="a"), "m") != conversation_of(fields(prompt="b"), "m")


def test_what_is_no_conversation_has_no_key() -> None:
    assert conversation_of(fields(input="x"), "m") is None
    assert conversation_of(fields(messages="no list"), "m") is None
    assert conversation_of(fields(messages=[1, 2]), "m") is None
