"""The client bench reports what it measured, and the committed report is that of the committed figures."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import client_page

RESULTS = Path(__file__).parents[3] / "bench" / "results"


def cells(us: float) -> dict[str, Any]:
    return {name: {"us": us, "quartiles": [us, us, us]} for name in client_page.CELLS}


FOUND: dict[str, Any] = {
    "facts": {
        "kernel": "6.1", "python": "3.11", "cpus": 2, "load": [0.1, 0.2], "seconds": 9, "rounds": 3, "tokens": 256,
        "pace_ms": 3,
    },
    "clients": [
        {"client": "floor", "version": "", "wrong": 0, **cells(10.0)},
        {"client": "abstractcore", "version": "1.0", "wrong": 0, **cells(15.0)},
        {"client": "openai", "version": "3.0", "wrong": 1, **cells(600.0)},
    ],
    "imports": [
        {"client": "abstractcore", "bare": {"ms": 9.0}, "import": {"ms": 1.0}, "made": {"ms": 80.0},
         "answer": {"ms": 95.0}, "help": {"ms": 100.0}},
    ],
}  # fmt: skip


def test_all_goals_are_reached_or_not_by_their_figures() -> None:
    assert client_page.goals(FOUND).count("| yes |") == len(client_page.GOALS)
    slow = deepcopy(FOUND)
    slow["clients"][1] |= cells(200.0)
    slow["imports"][0]["made"]["ms"] = 91.0
    rows = [line.split(" | ") for line in client_page.goals(slow).splitlines()[2:]]
    missed = [row[0].removeprefix("| ") for row in rows if row[-1] == "**no** |"]
    assert missed == [goal.what for goal in client_page.GOALS if " ours" in goal.what or "create_llm" in goal.what]


def test_a_client_that_was_left_out_is_no_goal() -> None:
    alone = {**FOUND, "clients": FOUND["clients"][1:2]}
    assert len(client_page.goals(alone).splitlines()) == 2 + 3  # head, imports
    assert "| abstractcore 1.0 | 15.0 |  |" in client_page.costs(alone)
    ET.fromstring(client_page.figure(alone))


def test_costs_are_shown_beside_the_floor_and_wrong_answers_are_not_hidden() -> None:
    assert "| openai 3.0 | 600 | **60** |" in client_page.costs(FOUND)
    assert client_page.costs(FOUND).splitlines()[-1].endswith("| 1 |")


@pytest.mark.parametrize(("value", "shown"), [(0.456, "0.46"), (2.999, "3.00"), (12.34, "12.3"), (1234.5, "1,234")])
def test_figures_have_the_digits_that_mean_something(value: float, shown: str) -> None:
    assert client_page.number(value) == shown


def test_bars_grow_with_the_cost_and_stay_within_the_figure() -> None:
    dear = deepcopy(FOUND)
    dear["clients"][2] |= cells(1e9)
    bars = [
        float(one.attrib["width"])
        for one in ET.fromstring(client_page.figure(dear)).iter("{http://www.w3.org/2000/svg}rect")
        if "class" in one.attrib
    ]
    assert bars[0] < bars[1] < bars[2] == 430


def test_the_committed_report_is_that_of_the_committed_figures() -> None:
    found = json.loads((RESULTS / "clients.json").read_text(encoding="utf-8"))
    assert (RESULTS / "clients.md").read_text(encoding="utf-8").strip() == client_page.page(found).strip()
    assert (RESULTS / "clients.svg").read_text(encoding="utf-8").strip() == client_page.figure(found).strip()
    assert all(row["wrong"] == 0 for row in found["clients"])
