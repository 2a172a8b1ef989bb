"""Progress is one living line on a terminal and a few lasting ones in a log."""

from __future__ import annotations

import io

import pytest

from abstractcore.cli.progress import ProgressLine
from abstractcore.deploy.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_at_once_then_every_ten_seconds_and_one_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with ProgressLine(out, clock) as line:
        for second in range(25):
            clock.now = 100.0 + second
            line(Progress("install", f"step {second}", second / 25))
        line(Progress("ready", "waiting"))
    assert out.getvalue().splitlines() == [
        "install     0 s    0%  step 0",
        "install    10 s   40%  step 10",
        "install    20 s   80%  step 20",
        "install    24 s  done",
        "ready       0 s  waiting",
        "ready       0 s  done",
    ]
    assert line.seconds == {"install": 24.0, "ready": 0.0}


def test_a_terminal_keeps_one_line_and_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    out, clock = Terminal(), Clock()
    with ProgressLine(out, clock) as line:
        line(Progress("load", "a text that is longer than the terminal is wide"))
        line(Progress("load", "short"))
    assert "\n" not in out.getvalue().rstrip("\n")
    assert max(map(len, out.getvalue().split("\r\x1b[2K"))) <= 30
    assert out.getvalue().endswith("load        0 s  done\n")


def test_after_a_failure_nothing_is_called_done() -> None:
    out = io.StringIO()

    def interrupted() -> None:
        with ProgressLine(out, Clock()) as line:
            line(Progress("install", "going on"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "done" not in out.getvalue()
