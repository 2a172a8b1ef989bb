"""Requests as one would type them. Pure."""

from __future__ import annotations

import shlex

from ..wire.call import Call
from ..wire.credentials import CARRIERS


def curl(call: Call) -> str:
    """A request as a curl command line; a key stands as a variable of the shell, never as itself."""
    words = ["curl", *(["-N"] if call.stream else []), call.url]
    for name, value in call.headers.items():
        if name.lower() in CARRIERS:
            scheme = "Bearer " if value.startswith("Bearer ") else ""
            words += ["-H", f"{name.title()}: {scheme}$ABSTRACTCORE_API_KEY"]
        else:
            words += ["-H", f"{name}: {value}"]
    if call.body is not None:
        words += ["-d", call.body.decode()]
    return " ".join(f'"{word}"' if "$ABSTRACTCORE" in word else shlex.quote(word) for word in words)
