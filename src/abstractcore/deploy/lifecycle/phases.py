"""How far a starting vLLM has come, by the lines of its log. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..progress import Progress

LISTENING: Final = "Application startup complete"


class _Row(NamedTuple):
    """What a line says; a group of the regex is a percentage."""

    line: re.Pattern[str]
    phase: str
    text: str


def _row(line: str, phase: str, text: str) -> _Row:
    return _Row(re.compile(line), phase, text)


_ROWS: Final = (
    _row(r"non-default args", "load", "reading the model's configuration"),
    _row(r"Using max model len", "load", "starting the engine"),
    _row(r"Initializing a V\d LLM engine", "load", "starting the workers"),
    _row(r"Starting to load model", "weights", "reading the weights"),
    _row(r"[Dd]ownloading (?:weights|\S+\.safetensors)", "weights", "downloading the weights"),
    _row(r"Loading (?:safetensors|pt) checkpoint shards:\s+(\d+)% Completed", "weights", "reading the weights"),
    _row(r"Loading weights took", "weights", "preparing the model"),
    _row(r"Dynamo bytecode transform|Start compiling function|Compiling a graph", "compile", "compiling the model"),
    _row(r"torch\.compile (?:takes|took)", "compile", "measuring memory"),
    _row(r"KV cache size", "compile", "warming up"),
    _row(r"Capturing (?:CUDA|cudagraph)[^%]*?(\d+)%", "compile", "capturing CUDA graphs"),
    _row(r"init engine \(", "ready", "starting the HTTP server"),
    _row(LISTENING, "ready", "waiting for the first token"),
)
"""In the order in which a server comes by them."""


class Phases:
    """Follows a log; what has been said is not taken back by a later line that looks like an earlier one."""

    def __init__(self) -> None:
        self._at = -1
        self.latest = Progress("load", "importing vLLM")
        """Where it stands."""

    @property
    def listening(self) -> bool:
        """Whether the server takes requests."""
        return self._at == len(_ROWS) - 1

    def read(self, line: str) -> Progress | None:
        """Takes a line; gives the progress if it says something new."""
        for at in range(max(self._at, 0), len(_ROWS)):
            found = _ROWS[at].line.search(line)
            if found:
                self._at = at
                share = int(found[1]) / 100 if found.re.groups else None
                self.latest = Progress(_ROWS[at].phase, _ROWS[at].text, share)
                return self.latest
        return None
