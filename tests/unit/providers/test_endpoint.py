"""The forms in which people write a server's address, and how one request is sent to it: retries, refusals, hints."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from msgspec.structs import replace

from abstractcore import (
    AuthenticationError,
    ConfigurationError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    VLLMProvider,
)
from abstractcore.providers.endpoint import Endpoint, base_url_of, checked, send
from abstractcore.transport.retry import RetryBudget, RetryPolicy
from abstractcore.wire.call import READ, Answer, Call, Pause, Timeouts

SOCKET = "http+unix://%2Frun%2Fvllm.sock/v1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://gpu:8000/v1", "http://gpu:8000/v1"),
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/", "http://gpu:8000/v1"),
        (" gpu:8000\n", "http://gpu:8000/v1"),
        ("localhost", "http://localhost/v1"),
        ("10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("http://[2001:db8::7]/v1", "http://[2001:db8::7]/v1"),
        ("https://host/vllm", "https://host/vllm/v1"),
        ("https://host/vllm/v1/", "https://host/vllm/v1"),
        ("unix:///run/vllm.sock", SOCKET),
        ("unix:///run/vllm.sock/", SOCKET),
        ("unix:///run/vllm.sock/v1", SOCKET),
        ("unix:/run/vllm.sock", SOCKET),
        ("http+unix://%2Frun%2Fvllm.sock", SOCKET),
        (SOCKET, SOCKET),
    ],
)
def test_one_meaning_for_each_form(written: str, meant: str) -> None:
    assert base_url_of(written) == meant
    assert base_url_of(meant) == meant


@pytest.mark.parametrize(
    "written",
    ["", "/", "http://", "ftp://gpu:8000", "::1", "http://::1/v1", "gpu:port", "gpu:99999", "http://[::1/v1", "http://:8000",
     "unix://", "unix://vllm.sock", "unix:./vllm.sock", "http://gpu:8000/v1?key=1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not the address of a server[\s\S]*try: write it like"):
        base_url_of(written)


def test_a_secret_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="pass api_key") as caught:
        base_url_of("http://me:sesame@gpu:8000/v1")
    assert "sesame" not in str(caught.value)


def test_the_environment_takes_the_same_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "gpu-1:8000, http://gpu-2:8000/,gpu-1:8000/v1")
    llm = VLLMProvider()
    assert llm.base_url == "http://gpu-1:8000/v1"
    assert llm.base_urls == ("http://gpu-1:8000/v1", "http://gpu-2:8000/v1")


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://wrong")
    assert VLLMProvider(base_url=["a:1", "unix:///b"]).base_urls == ("http://a:1/v1", "http+unix://%2Fb/v1")
    assert VLLMProvider(base_url="a:1,b:2").base_urls == ("http://a:1/v1", "http://b:2/v1")


@pytest.mark.parametrize("written", [",", [], ["a:1", "ftp://b"]])
def test_a_list_needs_an_address(written: str | list[str]) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        VLLMProvider(base_url=written)


# --- one request -----------------------------------------------------------------------------------------------------

HERE = Endpoint(
    "vllm", "http://h:1/v1", {"authorization": "Bearer k"}, down_hint="start it", key_hint="look at the key"
)


@pytest.fixture(autouse=True)
def _full_budget() -> None:
    HERE.budget._left = RetryBudget.RESERVE


def play(plan: Generator[Any, Any, Any], *outcomes: Any) -> tuple[Any, list[Any]]:
    """Runs a plan on these outcomes; its result and its steps. Exceptions are thrown into it."""
    left, steps = list(outcomes), []
    try:
        step = next(plan)
        while True:
            steps.append(step)
            outcome = None if isinstance(step, Pause) else left.pop(0)
            step = plan.throw(outcome) if isinstance(outcome, Exception) else plan.send(outcome)
    except StopIteration as stop:
        assert not left
        return stop.value, steps


def reset(*, delivered: bool = False, refused: bool = False, local: bool = False) -> ConnectionFailedError:
    error = ConnectionFailedError("the connection failed")
    error.delivered, error.refused, error.local = delivered, refused, local
    return error


OK = Answer(200, {}, b"fine")


def test_the_root_is_the_address_without_the_protocols_prefix() -> None:
    assert Endpoint("vllm", "http://h/a/v1").root == "http://h/a"


def test_a_post_is_json_and_has_the_servers_headers() -> None:
    call = HERE.post("http://h:1/x", {"a": 1}, headers={"x-more": "1"})
    assert (call.method, call.body) == ("POST", b'{"a":1}')
    assert call.headers == {"authorization": "Bearer k", "content-type": "application/json", "x-more": "1"}


def test_a_lost_connection_is_tried_again() -> None:
    answer, steps = play(send(HERE, HERE.get("u")), reset(), reset(), OK)
    assert answer.body == OK.body
    first, second = [step.seconds for step in steps if isinstance(step, Pause)]
    assert 0.375 <= first <= 0.5, "clients that failed together don't return together"
    assert 0.75 <= second <= 1.0
    assert [said.partition(";")[0] for said in answer.retries] == ["the connection failed"] * 2


def test_the_third_loss_is_the_last() -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        play(send(HERE, HERE.get("u")), reset(), reset(), reset())
    assert caught.value.hint == "start it"


def test_what_broke_first_is_told_beside_what_broke_last() -> None:
    """A server that dies under a request: that nobody answers any more is not all that there is to know."""
    broke = ConnectionFailedError("the connection broke before any answer")
    with pytest.raises(ConnectionFailedError, match="no vllm server answers") as caught:
        play(send(HERE, HERE.get("u")), broke, reset(refused=True))
    assert "before that: the connection broke before any answer; sent again after" in str(caught.value)


@pytest.mark.parametrize("error", [reset(delivered=True), reset(refused=True), reset(local=True)])
def test_what_was_delivered_or_refused_is_not_tried_again(error: ConnectionFailedError) -> None:
    with pytest.raises(ConnectionFailedError):
        play(send(HERE, HERE.get("u")), error)


def test_what_may_not_be_repeated_is_not() -> None:
    with pytest.raises(ConnectionFailedError):
        play(send(HERE, HERE.post("u", {}, repeatable=False)), reset())


def test_a_server_that_is_down_is_named_with_the_command_that_starts_it() -> None:
    with pytest.raises(ConnectionFailedError, match=r"no vllm server answers at http://h:1/v1") as caught:
        play(send(HERE, HERE.get("u")), reset(refused=True))
    assert (caught.value.why, caught.value.hint, caught.value.provider) == ("the connection failed", "start it", "vllm")


def test_a_time_limit_is_not_tried_again() -> None:
    with pytest.raises(RequestTimeoutError):
        play(send(HERE, HERE.get("u")), RequestTimeoutError("too slow"))


@pytest.mark.parametrize("status", [429, 503])
def test_later_is_obeyed(status: int) -> None:
    answer, steps = play(send(HERE, HERE.get("u")), Answer(status, {"retry-after": "2"}), OK)
    assert (answer.body, len(answer.retries)) == (OK.body, 1)
    assert f"HTTP {status}" in answer.retries[0]
    assert steps[1] == Pause(2.0)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0.0, 0.0),
        ("in 25 seconds", 1.0, 25.0),
        ("-5", 0.0, 0.0),
        ("soon", 0.375, 0.5),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0.375, 0.5),
        ("nan", 0.375, 0.5),
        ("inf", 0.375, 0.5),
    ],
    ids=["past date", "date", "negative", "no number", "no date", "nan", "infinite"],
)
def test_later_is_understood_however_it_is_said(said: str, least: float, most: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=25), usegmt=True)
    answer = Answer(503, {"retry-after": date if said == "in 25 seconds" else said})
    _, steps = play(send(HERE, HERE.get("u")), answer, OK)
    assert isinstance(steps[1], Pause)
    assert least <= steps[1].seconds <= most


def test_a_wait_that_is_too_long_is_not_taken() -> None:
    answer, steps = play(send(HERE, HERE.get("u")), Answer(429, {"retry-after": "3600"}))
    assert answer.status == 429
    assert len(steps) == 1


def test_a_wait_beyond_the_limit_for_the_whole_call_is_not_taken() -> None:
    call = replace(HERE.get("u"), timeouts=Timeouts(total=0.3))
    answer, steps = play(send(HERE, call), Answer(503, {}))
    assert (answer.status, len(steps)) == (503, 1)


def test_all_attempts_share_the_limit_for_the_whole_call() -> None:
    call = replace(HERE.get("u"), timeouts=Timeouts(total=60.0))
    _, steps = play(send(HERE, call), Answer(503, {}), OK)
    assert isinstance(steps[2], Call)
    assert steps[2].timeouts.total is not None
    assert steps[2].timeouts.total < 60.0


def test_in_an_outage_repeats_do_not_become_the_load() -> None:
    client = Endpoint("vllm", "http://h/v1")
    sent = 0
    for _ in range(1000):
        plan = send(client, client.get("u"))
        step: Any = next(plan)
        try:
            while True:
                sent += isinstance(step, Call)
                step = plan.send(None if isinstance(step, Pause) else Answer(503, {"retry-after": "0"}))
        except StopIteration:
            pass
    assert 1000 < sent <= 1000 + RetryBudget.RESERVE


def test_the_policy_can_be_none() -> None:
    once = Endpoint("vllm", "http://h/v1", retry=RetryPolicy(attempts=1))
    assert play(send(once, once.get("u")), Answer(503, {}))[0].status == 503


@pytest.mark.parametrize(
    ("status", "body", "kind", "hint"),
    [
        (401, b'{"error": "Unauthorized"}', AuthenticationError, "look at the key"),
        (403, b"", AuthenticationError, "look at the key"),
        (404, b'{"detail": "Not Found"}', ProviderAPIError, "should end in /v1"),
        (405, b'{"detail": "Method Not Allowed"}', ProviderAPIError, "should end in /v1"),
        (404, b'{"error": {"message": "no model x", "code": 404}}', ModelNotFoundError, None),
        (400, b'{"error": {"message": "bad"}}', InvalidRequestError, None),
        (500, b"", ProviderAPIError, None),
    ],
)
def test_each_refusal_has_its_kind_and_hint(
    status: int, body: bytes, kind: type[ProviderError], hint: str | None
) -> None:
    with pytest.raises(kind) as caught:
        play(checked(HERE, HERE.get("http://h:1/v1/x")), Answer(status, {}, body))
    assert caught.value.url == "http://h:1/v1/x"
    assert (hint or "") in (caught.value.hint or "")
    assert (caught.value.hint is None) == (hint is None)


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimitError), (503, ServerOverloadedError)])
def test_a_busy_server_is_told_after_three_tries(status: int, kind: type[ProviderError]) -> None:
    with pytest.raises(kind):
        play(checked(HERE, HERE.get("u")), *[Answer(status, {})] * 3)


def test_a_redirect_is_not_followed_but_told() -> None:
    with pytest.raises(ProviderAPIError) as caught:
        play(checked(HERE, HERE.get("u")), Answer(307, {"location": "http://elsewhere/"}))
    assert "http://elsewhere/" in str(caught.value.hint)


def test_the_refusal_of_a_stream_is_read_to_its_end() -> None:
    call = Call("POST", "http://h:1/v1/x", stream=True)
    with pytest.raises(InvalidRequestError, match="too long") as caught:
        play(checked(HERE, call), Answer(400, {}), b'{"error": {"mess', b'age": "too long"}}', b"")
    assert caught.value.status == 400


@pytest.mark.parametrize("end", [RequestTimeoutError("silent"), reset(delivered=True)], ids=["stalls", "breaks"])
def test_a_refusal_whose_words_never_end_is_a_refusal(end: ProviderError) -> None:
    call = Call("POST", "http://h:1/v1/x", stream=True)
    with pytest.raises(AuthenticationError):
        play(checked(HERE, call), Answer(401, {}), b'{"error": {"mess', end)


def test_a_refusal_is_not_read_without_end() -> None:
    call = Call("POST", "http://h:1/v1/x", stream=True)
    with pytest.raises(InvalidRequestError):
        play(checked(HERE, call), Answer(400, {}), *[bytes(1 << 19)] * 2)


def test_only_a_failed_stream_is_read() -> None:
    _, steps = play(checked(HERE, Call("POST", "u", stream=True)), OK)
    assert READ not in steps
