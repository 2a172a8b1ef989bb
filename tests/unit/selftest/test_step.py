"""Steps: what passes, what fails, what is not tried, and what a lost server means for the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abstractcore.errors import AbstractCoreError, ConnectionFailedError, UnsupportedFeatureError
from abstractcore.selftest.step import BrokenPromiseError, NotTriedError, Step, Verdict, fails, perform
from abstractcore.selftest.subject import Subject
from abstractcore.testing import EchoProvider


def raising(error: Exception) -> Callable[[Subject], str]:
    def run(_: Subject) -> str:
        raise error

    return run


def test_a_step_that_gives_what_it_measured_passed() -> None:
    (outcome,) = perform([Step("library.a", "a", lambda subject: subject.llm.provider)], Subject(EchoProvider()))
    assert (outcome.verdict, outcome.measured) == (Verdict.PASSED, "echo")
    assert not fails([outcome])


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (NotTriedError("no adapter", hint="name one"), Verdict.NOT_TRIED),
        (UnsupportedFeatureError("no beams", feature="beam", provider="x"), Verdict.NOT_TRIED),
        (BrokenPromiseError("two of three", why="seen"), Verdict.FAILED),
        (AbstractCoreError("server said no"), Verdict.FAILED),
        (KeyError("a bug"), Verdict.FAILED),
    ],
)
def test_errors_become_outcomes(error: Exception, verdict: Verdict) -> None:
    steps = [Step("library.a", "a", raising(error)), Step("library.b", "b", lambda _: "fine")]
    first, second = perform(steps, Subject(EchoProvider()))
    assert first.verdict is verdict
    assert str(error.args[0]) in first.measured
    assert second.verdict is Verdict.PASSED, "one step does not hide the next"
    assert fails([first, second]) is (verdict is Verdict.FAILED)


def test_a_lost_server_is_said_once() -> None:
    steps = [Step("library.a", "a", raising(ConnectionFailedError("nobody there"))), Step("library.b", "b", str)]
    first, second = perform(steps, Subject(EchoProvider()))
    assert first.unreachable
    assert (second.verdict, second.measured) == (Verdict.NOT_TRIED, "library.a could not reach the server")
