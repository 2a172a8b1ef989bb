"""Writes are gathered over a turn of the event loop, and neither lost nor reordered."""

from __future__ import annotations

import asyncio

from abstractcore.transport.outbox import Outbox


class Written(asyncio.WriteTransport):
    """A transport that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed


async def test_what_is_written_in_one_turn_leaves_in_one_write_for_each_connection() -> None:
    loop, one, other = asyncio.get_running_loop(), Written(), Written()
    outbox = Outbox.of(loop)
    for number in b"abc":
        outbox.write(loop, one, bytes([number]))
        outbox.write(loop, other, bytes([number - 32]))
    assert not one.writes
    await asyncio.sleep(0)
    assert (one.writes, other.writes) == ([b"abc"], [b"ABC"])
    outbox.write(loop, one, b"d")
    await asyncio.sleep(0)
    assert one.writes == [b"abc", b"d"]


async def test_what_waits_is_sent_before_a_connection_is_closed_and_once() -> None:
    loop, transport = asyncio.get_running_loop(), Written()
    outbox = Outbox.of(loop)
    outbox.write(loop, transport, b"last words")
    assert outbox.waits(transport)
    outbox.send(transport)
    assert transport.writes == [b"last words"]
    assert not outbox.waits(transport)
    await asyncio.sleep(0)
    assert transport.writes == [b"last words"]


async def test_whoever_writes_without_a_pause_is_not_gathered_without_end() -> None:
    loop, many, large = asyncio.get_running_loop(), Written(), Written()
    for _ in range(1000):
        Outbox.of(loop).write(loop, many, b"12345678")
    Outbox.of(loop).write(loop, large, b"head")
    Outbox.of(loop).write(loop, large, bytes(1_000_000))
    assert sum(map(len, many.writes)) > 7000
    assert sum(map(len, large.writes)) == 1_000_004
    await asyncio.sleep(0)
    assert b"".join(many.writes) == b"12345678" * 1000


async def test_a_connection_that_was_aborted_meanwhile_gets_nothing() -> None:
    loop, aborted, alive = asyncio.get_running_loop(), Written(), Written()
    outbox = Outbox.of(loop)
    outbox.write(loop, aborted, b"a")
    outbox.write(loop, alive, b"b")
    aborted.closed = True
    await asyncio.sleep(0)
    assert (aborted.writes, alive.writes) == ([], [b"b"])


async def test_what_is_written_while_the_outbox_is_emptied_is_sent_too() -> None:
    loop = asyncio.get_running_loop()
    outbox, second = Outbox.of(loop), Written()

    class Answering(Written):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            outbox.write(loop, second, b"and more")

    outbox.write(loop, Answering(), b"first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert second.writes == [b"and more"]


def test_each_loop_has_its_own() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    assert Outbox.of(loops[0]) is Outbox.of(loops[0])
    assert Outbox.of(loops[0]) is not Outbox.of(loops[1])
    for loop in loops:
        loop.close()
