"""The tables and the figure of ``gateway.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COSTS = {"request": "request, 32 at once", "hot": "chunk, hot", "paced": "chunk, paced"}
_LEFT, _BAR, _STEP, _GAP = 190, 430, 22, 40


def table(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Markdown: what each gateway costs, and how it bears many streams."""
    base = facts["base"]
    head = ["gateway", *(f"{text}: µs CPU | times {base}" for text in COSTS.values())]
    head += ["proved request, times a plain one", "added to the first token, µs", "wrong answers"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * (1 + 2 * len(COSTS) + 3)]
    for one in rows:
        cells = [f"{one['gateway']} {one['version']}".strip()]
        for kind in COSTS:
            found = one.get(kind)
            cells += (
                [_number(found["us"][1]), f"**{found['ratio'][1]:.2f}** ({_between(found['ratio'])})"]
                if found
                else ["", ""]
            )
        cells.append(f"{one['proof'][1]:.2f} ({_between(one['proof'])})" if "proof" in one else "")
        cells.append(
            f"{one['rest']['us'][1]:.0f} ({one['rest']['us'][0]:.0f} to {one['rest']['us'][2]:.0f})"
            if "rest" in one
            else ""
        )
        cells.append(str(int(one["errors"])))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_many(rows, facts), _said(facts)])


def _many(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    if not any("many" in one for one in rows):
        return []
    head = [f"{facts['streams']} streams at once", "failed", "seconds (ideal)", "µs CPU a chunk", "MiB before",
            "for 2 stalled clients", "peak", "KiB a stream", "after"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in rows:
        if found := one.get("many"):
            cells = [one["gateway"], f"{found['errors']:.0f}", f"{found['seconds']:.1f} ({found['ideal']:.1f})",
                     _number(found["cpu_per_chunk"]), f"{found['before']:.0f}", f"{found['stalled']:+.1f}",
                     f"{found['peak']:.0f}", f"{found['per_stream_kib']:.0f}", f"{found['after']:.0f}"]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _said(facts: Mapping[str, Any]) -> str:
    return (
        f"Medians over {facts['rounds']} rounds, in parentheses the quartiles. CPU time of the gateway alone, all its "
        "processes and threads. Hot: 8 streams of 256 chunks, one write each, as fast as they go; paced: 16 streams, a "
        "chunk each 20 ms. The first token: one request at a time, its median less that of the same round without a "
        f"gateway. Linux {facts['kernel']}, Python {facts['python']}, {facts['cpus']} CPUs, load {facts['load'][0]} "
        f"before and {facts['load'][1]} after, {facts['seconds']} s. Made by `bench/gateway.py`; another machine gives "
        "other microseconds."
    )


def figure(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """SVG: a panel for each cost, a bar for each gateway, whiskers from quartile to quartile."""
    parts, top = [], 20
    for kind, text in COSTS.items():
        shown = [one for one in rows if kind in one]
        if not shown:
            continue
        parts.append(f'<text x="{_LEFT}" y="{top}" class="h">{escape(text)}: CPU, times {escape(facts["base"])}</text>')
        widest = max(one[kind]["ratio"][2] for one in shown)
        scale = _BAR / min(widest, 12)  # a gateway far beyond all others gets a bar that is cut off
        for number, one in enumerate(shown):
            parts += _bar(one, kind, top + 10 + number * _STEP, scale)
        bottom = top + 10 + len(shown) * _STEP
        parts.append(f'<path d="M{_LEFT + scale:.1f} {top + 6}V{bottom}" class="o"/>')
        top = bottom + _GAP
    style = (
        "text{font:12px sans-serif;fill:#222}.h{font-weight:bold}.l{text-anchor:end}.b{fill:#a9bcd3}.p{fill:#e45756}"
        ".w{stroke:#222}.o{stroke:#888;stroke-dasharray:3 3}"
    )
    width = _LEFT + _BAR + 80
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">'
        f"<title>What a gateway costs</title><style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )


def _bar(one: Mapping[str, Any], kind: str, y: int, scale: float) -> list[str]:
    low, middle, high = (_LEFT + min(value * scale, _BAR) for value in one[kind]["ratio"])
    shade = "p" if one["gateway"] == "abstractcore" else "b"
    return [
        f'<text x="{_LEFT - 8}" y="{y + 11}" class="l">{escape(one["gateway"])}</text>',
        f'<rect x="{_LEFT}" y="{y}" width="{middle - _LEFT:.1f}" height="14" class="{shade}"/>',
        f'<path d="M{low:.1f} {y + 7}H{high:.1f}" class="w"/>',
        f'<text x="{max(high, middle) + 6:.1f}" y="{y + 11}">{one[kind]["ratio"][1]:.2f}</text>',
    ]


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 20 else f"{value:.0f}"


def _between(spread: Sequence[float]) -> str:
    return f"{spread[0]:.2f} to {spread[2]:.2f}"
