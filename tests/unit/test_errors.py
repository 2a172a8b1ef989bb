"""The error tree, and how an error reads."""

from __future__ import annotations

import re

import pytest

from abstractcore import errors
from abstractcore.errors import (
    AbstractCoreError,
    AdapterError,
    ConfigurationError,
    ConstraintViolationError,
    MissingExtraError,
    ProviderError,
    TruncatedOutputError,
    UnsupportedFeatureError,
)

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AbstractCoreError)]


def drawn() -> dict[str, str | None]:
    """Each class in the drawing of the module's docstring, with the one that it hangs on."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in str(errors.__doc__).splitlines():
        found = re.match(r"^([\s|`-]*)([A-Z]\w+Error)\b", line)
        if found:
            depth = len(found[1])
            while path and path[-1][0] >= depth:
                path.pop()
            parents[found[2]] = path[-1][1] if path else None
            path.append((depth, found[2]))
    return parents


def test_the_drawing_is_the_tree() -> None:
    real: dict[str, str | None] = {kind.__name__: kind.__bases__[0].__name__ for kind in TREE}
    real["AbstractCoreError"] = None
    assert drawn() == real


def test_an_error_reads_as_what_why_and_try() -> None:
    error = AbstractCoreError("it failed", why="the disk is full", hint="df -h")
    assert str(error) == "it failed\nwhy: the disk is full\ntry: df -h"
    assert error.args == ("it failed",)


def test_nothing_is_said_twice() -> None:
    assert (
        str(AbstractCoreError("it failed: the disk is full", why="the disk is full")) == "it failed: the disk is full"
    )
    assert str(AbstractCoreError("it failed")) == "it failed"


def test_the_servers_words_are_the_reason_unless_there_is_a_better_one() -> None:
    assert ProviderError("x", server_message="no such model").why == "no such model"
    assert ProviderError("x", server_message="no such model", why="measured").why == "measured"


def test_a_provider_error_carries_what_is_known() -> None:
    fields = {
        "provider": "vllm", "model": "m", "url": "http://h/v1", "status": 429, "request_id": "r", "server_message": "s",
        "code": "c", "param": "p", "retry_after": 2.0,
    }  # fmt: skip
    error = ProviderError("x", **fields)  # type: ignore[arg-type]
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize("kind", [kind for kind in TREE if issubclass(kind, ProviderError)])
def test_every_provider_error_is_made_alike(kind: type[ProviderError]) -> None:
    error = kind("x", provider="vllm", status=400)
    assert (error.provider, error.status, error.message) == ("vllm", 400, "x")


def test_an_unsupported_feature_says_what_would_work() -> None:
    error = UnsupportedFeatureError(
        "no", feature="guided_regex", provider="vllm", server_version="0.7.0", alternatives=["a", "b"]
    )
    assert (error.feature, error.server_version, error.alternatives) == ("guided_regex", "0.7.0", ("a", "b"))
    assert error.hint == "a; b"
    assert UnsupportedFeatureError("no", feature="x", provider="vllm").hint is None


def test_a_violation_keeps_text_constraint_and_spelling() -> None:
    error = TruncatedOutputError("cut", text="ab", constraint="c", spelling="guided_regex")
    assert (error.text, error.partial, error.constraint, error.spelling) == ("ab", "ab", "c", "guided_regex")
    assert isinstance(error, ConstraintViolationError)


def test_handlers_of_old_find_what_they_look_for() -> None:
    assert issubclass(MissingExtraError, ImportError)
    assert issubclass(MissingExtraError, ConfigurationError)
    assert issubclass(AdapterError, ProviderError)
    assert not issubclass(ConstraintViolationError, ProviderError)
