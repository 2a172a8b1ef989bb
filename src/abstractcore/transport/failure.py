"""How what goes wrong on a connection becomes an error of ours."""

from __future__ import annotations

import errno
import os
import re
import socket
from typing import Final

from ..errors import ConnectionFailedError, ProviderAPIError, ProviderError, RequestTimeoutError
from ..wire.http1 import FramingError, TruncatedError
from . import files
from .route import Route

_WAITED_FOR: Final = {
    "connect": "no connection to {url} within {limit:g} s",
    "first_byte": "{url} sent nothing of an answer's body within {limit:g} s",
    "idle": "{url} fell silent within an answer for {limit:g} s",
    "total": "the answer of {url} was not complete within {limit:g} s",
}


def timed_out(url: str, phase: str, limit: float) -> RequestTimeoutError:
    """A time limit ran out."""
    error = RequestTimeoutError(_WAITED_FOR[phase].format(url=url, limit=round(limit, 3)), url=url)
    error.phase = phase
    return error


def connect_failed(route: Route, cause: Exception) -> ConnectionFailedError:
    """No connection came to be."""
    where = f"{route.shown}{route.via}"
    if _is_out_of_files(cause):
        return _out_of_files(route, where)
    what = f"TLS with {where} failed" if _is_tls(cause) else f"cannot connect to {where}"
    error = ConnectionFailedError(f"{what}: {_reason(cause)}", url=route.shown)
    error.refused = not _is_tls(cause)
    return error


def _is_out_of_files(cause: Exception) -> bool:
    """Whether there was no file descriptor for a socket, or for what is read to resolve a name."""
    if isinstance(cause, socket.gaierror):
        return not files.are_left()
    return getattr(cause, "errno", None) in files.NONE_LEFT


def _out_of_files(route: Route, where: str) -> ConnectionFailedError:
    error = ConnectionFailedError(
        f"cannot connect to {where}: no file descriptor is left for a socket",
        url=route.shown,
        why=f"{os.strerror(errno.EMFILE)}; {files.allowed()}",
        hint="close what is open and no longer read, ask fewer things at once, or raise the limit (ulimit -n 65536)",
    )
    error.local = True
    return error


def foreign(url: str, owner: str) -> ConnectionFailedError:
    """An answer is read where it does not belong: in a forked process, or in another event loop."""
    error = ConnectionFailedError(
        f"the answer of {url} belongs to {owner}",
        url=url,
        why="what is read here would be missing there",
        hint="read a stream where it was asked for, and ask anew here",
    )
    error.delivered = True
    return error


def exchange_failed(url: str, cause: Exception, *, delivered: bool, in_body: bool) -> ProviderError:
    """A connection broke, or what came over it makes no sense.

    Args:
        url: As errors may show it.
        cause: An ``OSError`` or ``FramingError``.
        delivered: Whether any byte of an answer had arrived.
        in_body: Whether the head of the answer had arrived.
    """
    if isinstance(cause, FramingError) and not isinstance(cause, TruncatedError) and not in_body:
        return ProviderAPIError(f"{url} did not answer in HTTP/1.1: {cause}", url=url)
    where = "within the answer" if delivered else "before any answer"
    error = ConnectionFailedError(f"the connection to {url} broke {where}: {_reason(cause)}", url=url)
    error.delivered = delivered
    return error


def closed_here(url: str) -> ConnectionFailedError:
    """Somebody closed the exchange while it was being read."""
    error = ConnectionFailedError(f"the answer of {url} was closed on this side", url=url)
    error.delivered = True
    return error


def _is_tls(cause: Exception) -> bool:
    return type(cause).__module__ == "ssl"  # without importing ssl


def _reason(cause: Exception) -> str:
    """The operating system's words, without the number and without asyncio's additions."""
    if _is_tls(cause):
        return getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause)
    number = getattr(cause, "errno", None)
    if isinstance(number, int) and number > 0:  # those of name resolution are below
        return os.strerror(number)
    # asyncio tells of several addresses in one text.
    errnos = dict.fromkeys(int(digits) for digits in re.findall(r"\[Errno (\d+)\]", str(cause)))
    if errnos:
        return ", ".join(map(os.strerror, errnos))
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
