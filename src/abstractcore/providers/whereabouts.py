"""What a failed connection says about where client and server run."""

from __future__ import annotations

from ..errors import ConnectionFailedError, RequestTimeoutError
from ..topology import Cause, Failure, cause, here
from ..transport.route import Router


def cause_of(base_url: str, error: ConnectionFailedError | RequestTimeoutError) -> Cause | None:
    """The cause that lies in the topology, if one does."""
    failure = _failure(error)
    if failure is None or base_url.startswith("local:"):  # an engine in this process
        return None
    return cause(base_url, failure, here(), proxy=Router().find(error.url or base_url).proxy)


def _failure(error: ConnectionFailedError | RequestTimeoutError) -> Failure | None:
    if isinstance(error, RequestTimeoutError):
        return "timeout"
    if type(error.__cause__).__module__ == "ssl":  # somebody answered
        return None
    if not error.refused:
        return None if error.delivered else "closed"
    errno = getattr(error.__cause__, "errno", None)
    # Errors of name resolution have negative numbers.
    return "unknown-host" if isinstance(errno, int) and errno < 0 else "refused"
