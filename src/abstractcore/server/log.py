"""What the gateway writes down: a line for each request, and its own faults. Neither prompts nor keys."""

from __future__ import annotations

import asyncio
import sys
import traceback
from time import monotonic
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from .asgi import Request

FLUSH_SECONDS: Final = 0.2
"""Lines are written together, so that a busy gateway does not stop for each."""
CLIENT_LEFT: Final = 499
"""In place of a status: the client went away before the answer was complete."""


class AccessLog:
    """Notes each request on one line: method, path, status, milliseconds, model, name of the key, request id.

    A status with an exclamation mark is that of a stream which broke after it had begun.

    Args:
        out: Where the lines go.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._lines: list[str] = []

    def note(self, request: Request) -> None:
        """Notes a request that is over."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        self._lines.append(line_of(request))

    def flush(self) -> None:
        """Writes what was noted."""
        lines, self._lines = self._lines, []
        if lines:
            self._out.write("".join(lines))
            self._out.flush()


def line_of(request: Request) -> str:
    """The line of a request."""
    status = f"{CLIENT_LEFT}" if request.left else f"{request.status}{'!' if _is_broken(request) else ''}"
    key = getattr(request.key, "name", None) or "-"
    seconds = monotonic() - request.started
    model = _shown(request.model or "-")
    return f"{request.method} {_shown(request.path)} {status} {seconds * 1e3:.1f}ms {model} {key} {request.id}\n"


def _is_broken(request: Request) -> bool:
    return request.streamed and request.failure is not None


def report_fault(request: Request, error: Exception) -> None:
    """Writes a fault of the gateway itself down, with the request that met it."""
    where = "".join(traceback.format_tb(error.__traceback__))
    # Without the error's own words: they may quote the request.
    text = f"fault at {_shown(request.path)} {request.id}: {type(error).__qualname__}\n{where}"
    sys.stderr.write(text)
    sys.stderr.flush()


def _shown(text: str) -> str:
    """Without anything that could end a line, or move a terminal's cursor."""
    return text[:200] if text.isprintable() and " " not in text else repr(text[:200]).replace(" ", "\\x20")
