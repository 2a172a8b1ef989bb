"""One process at a time holds the lock; the others are told that they wait."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from abstractcore.deploy.lock import locked


def test_the_lock_can_be_taken_again_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new" / "folder" / "lock") as descriptor:
            assert descriptor > 2


def test_a_second_process_waits_until_the_first_is_done(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from abstractcore.deploy.lock import locked
        with locked(Path({str(tmp_path / "lock")!r})):
            print("mine", flush=True)
            input()
            Path({str(tmp_path / "done")!r}).touch()
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        waits = []

        def waited() -> None:
            waits.append((tmp_path / "done").exists())
            if len(waits) == 1:
                other.stdin.write("go on\n")  # type: ignore[union-attr]
                other.stdin.flush()  # type: ignore[union-attr]

        with locked(tmp_path / "lock", waited):
            assert (tmp_path / "done").exists()
        assert waits[0] is False


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "lock", pytest.fail):
        pass
