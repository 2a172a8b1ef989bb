"""Files and functions stay short enough to be read in one go."""

from __future__ import annotations

import ast
from collections.abc import Iterator

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


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_A_FILE} == {}


def test_functions_are_short() -> None:
    found = [(path, name, lines) for path in FILES for name, lines in functions(ast.parse(path.read_bytes()))]
    assert [named for named in found if named[2] > LINES_OF_A_FUNCTION] == []
