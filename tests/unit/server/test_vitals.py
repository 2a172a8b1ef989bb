"""Whether a replica can be trusted, and how often a request may be sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import (
    AuthenticationError,
    ConnectionFailedError,
    ConstraintViolationError,
    ContextLengthError,
    InvalidRequestError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    StreamInterruptedError,
)
from abstractcore.server.vitals import LONGEST_REST, MOST_ATTEMPTS, Attempts, Budget, Fault, State, Vitals, fault_of


def timeout(phase: str) -> RequestTimeoutError:
    error = RequestTimeoutError("too slow")
    error.phase = phase
    return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ConnectionFailedError("reset"), Fault.DEAD),
        (timeout("connect"), Fault.DEAD),
        (timeout("first_byte"), Fault.NONE),
        (ServerOverloadedError("later", status=503), Fault.BUSY),
        (RateLimitError("later", status=429), Fault.BUSY),
        (ProviderAPIError("broken", status=500), Fault.SICK),
        (ProviderAPIError("not in the protocol"), Fault.SICK),
        (ProviderAPIError("teapot", status=418), Fault.NONE),
        (StreamInterruptedError("an error event"), Fault.SICK),
        (StreamInterruptedError("an error event", status=400), Fault.NONE),
        (InvalidRequestError("no", status=400), Fault.NONE),
        (ContextLengthError("too long", status=400), Fault.NONE),
        (AuthenticationError("key", status=401), Fault.NONE),
    ],
)
def test_what_a_failure_says_of_the_server(error: ProviderError, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_a_broken_promise_is_no_fault_of_the_server() -> None:
    assert not issubclass(ConstraintViolationError, ProviderError), "it is never sent to another replica"


def test_a_server_without_a_sign_of_life_is_silent() -> None:
    vitals = Vitals(patience=5.0)
    vitals.rise(now=100.0)
    assert not vitals.silent(asked_at=101.0, now=105.9)
    assert vitals.silent(asked_at=101.0, now=106.0)
    vitals.sign(now=104.0)
    assert not vitals.silent(asked_at=101.0, now=108.9)


def test_what_a_dead_server_works_on_is_given_up_only_when_it_is_silent_too() -> None:
    vitals = Vitals(patience=5.0)
    vitals.rise(now=100.0)
    assert not vitals.hopeless(now=200.0), "it is up"
    vitals.fall(now=101.0, why="its port is closed")
    vitals.sign(now=103.0)
    assert not vitals.hopeless(now=107.9), "it ends its streams in peace"
    assert vitals.hopeless(now=108.0)


def test_a_failure_puts_a_server_last_until_a_check_clears_it() -> None:
    vitals = Vitals()
    vitals.rise(now=1.0)
    vitals.fault(Fault.SICK, 2.0, "500")
    assert vitals.suspected(now=3.0)
    vitals.rise(now=4.0)
    assert not vitals.suspected(now=4.0)


def test_retry_after_is_honoured_and_capped() -> None:
    vitals = Vitals()
    vitals.fault(Fault.BUSY, 10.0, "503", retry_after=7.0)
    assert vitals.resting(now=16.9)
    assert not vitals.resting(now=17.0)
    vitals.fault(Fault.BUSY, 20.0, "503", retry_after=9e9)
    assert not vitals.resting(now=20.0 + LONGEST_REST)


def test_the_reason_of_a_fall_is_kept() -> None:
    vitals = Vitals()
    vitals.fall(1.0, "its /health answers 503")
    vitals.fault(Fault.DEAD, 2.0, "reset")
    assert (vitals.state, vitals.why, vitals.since) == (State.DOWN, "its /health answers 503", 1.0)


@given(st.lists(st.booleans(), max_size=2000))
def test_repetitions_are_a_tenth_of_all_requests(wishes: list[bool]) -> None:
    budget = Budget()
    for wants_again in wishes:
        budget.earn()
        if wants_again:
            budget.spend()
    assert budget.spent <= 10 + 0.1 * len(wishes)


def test_an_outage_repeats_a_tenth() -> None:
    budget = Budget()
    sent = 0
    for _ in range(10_000):
        budget.earn()
        attempts = Attempts(budget, made=1)
        while attempts.again(Fault.SICK, refused=False, sound=False):
            attempts.made += 1
        sent += attempts.made
    assert sent <= 11_010


@given(st.lists(st.tuples(st.sampled_from(Fault), st.booleans()), max_size=10))
def test_a_request_is_sent_three_times_at_most(faults: list[tuple[Fault, bool]]) -> None:
    attempts = Attempts(Budget(reserve=100.0), made=1)
    for fault, refused in faults:
        if not attempts.again(fault, refused=refused, sound=False):
            break
        attempts.made += 1
    assert attempts.made <= MOST_ATTEMPTS


def test_a_request_under_which_two_servers_died_is_given_to_no_third() -> None:
    attempts = Attempts(Budget(), made=1)
    assert attempts.again(Fault.DEAD, refused=False, sound=False)
    assert not attempts.again(Fault.DEAD, refused=False, sound=False)


def test_servers_that_refuse_to_connect_can_not_have_died_of_it() -> None:
    attempts = Attempts(Budget(reserve=0.0), made=1)
    assert attempts.again(Fault.DEAD, refused=True, sound=False)
    assert attempts.again(Fault.DEAD, refused=True, sound=False), "and moving costs no budget"


def test_all_that_one_replica_had_in_hand_moves_to_a_sound_one() -> None:
    budget = Budget(reserve=0.0)
    assert all(Attempts(budget, made=1).again(Fault.SICK, refused=False, sound=True) for _ in range(1000))
    assert budget.spent == 0
    assert not Attempts(budget, made=1).again(Fault.SICK, refused=False, sound=False)
    assert not Attempts(budget, made=3).again(Fault.SICK, refused=False, sound=True)
