"""How far pip has come, from what it prints and from the files it makes."""

from __future__ import annotations

from pathlib import Path

from .progress import Progress, Report, megabytes


class PipProgress:
    """Turns a running ``pip install`` into reports.

    Args:
        text: What is being installed.
        folder: The virtual environment.
        scratch: Pip's temporary folder; it holds the downloads until they are unpacked.
        expected: Bytes to download, about.
        report: Gets the progress.
    """

    def __init__(self, text: str, *, folder: Path, scratch: Path, expected: float, report: Report) -> None:
        self._text = text
        self._folder = folder
        self._scratch = scratch
        self._expected = expected
        self._report = report
        self._packages = 0
        self._before = 0

    def line(self, line: str) -> None:
        """Takes one line of pip's output."""
        words = line.split()
        if words[:3] == ["Installing", "collected", "packages:"]:
            self._packages = len(words) - 3
            self._before = self._installed()
        elif words[0] == "Downloading" and len(words) > 1:
            self._text = f"downloading {words[1].rsplit('/')[-1].split('-')[0]}"

    def tick(self) -> None:
        """Reports where things stand."""
        if self._packages:
            done = min(self._installed() - self._before, self._packages)
            text = f"unpacking {done} of {self._packages} packages"
            self._report(Progress("install", text, max(0, done - 1) / self._packages))  # the newest is being written
        elif size := _size(self._scratch):
            text = f"{self._text}, {megabytes(size)} of about {megabytes(self._expected)}"
            self._report(Progress("install", text, min(1.0, size / self._expected)))
        else:
            self._report(Progress("install", self._text))

    def _installed(self) -> int:
        return sum(1 for _ in self._folder.glob("lib/python*/site-packages/*.dist-info"))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # pip removes its own files while we look
    return total
