"""The bar says how far, how fast, how much longer."""

from __future__ import annotations

import io
from typing import Any

import pytest

from abstractcore.providers.batch import BatchProgress
from abstractcore.providers.batch.progress import ProgressBar, line_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def state(**changed: Any) -> BatchProgress:
    facts = {
        "done": 50, "failed": 2, "resumed": 0, "total": 200, "in_flight": 16, "output_tokens": 4000, "seconds": 10.0,
    }  # fmt: skip
    return BatchProgress(**{**facts, **changed})


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (state(), "[#####...............] 50/200  2 failed  400 tok/s  16 in flight  0:30 left"),
        (state(failed=0, total=None), "50 done  400 tok/s  16 in flight"),
        (state(resumed=40), "[#####...............] 50/200  2 failed  400 tok/s  16 in flight  2:30 left"),
        (state(done=200, in_flight=0, seconds=4000.0), "[####################] 200/200  2 failed  1 tok/s  in 1:06:40"),
    ],
)
def test_line(progress: BatchProgress, line: str) -> None:
    assert line_of(progress) == line


def test_a_terminal_keeps_one_line_that_is_rewritten_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out, clock = Terminal(), Clock()
    bar = ProgressBar(out, clock)
    for step in range(100):
        clock.now = 100.0 + step / 100
        bar(state(done=step))
    bar.close()
    written = out.getvalue().split("\r\x1b[2K")[1:]
    assert 9 <= len(written) <= 12
    assert max(map(len, written)) <= 30
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\n")


def test_a_log_gets_a_line_every_ten_seconds_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    out, clock = io.StringIO(), Clock()
    bar = ProgressBar(out, clock)
    for second in range(25):
        clock.now = 100.0 + second
        bar(state(done=second))
    bar.close()
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["10/200", "20/200", "24/200"]
