"""The tables and the figure of ``clients.py``, and what its figures are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Any

FLOOR, OURS, SDK = "floor", "abstractcore", "openai"
CELLS = {
    "request": "request",
    "requests": "request, 16 at once",
    "burst": "chunk in a burst",
    "paced": "chunk that comes alone",
}
STAGES = {
    "bare": "Python alone",
    "import": "+ import",
    "made": "+ a client made",
    "answer": "+ a first answer",
    "help": "`--help`, in all",
}
_LEFT, _BAR, _STEP, _GAP, _DECADES = 190, 430, 22, 40, 3

Found = Mapping[str, Any]
"""What ``clients.json`` holds."""


@dataclass(frozen=True)
class Goal:
    """What a figure is held to.

    Args:
        what: In words.
        measured: The figure; raises ``KeyError`` where what it is made of wasn't measured.
        limit: It may be at most this.
        least: It must be at least that, rather.
        unit: What follows the figures.
    """

    what: str
    measured: Callable[[Found], float]
    limit: float
    least: bool = False
    unit: str = " times"

    def reached(self, figure: float) -> bool:
        """Whether a figure is as good as wanted."""
        return figure >= self.limit if self.least else figure <= self.limit


def ratio(cell: str, of: str, to: str) -> Callable[[Found], float]:
    """What one client costs, as a multiple of another."""

    def measured(found: Found) -> float:
        rows = {row["client"]: row for row in found["clients"]}
        return float(rows[of][cell]["us"] / rows[to][cell]["us"])

    return measured


def stage(name: str) -> Callable[[Found], float]:
    """What ours has cost up to a stage, in milliseconds."""
    return lambda found: float({row["client"]: row for row in found["imports"]}[OURS][name]["ms"])


GOALS = (
    Goal("request, ours against the floor", ratio("request", OURS, FLOOR), 6),
    Goal("request among 16, ours against the floor", ratio("requests", OURS, FLOOR), 6),
    Goal("chunk in a burst, ours against the floor", ratio("burst", OURS, FLOOR), 5),
    Goal("chunk that comes alone, ours against the floor", ratio("paced", OURS, FLOOR), 2),
    Goal("request, the OpenAI SDK against ours", ratio("request", SDK, OURS), 20, least=True),
    Goal("request among 16, the OpenAI SDK against ours", ratio("requests", SDK, OURS), 20, least=True),
    Goal("chunk in a burst, the OpenAI SDK against ours", ratio("burst", SDK, OURS), 12, least=True),
    Goal("chunk that comes alone, the OpenAI SDK against ours", ratio("paced", SDK, OURS), 4, least=True),
    Goal("`import abstractcore`, over a bare Python", stage("import"), 10, unit=" ms"),
    Goal("the same and `create_llm('vllm')`", stage("made"), 90, unit=" ms"),
    Goal("`abstractcore --help`, in all", stage("help"), 120, unit=" ms"),
)


def page(found: Found) -> str:
    """Markdown: goals, costs, imports, and how they were measured."""
    return "\n\n".join([goals(found), costs(found), imports(found), _said(found["facts"])])


def goals(found: Found) -> str:
    """What is held to, and whether it is so."""
    rows = []
    for goal in GOALS:
        try:
            figure = goal.measured(found)
        except KeyError:
            continue  # left out this time
        bound = f"{'at least' if goal.least else 'at most'} {goal.limit:g}{goal.unit}"
        rows.append([goal.what, bound, f"**{number(figure)}**{goal.unit}", "yes" if goal.reached(figure) else "**no**"])
    return _table(["CPU time", "wanted", "measured", "reached"], rows)


def costs(found: Found) -> str:
    """What each client costs for each cell."""
    base = {row["client"]: row for row in found["clients"]}.get(FLOOR, {})
    head = ["client", *(f"{text}: µs CPU | times {FLOOR}" for text in CELLS.values()), "wrong answers"]
    rows = []
    for row in found["clients"]:
        cells = [f"{row['client']} {row['version']}".strip()]
        for name in CELLS:
            cells.append(number(row[name]["us"]))
            cells.append(f"**{number(row[name]['us'] / base[name]['us'])}**" if name in base else "")
        rows.append([*cells, str(row["wrong"])])
    return _table([part for one in head for part in one.split(" | ")], rows)


def imports(found: Found) -> str:
    """What each client costs before it has done anything."""
    rows = [
        [row["client"], *(number(row[name]["ms"]) if name in row else "" for name in STAGES)]
        for row in found["imports"]
    ]
    return _table(["CPU, ms", *STAGES.values()], rows)


def number(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:.2f}" if value < 3 else f"{value:.1f}" if value < 20 else f"{value:,.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _said(facts: Mapping[str, Any]) -> str:
    return (
        "CPU time of the client's process, user and system, all threads; the smallest of many slices of 20 ms in "
        f"{facts['rounds']} rounds in which all clients took turns. Each answer was compared with what was sent. A "
        f"request: a chat answered in one piece. A burst: {facts['tokens']} chunks in one write. A chunk that comes "
        f"alone: each {facts['pace_ms']} ms, so that each wakes the client. What a stream costs as a request is in "
        "the price of its chunks. Imports: fresh processes, less what a bare Python in the same environment takes; "
        f"`--help` includes it. Linux {facts['kernel']}, Python {facts['python']}, {facts['cpus']} CPUs, load "
        f"{facts['load'][0]} before and {facts['load'][1]} after, {facts['seconds']} s. Made by `bench/clients.py`; "
        "another machine gives other microseconds."
    )


def figure(found: Found) -> str:
    """SVG: a panel for each cell, a bar for each client, as multiples of the floor on a logarithmic scale."""
    base = {row["client"]: row for row in found["clients"]}.get(FLOOR, found["clients"][0])
    parts, top = [], 20
    for name, text in CELLS.items():
        parts.append(f'<text x="{_LEFT}" y="{top}" class="h">{escape(text)}: CPU, times the floor</text>')
        bottom = top + 10 + len(found["clients"]) * _STEP
        for power in range(_DECADES + 1):
            x = _LEFT + power * _BAR / _DECADES
            parts.append(f'<path d="M{x:.1f} {top + 6}V{bottom}" class="o"/>')
        for place, row in enumerate(found["clients"]):
            parts += _bar(row["client"], row[name]["us"] / base[name]["us"], top + 10 + place * _STEP)
        top = bottom + _GAP
    style = (
        "text{font:12px sans-serif;fill:#222}.h{font-weight:bold}.l{text-anchor:end}.b{fill:#a9bcd3}.p{fill:#e45756}"
        ".o{stroke:#bbb;stroke-dasharray:3 3}"
    )
    width = _LEFT + _BAR + 80
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">'
        f"<title>What a client costs</title><style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _bar(name: str, times: float, y: int) -> list[str]:
    length = min(max(log10(times), 0.0), _DECADES) * _BAR / _DECADES
    shade = "p" if name.startswith(OURS) else "b"
    return [
        f'<text x="{_LEFT - 8}" y="{y + 11}" class="l">{escape(name)}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{max(length, 1.0):.1f}" height="14" class="{shade}"/>',
        f'<text x="{_LEFT + length + 6:.1f}" y="{y + 11}">{number(times)}</text>',
    ]
