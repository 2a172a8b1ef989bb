"""Reads the text format of Prometheus, in which servers publish their metrics. Pure."""

from __future__ import annotations

import re
from typing import Final

_SAMPLE: Final = re.compile(
    rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)"  # the name
    rb'(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?'  # labels; their quoted values may hold anything
    rb"[ \t]+([^ \t\r\n]+)",  # the value; a timestamp may follow
    re.MULTILINE,
)


def read_totals(body: bytes) -> dict[str, float]:
    """The value of each metric, summed over its labels (engines, models, reasons).

    Lines that are no samples are passed over: comments, exemplars, and what a proxy may have put there.
    """
    totals: dict[str, float] = {}
    for name, text in _SAMPLE.findall(body):
        try:
            value = float(text)
        except ValueError:
            continue
        key = name.decode("ascii")
        totals[key] = totals.get(key, 0.0) + value
    return totals
