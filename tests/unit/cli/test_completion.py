"""``abstractcore completion``: the scripts, and what the program answers to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-m", "abstractcore"]


def completed(words: str, number: int) -> list[str]:
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(number), "_ABSTRACTCORE_COMPLETE": "bash_complete"}
    asked = subprocess.run(PROGRAM, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.PIPE)
    assert (asked.returncode, asked.stderr) == (0, "")
    return [line.partition(",")[2] for line in asked.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert completed("abstractcore mod", 1) == ["models"]
    assert completed("abstractcore models --js", 2) == ["--json"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell: str) -> None:
    script = subprocess.run([*PROGRAM, "completion", shell], capture_output=True, text=True, check=True).stdout
    assert "_ABSTRACTCORE_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
