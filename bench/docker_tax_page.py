"""The table and the figure of ``docker_tax.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

KINDS = {
    "request": "request on a kept connection",
    "connection": "new connection and request",
    "chunk": "streamed chunk, one way",
}
_LEFT, _BAR, _STEP, _GAP = 330, 430, 22, 40


def table(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> str:
    """Markdown: for each path the median, what it adds to the host network, and the ratio."""
    head = " | ".join(["path", *(f"{text}: µs | added µs | ratio" for text in KINDS.values())])
    lines = [f"| {head} |", "|" + "---|" * (1 + 3 * len(KINDS))]
    for one in rows:
        cells = [str(one["path"])]
        for kind in KINDS:
            low, middle, high = one[kind]["added"]
            ratio_low, ratio, ratio_high = one[kind]["ratio"]
            cells += [f"{one[kind]['median']:.0f}", f"{middle:+.0f} ({low:+.0f} to {high:+.0f})",
                      f"**{ratio:.2f}** ({ratio_low:.2f} to {ratio_high:.2f})"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    said = (
        f"Medians over {facts['rounds']} rounds; in parentheses the quartiles between rounds. Each path: "
        f"{facts['requests']} requests, {facts['connections']} connections, {facts['chunks']} chunks. "
        f"Docker {facts['docker']}, Linux {facts['kernel']}, {facts['cpus']} CPUs, load {facts['load'][0]} before and "
        f"{facts['load'][1]} after, {facts['seconds']} s. Made by `bench/docker_tax.py`; another machine gives other "
        "microseconds."
    )
    return "\n".join([*lines, "", said])


def figure(rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG: a panel for each kind, a bar for each path, whiskers from quartile to quartile."""
    widest = max(one[kind]["ratio"][2] for one in rows for kind in KINDS)
    scale = _BAR / widest
    height = len(KINDS) * (len(rows) * _STEP + _GAP) + 30
    parts = []
    for panel, (kind, text) in enumerate(KINDS.items()):
        top = 20 + panel * (len(rows) * _STEP + _GAP)
        parts.append(f'<text x="{_LEFT}" y="{top}" class="h">{escape(text)}, ratio to the host network</text>')
        for number, one in enumerate(rows):
            y = top + 10 + number * _STEP
            low, middle, high = (_LEFT + value * scale for value in one[kind]["ratio"])
            shade = "p" if "docker-proxy" in one["path"] else "b"
            parts += [
                f'<text x="{_LEFT - 8}" y="{y + 11}" class="l">{escape(str(one["path"]))}</text>',
                f'<rect x="{_LEFT}" y="{y}" width="{middle - _LEFT:.1f}" height="14" class="{shade}"/>',
                f'<path d="M{low:.1f} {y + 7}H{high:.1f}" class="w"/>',
                f'<text x="{max(high, middle) + 6:.1f}" y="{y + 11}">{one[kind]["ratio"][1]:.2f}</text>',
            ]
        bottom = top + 10 + len(rows) * _STEP
        one_x = _LEFT + scale
        parts.append(f'<path d="M{one_x:.1f} {top + 6}V{bottom}" class="o"/>')
    style = (
        "text{font:12px sans-serif;fill:#222}.h{font-weight:bold}.l{text-anchor:end}.b{fill:#4c78a8}.p{fill:#e45756}"
        ".w{stroke:#222}.o{stroke:#888;stroke-dasharray:3 3}"
    )
    width = _LEFT + _BAR + 60
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>What Docker networking costs</title><style>{style}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )
