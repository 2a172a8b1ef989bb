"""What takes long to compile or to prove holds up whoever asked for it, and nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from abstractcore.constraint import Grammar, Proof, Regex
from abstractcore.server import compiling
from abstractcore.server.compiling import Compiling
from tests.asgi_client import Client, client_of, fake_vllm

from .test_chat import ASKED, CHAT, completion

GRAMMAR = 'root ::= "Hello"'
SLOW: dict[str, Any] = {"guided_grammar": GRAMMAR}
PATIENCE = 20.0


def client() -> Client:
    return client_of(fake_vllm({"POST /v1/chat/completions": completion()}))


def stopping(monkeypatch: pytest.MonkeyPatch, name: str, go_on: threading.Event) -> threading.Event:
    """Has a grammar stop in one of its methods until it may go on; says that it is there."""
    reached, inner = threading.Event(), getattr(Grammar, name)

    def stop(self: Grammar, *given: Any) -> Proof | None:
        reached.set()
        assert go_on.wait(PATIENCE), "the others were not answered meanwhile"
        found: Proof | None = inner(self, *given)
        return found

    monkeypatch.setattr(Grammar, name, stop)
    return reached


@pytest.mark.parametrize("name", ["check", "prove"])
@pytest.mark.parametrize("extra", [{}, {"guided_regex": "[A-Z].*"}], ids=["passed on", "proved"])
async def test_others_are_answered_while_a_constraint_is_compiled_or_proved(
    name: str, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    reached = stopping(monkeypatch, name, go_on)
    asking = client()
    slow = asyncio.ensure_future(asking.post(CHAT, {**ASKED, **SLOW}))
    try:
        assert await asyncio.to_thread(reached.wait, PATIENCE)
        for _ in range(5):
            assert (await asking.post(CHAT, {**ASKED, **extra})).status == 200
        assert not slow.done()
    finally:
        go_on.set()
    got = await slow
    assert (got.status, got.json["abstractcore"]["constraint"]["proved"]) == (200, True)


async def test_a_promise_that_was_cheap_is_read_in_the_event_loop_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Compiling()
    fields = {"guided_regex": msgspec.Raw(b'"a+"')}
    threads = [await found.read(fields, threading.get_ident) for _ in range(3)]
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [False, True, True]
    monkeypatch.setattr(compiling, "CHEAP_SECONDS", 0.0)
    costly = {"guided_regex": msgspec.Raw(b'"b+"')}
    assert [await found.read(costly, threading.get_ident) == here for _ in range(3)] == [False] * 3
    assert await found.read({"temperature": msgspec.Raw(b"1")}, threading.get_ident) == here


async def test_what_is_known_to_be_cheap_is_bounded() -> None:
    found = Compiling()
    for number in range(compiling.KEPT + 50):
        await found.read({"guided_regex": msgspec.Raw(b"%d" % number)}, int)
    assert len(found._cheap) <= compiling.KEPT


async def test_an_error_of_a_constraint_is_the_same_in_a_thread() -> None:
    for _ in range(2):
        got = await client().post(CHAT, {**ASKED, "guided_grammar": "nothing"})
        assert (got.status, got.error["code"]) == (400, "invalid_constraint")


def test_one_matcher_serves_several_threads() -> None:
    constraint = Regex("(a|b)*c")
    outcomes: list[bool] = []

    def prove() -> None:
        outcomes.extend(constraint.prove("ab" * 200 + "c").holds for _ in range(50))

    prove_all: list[Callable[[], None]] = [prove] * 4
    threads = [threading.Thread(target=each) for each in prove_all]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert outcomes == [True] * 200
