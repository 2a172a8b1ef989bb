"""The status line says what it knows, in the width that there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abstractcore.cli.chat.status import Figures, Status, figures_of, status_line
from abstractcore.types import GenerateResponse, Usage

FULL = Status("vllm", "smollm2", "sql", "json", 2048, Figures(23.46, 0.1234, 512))
WHOLE = " vllm | smollm2 | adapter sql | held to json | 23.5 tokens/s | first after 0.12 s | 512 of 2048 tokens (25%) "


def test_all_that_is_known_is_shown() -> None:
    assert status_line(FULL, 200) == WHOLE


def test_what_is_not_known_is_left_out() -> None:
    assert status_line(Status("openai", "gpt"), 80) == " openai | gpt "
    assert status_line(Status("openai", "gpt", figures=Figures(context_used=31)), 80) == " openai | gpt | 31 tokens "
    assert "/model NAME" in status_line(Status("ollama", None), 80)


def test_what_matters_least_goes_first() -> None:
    assert "first after" not in status_line(FULL, len(WHOLE) - 1)
    assert status_line(FULL, 60) == " smollm2 | adapter sql | held to json | 23.5 tokens/s "
    assert status_line(FULL, 12) == " smollm2 "


@given(st.text(max_size=20), st.integers(0, 100))
def test_it_is_one_line_that_fits_whatever_the_names(name: str, width: int) -> None:
    line = status_line(Status(name, f"m{name}", name, None, 10, FULL.figures), width)
    assert len(line) <= width
    assert not {char for char in line if ord(char) < 32 or 127 <= ord(char) < 160}


def test_figures_come_from_the_last_chunk() -> None:
    timings = {"timings": {"tokens_per_second": 20.0, "time_to_first_token": 0.1, "total": 1.0}}
    last = GenerateResponse(finish_reason="stop", usage=Usage(12, 8), metadata=timings)
    assert figures_of(last) == Figures(20.0, 0.1, 20)
    assert figures_of(GenerateResponse(finish_reason="stop")) == Figures()
