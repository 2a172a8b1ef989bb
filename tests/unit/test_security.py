"""SECURITY.md promises what tests hold; and no command takes a secret as an argument."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from abstractcore.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| Promise")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_promise_names_tests_that_exist(row: str) -> None:
    names = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert names, "a promise without a test is none"
    for file, name in names:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        assert name in {function.name for function in functions}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from commands(found, (*path, name))


def test_no_option_takes_a_secret() -> None:
    """Whoever is on the machine sees the arguments of all processes; names of files, and numbers, are no secrets."""
    every = [(path, option) for path, command in commands(cli) for option in command.params]
    assert len(every) > 100
    secret = re.compile(r"(api[_-]?key|token|secret|password|bearer)$")
    assert [(path, option.name) for path, option in every if secret.search(option.name or "")] == []
