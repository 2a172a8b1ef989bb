"""What a check found: the measured fact, what was expected, why it matters, and the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as well or as safely as it could."""
    ERROR = "error"
    """It does not work, or a promise is not kept."""
    CRASHED = "crashed"
    """The check itself failed; counts as an error, since nothing is known."""
    UNKNOWN = "unknown"
    """It could not be measured from here."""


FAILING: Final = (Verdict.ERROR, Verdict.CRASHED)


class Fix(Struct, frozen=True):
    """A repair that can't do harm."""

    command: str
    """What is done, as a line to paste."""
    apply: Callable[[], object]


class Finding(Struct, frozen=True, kw_only=True):
    """The outcome of one check."""

    verdict: Verdict
    measured: str
    expected: str = ""
    why: str = ""
    """Why it matters."""
    cure: str = ""
    """A command to paste, or one sentence."""
    fix: Fix | None = None
    subject: str = ""
    """The container or address it is about, where there are several."""


def ok(measured: str, subject: str = "") -> Finding:
    """All is as it should be."""
    return Finding(verdict=Verdict.OK, measured=measured, subject=subject)


def warning(measured: str, *, expected: str, why: str, cure: str, subject: str = "", fix: Fix | None = None) -> Finding:
    """It works, but not as well or as safely as it could."""
    return Finding(
        verdict=Verdict.WARNING, measured=measured, expected=expected, why=why, cure=cure, subject=subject, fix=fix
    )


def error(measured: str, *, expected: str, why: str, cure: str, subject: str = "", fix: Fix | None = None) -> Finding:
    """It does not work, or a promise is not kept."""
    return Finding(
        verdict=Verdict.ERROR, measured=measured, expected=expected, why=why, cure=cure, subject=subject, fix=fix
    )


def unknown(measured: str, *, cure: str = "", subject: str = "") -> Finding:
    """It could not be measured from here."""
    return Finding(verdict=Verdict.UNKNOWN, measured=measured, cure=cure, subject=subject)
