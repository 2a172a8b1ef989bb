"""Read-only examination of a machine, its containers and a server; works on what others started, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import ConfigurationError
from . import client, container, gpu, host, server
from .check import Check, Result, examine, fails
from .finding import Finding, Fix, Verdict

__all__ = ["CHECKS", "Check", "Finding", "Fix", "Result", "Verdict", "chosen", "examine", "fails"]

CHECKS: Final[tuple[Check, ...]] = (
    *host.CHECKS,
    *gpu.CHECKS,
    *container.CHECKS,
    *server.CHECKS,
    *client.CHECKS,
)


def chosen(checks: Sequence[Check], only: str | None) -> tuple[Check, ...]:
    """The checks whose name or family stands in a list with commas; all without a list.

    Raises:
        ConfigurationError: There is no such check.
    """
    if not only:
        return tuple(checks)
    wanted = {name.strip() for name in only.split(",") if name.strip()}
    known = {check.id for check in checks} | {check.family for check in checks}
    if wanted - known:
        import difflib

        odd = min(wanted - known)
        near = difflib.get_close_matches(odd, known, 3)
        raise ConfigurationError(
            f"there is no check {odd!r}", why=f"near are: {', '.join(near)}" if near else None, hint="doctor --list"
        )
    return tuple(check for check in checks if {check.id, check.family} & wanted)
