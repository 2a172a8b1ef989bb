"""Each failure that a real server has answered becomes the right error, with the server's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    ServerOverloadedError,
)
from abstractcore.wire.failure import holds_failure, read_failure, to_error
from tests.recordings import VERSIONS, Recording, probe_names, recorded

URL = "http://h/v1/x"


def failed(version: str) -> list[str]:
    return [probe for probe in probe_names(version) if recorded(version, probe).status >= 400]


def disguised(version: str) -> list[str]:
    """Probes that were answered with 200 and an error as body."""
    return [
        probe
        for probe in probe_names(version)
        if recorded(version, probe).status == 200
        and recorded(version, probe).body.startswith((b'{"error"', b'{"object":"error"'))
    ]


def error_of(found: Recording) -> ProviderError:
    return to_error(read_failure(found.body), found.status, found.headers, provider="vllm", url=URL, model="m")


def words_of(found: Recording) -> str:
    """The server's own words, wherever this release puts them."""
    if not found.body:
        return ""
    if not found.body.startswith(b"{"):
        return found.body.decode()
    document = found.json()
    inner = document.get("error", document)
    words = inner if isinstance(inner, str) else inner.get("message", inner.get("detail"))
    assert isinstance(words, str)
    return words


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_failure_keeps_the_servers_words(version: str) -> None:
    for probe in failed(version):
        found = recorded(version, probe)
        error = error_of(found)
        assert error.status == found.status, probe
        assert error.server_message == words_of(found), probe
        assert words_of(found) in str(error), probe
        assert (error.provider, error.url, error.model) == ("vllm", URL, "m")


KINDS = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: AuthenticationError,
    405: ProviderAPIError,
    500: ProviderAPIError,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_failure_is_of_the_kind_of_its_status(version: str) -> None:
    for probe in failed(version):
        found = recorded(version, probe)
        missing = ModelNotFoundError if b"error" in found.body else ProviderAPIError
        kind = missing if found.status == 404 else KINDS[found.status]
        error = error_of(found)
        assert type(error) is (ContextLengthError if error.param == "input_tokens" else kind), probe


@pytest.mark.parametrize("version", VERSIONS[:5])
def test_a_failure_inside_a_200_answer_is_told_by_its_own_status(version: str) -> None:
    probes = disguised(version)
    assert {"embeddings", "score", "rerank"} <= set(probes)
    for probe in probes:
        found = recorded(version, probe)
        assert holds_failure(found.json()), probe
        error = error_of(found)
        assert isinstance(error, InvalidRequestError), probe
        assert error.status == 400
        assert "does not support" in str(error)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_answer_holds_no_failure(version: str) -> None:
    for probe in ("chat", "completion", "GET /v1/models", "tokenize prompt"):
        assert not holds_failure(recorded(version, probe).json())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_model_is_told_as_such(version: str) -> None:
    error = error_of(recorded(version, "bad model"))
    assert isinstance(error, ModelNotFoundError)
    assert "does not exist" in str(error)


@pytest.mark.parametrize("version", ["0.16.0", "0.24.0", "0.32.0"])
def test_newer_releases_name_the_field(version: str) -> None:
    assert error_of(recorded(version, "max_tokens too big")).param == "max_tokens"


SHAPES = [
    (b'{"error": {"message": "no", "type": "T", "param": "p", "code": 7}}', "no", "7", "p"),
    (b'{"error": {"message": "no", "type": "T"}}', "no", "T", None),
    (b'{"object": "error", "message": "no", "type": "T", "code": 400}', "no", "400", None),
    (b'{"error": "no"}', "no", None, None),
    (b'{"detail": "no"}', "no", None, None),
    (
        b'{"detail": [{"loc": ["body", "n"], "msg": "too small"}, "and more"]}',
        "body.n: too small; and more",
        None,
        None,
    ),
    (b'{"message": "no"}', "no", None, None),
    (b"no", "no", None, None),
    (b'"no"', "no", None, None),
    (b"<html>no</html>", "<html>no</html>", None, None),
    (b"", "", None, None),
]


@pytest.mark.parametrize(("body", "message", "code", "param"), SHAPES)
def test_every_shape_of_failure(body: bytes, message: str, code: str | None, param: str | None) -> None:
    error = to_error(read_failure(body), 400, {}, provider="vllm", url=URL)
    assert (error.server_message, error.code, error.param) == (message, code, param)


def test_an_empty_body_gives_no_reason() -> None:
    error = to_error(read_failure(b""), 500, {}, provider="vllm", url=URL)
    assert str(error) == "vllm: the server failed (HTTP 500): the server gave no reason"


@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["error", "detail", "message", "object", "code", "type", "loc"]), inner),
    max_leaves=8,
).map(lambda document: json.dumps(document).encode()), st.integers(400, 599))  # fmt: skip
def test_no_failure_body_is_too_strange(body: bytes, status: int) -> None:
    assert to_error(read_failure(body), status, {}, provider="vllm", url=URL).status == status


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequestError), (413, InvalidRequestError), (422, InvalidRequestError), (401, AuthenticationError),
     (403, AuthenticationError), (429, RateLimitError), (503, ServerOverloadedError), (529, ServerOverloadedError),
     (500, ProviderAPIError), (502, ProviderAPIError), (404, ProviderAPIError), (302, ProviderAPIError)],
)  # fmt: skip
def test_the_status_makes_the_kind(status: int, kind: type[ProviderError]) -> None:
    assert type(to_error(read_failure(b"no"), status, {}, provider="vllm", url=URL)) is kind


def test_a_prompt_too_long_by_its_code() -> None:
    body = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    assert isinstance(to_error(read_failure(body), 400, {}, provider="vllm", url=URL), ContextLengthError)


@pytest.mark.parametrize(("value", "seconds"), [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("", None)])
def test_the_time_to_wait(value: str, seconds: float | None) -> None:
    headers = {"retry-after": value, "x-request-id": "r1"}
    error = to_error(read_failure(b""), 429, headers, provider="vllm", url=URL)
    assert (error.retry_after, error.request_id) == (seconds, "r1")


def test_a_long_page_is_cut() -> None:
    page: Any = b"<html>" + b"x" * 100_000
    assert len(read_failure(page).message) == 2000


def test_an_engine_in_this_process_is_no_server() -> None:
    failure = read_failure(b'{"error": {"message": "bad top_k", "code": 400}}')
    url = "local://huggingface/v1/chat/completions"
    error = to_error(failure, 400, {}, provider="huggingface", url=url)
    assert error.message == "huggingface: the engine refuses the request: bad top_k"
