"""Checks with stable names, and what runs them. A check that crashes is a finding, not the end of the examination."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from .facts import Facts
from .finding import FAILING, Finding, Verdict


class Check(NamedTuple):
    """One question that is asked of the facts."""

    id: str
    """``family.subject``; it never changes, so that others may rely on it."""
    title: str
    """What is checked, as it stands in the report."""
    ask: Callable[[Facts], Iterable[Finding]]
    """Gives no finding where the question makes no sense."""

    @property
    def family(self) -> str:
        """``host``, ``gpu``, ``container``, ``server`` or ``client``."""
        return self.id.partition(".")[0]


class Result(Struct, frozen=True, kw_only=True):
    """A check with one of its findings."""

    id: str
    title: str
    finding: Finding


def examine(checks: Sequence[Check], facts: Facts, *, debug: bool = False) -> Iterator[Result]:
    """Asks one check after the other.

    Args:
        checks: What to ask.
        facts: What is asked.
        debug: Let the error of a check that crashes out, to see where.
    """
    for check in checks:
        for finding in check.ask(facts) if debug else _findings(check, facts):
            yield Result(id=check.id, title=check.title, finding=finding)


def _findings(check: Check, facts: Facts) -> list[Finding]:
    try:
        return list(check.ask(facts))
    except Exception as error:  # noqa: BLE001 - one broken check must not hide what the others find
        return [
            Finding(
                verdict=Verdict.CRASHED,
                measured=f"the check failed: {type(error).__name__}: {error}",
                why="nothing is known about this",
                cure=f"abstractcore doctor --only {check.id} --debug shows where; please report it",
            )
        ]


def fails(results: Iterable[Result]) -> bool:
    """Whether something does not work."""
    return any(result.finding.verdict in FAILING for result in results)


FAMILIES: Final = ("host", "gpu", "container", "server", "client")
