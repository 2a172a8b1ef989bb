"""The address that a provider talks to, and the plan that sends one request to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import ConfigurationError, ConnectionFailedError, ProviderError, RequestTimeoutError
from ..transport.retry import RetryBudget, RetryPolicy
from ..wire.call import READ, Answer, Call, Pause, Plan, ReadWithin, Timeouts
from ..wire.credentials import hide, secrets_of
from ..wire.failure import read_failure, to_error
from ..wire.openai import encode

_MOST_SAID: Final = 1 << 20
_E = TypeVar("_E", bound=Exception)
_F = TypeVar("_F", ConnectionFailedError, RequestTimeoutError)


class Endpoint(Struct, frozen=True, eq=False):
    """A server: where it is, how to name oneself, how long to wait.

    Args:
        provider: Name of the backend, for errors.
        base_url: Address with the protocol's prefix, such as ``http://localhost:8000/v1``.
        headers: Sent with every request.
        timeouts: Limits of a request that names none.
        retry: When to repeat a request.
        budget: How many repeats are left.
        down_hint: What to do when nothing answers.
        key_hint: What to do when the key is refused.
    """

    provider: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    budget: RetryBudget = field(default_factory=RetryBudget)
    down_hint: str | None = None
    key_hint: str | None = None
    prefix: str = "/v1"
    """What the base URL ends in."""

    def __repr__(self) -> str:
        return f"Endpoint({self.provider}, {self.base_url})"  # the headers hold the key

    @property
    def root(self) -> str:
        """The address without the prefix of the protocol."""
        return self.base_url.removesuffix(self.prefix)

    def discreet(self, error: _E) -> _E:
        """An error that may quote the server, without the key if the server repeated it."""
        hide(error, secrets_of(self.headers))
        return error

    def get(self, url: str, *, timeouts: Timeouts | None = None) -> Call:
        """A request that changes nothing."""
        return Call("GET", url, self.headers, timeouts=timeouts or self.timeouts, repeatable=True)

    def post(
        self,
        url: str,
        body: Mapping[str, Any],
        *,
        stream: bool = False,
        timeouts: Timeouts | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Call:
        """A request with a JSON body."""
        return Call(
            "POST",
            url,
            {**self.headers, "content-type": "application/json", **(headers or {})},
            encode(body),
            stream=stream,
            timeouts=timeouts or self.timeouts,
            repeatable=repeatable,
        )


def base_url_of(text: str, prefix: str = "/v1") -> str:
    """Brings the forms in which people write a server's address into one.

    Takes it with or without scheme, trailing slash and ``/v1``; ``unix:///run/vllm.sock`` becomes
    ``http+unix://%2Frun%2Fvllm.sock/v1``.

    Args:
        text: What was written.
        prefix: What the protocol's paths begin with.

    Raises:
        ConfigurationError: It is not the address of a server.
    """
    url = text.strip()
    url = url if url.endswith("://") else url.rstrip("/")
    if url.startswith("unix:"):
        from urllib.parse import quote

        path = url.removeprefix("unix:").removeprefix("//").removesuffix(prefix)
        if not path.startswith("/"):
            raise _no_address(text, f"the path {path!r} of the socket is not absolute")
        url = f"http+unix://{quote(path, safe='')}"
    elif "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        is_address = parts.hostname is not None and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise _no_address(text, str(error)) from None
    if parts.scheme not in ("http", "https", "http+unix") or not is_address:
        raise _no_address(text, f"scheme {parts.scheme!r}, host {parts.hostname!r}")
    if "@" in parts.netloc:
        raise _no_address("*@" + parts.netloc.rpartition("@")[2], "it names a user, which is not sent; pass api_key")
    if parts.query or parts.fragment:
        raise _no_address(text, "it has a query or a fragment")
    return url if url.endswith(prefix) else f"{url}{prefix}"


def _no_address(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text!r} is not the address of a server",
        why=why,
        hint="write it like http://localhost:8000/v1, http://[::1]:8000 or unix:///run/vllm.sock",
    )


def send(endpoint: Endpoint, call: Call) -> Plan[Answer]:
    """Sends a request, again where policy, budget and time limit allow it; gives the answer whatever its status."""
    started = time.monotonic()
    retries: list[str] = []
    while True:
        attempt = len(retries) + 1
        try:
            answer: Answer = yield _in_time_left(call, started) if retries else call
        except RequestTimeoutError as error:
            raise _after(
                retries, explained(endpoint, error) if error.phase == "connect" else error
            ) from error.__cause__
        except ConnectionFailedError as error:
            wait = _granted(endpoint, call, started, endpoint.retry.after_failure(attempt, error, call))
            if wait is None:
                raise _after(retries, explained(endpoint, error)) from error.__cause__
            why = error.message
        else:
            asked = endpoint.retry.after_answer(attempt, answer)
            if answer.status not in endpoint.retry.statuses:
                endpoint.budget.answered()
            wait = _granted(endpoint, call, started, asked)
            if wait is None:
                return replace(answer, retries=tuple(retries)) if retries else answer
            why = f"HTTP {answer.status}"
        retries.append(f"{why}; sent again after {wait:.2f} s")
        yield Pause(wait)


def _after(retries: list[str], error: _F) -> _F:
    """Adds what became of the attempts before: what broke first says more than what broke last."""
    if retries:
        error.why = "; ".join(filter(None, (error.why, *(f"before that: {retry}" for retry in retries))))
    return error


def _granted(endpoint: Endpoint, call: Call, started: float, wait: float | None) -> float | None:
    """The wait, if there is time for it and a repeat left."""
    total = call.timeouts.total
    if wait is None or (total is not None and time.monotonic() - started + wait >= total):
        return None
    return wait if endpoint.budget.take() else None


def _in_time_left(call: Call, started: float) -> Call:
    """The call as it is sent again: the limit for all of it holds for all attempts together."""
    limits = call.timeouts
    if limits.total is None:
        return call
    return replace(call, timeouts=replace(limits, total=max(0.0, limits.total - (time.monotonic() - started))))


def explained(endpoint: Endpoint, error: _F) -> _F:
    """Adds what the transport can't know: which backend it is, how one starts it, what is between here and there."""
    error.provider = endpoint.provider
    if isinstance(error, ConnectionFailedError) and error.local:
        return error
    from .whereabouts import cause_of  # loaded when something failed

    cause = cause_of(endpoint.base_url, error)
    if cause is not None:
        error.why, error.message, error.hint = error.message, cause.message, cause.hint
    elif isinstance(error, ConnectionFailedError) and error.refused:
        error.why, error.message = error.message, f"no {endpoint.provider} server answers at {endpoint.base_url}"
    error.args = (error.message,)
    error.hint = error.hint or endpoint.down_hint
    return error


def checked(endpoint: Endpoint, call: Call, *, model: str | None = None) -> Plan[Answer]:
    """Sends a request and gives its answer if the status is 2xx.

    Raises:
        ProviderError: The status says failure; carries the server's message.
    """
    answer = yield from send(endpoint, call)
    if not 200 <= answer.status < 300:
        body = (yield from _rest(call.timeouts.idle)) if call.stream else answer.body
        raise failed(endpoint, call, answer, body, model=model)
    return answer


def failed(endpoint: Endpoint, call: Call, answer: Answer, body: bytes, *, model: str | None = None) -> ProviderError:
    """The error for a failure answer, or for a failure inside a 200 answer."""
    error = to_error(
        read_failure(body), answer.status, answer.headers, provider=endpoint.provider, url=call.url, model=model
    )
    if error.status in (401, 403):
        error.hint = endpoint.key_hint
    elif 300 <= answer.status < 400:
        error.hint = f"the server redirects to {answer.headers.get('location')}; give that address if you trust it"
    elif error.status in (404, 405) and error.code is None:
        error.hint = f"is {endpoint.base_url} the right address?" + (
            f" It should end in {endpoint.prefix}" if endpoint.prefix else ""
        )
    return endpoint.discreet(error)


def _rest(seconds: float | None) -> Plan[bytes]:
    """What a server says besides a status that is a failure by itself; no more than it says in time, and in a MiB."""
    parts: list[bytes] = []
    until = None if seconds is None else time.monotonic() + seconds
    try:
        while sum(map(len, parts)) < _MOST_SAID:
            data = yield READ if until is None else ReadWithin(max(0.0, until - time.monotonic()))
            if not data:
                break
            parts.append(data)
    except (ConnectionFailedError, RequestTimeoutError):
        pass  # the status has told what failed
    return b"".join(parts)
