"""Files and functions stay short enough to be read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TESTS

SOURCE = TESTS.parent / "src"
LINES_OF_A_FILE = 450
LINES_OF_A_FUNCTION = 60

FILES = sorted(SOURCE.rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each function with its length: signature and statements, without the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            has_docstring = ast.get_docstring(node, clean=False) is not None
            documented = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - documented


def test_the_source_is_found() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_file_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    assert [named for named in functions(ast.parse(text)) if named[1] > LINES_OF_A_FUNCTION] == []
