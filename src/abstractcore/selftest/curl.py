"""Requests as one would type them. Pure."""

from __future__ import annotations

import shlex

from ..wire.call import Call


def curl(call: Call) -> str:
    """A request as a curl command line; a key stands as a variable of the shell, never as itself."""
    words = ["curl", *(["-N"] if call.stream else []), call.url]
    for name, value in call.headers.items():
        if name == "authorization":
            words += ["-H", "Authorization: Bearer $ABSTRACTCORE_API_KEY"]
        else:
            words += ["-H", f"{name}: {value}"]
    if call.body is not None:
        words += ["-d", call.body.decode()]
    return " ".join(f'"{word}"' if "$ABSTRACTCORE" in word else shlex.quote(word) for word in words)
