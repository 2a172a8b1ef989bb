"""The command ``check``: its page, its JSON, its exit codes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from abstractcore.cli.check import check, document, exit_code, lines, summary
from abstractcore.selftest.step import Outcome, Verdict

PASSED = Outcome(id="library.a", title="one", verdict=Verdict.PASSED, measured="fine")
FAILED = Outcome(
    id="library.b", title="two", verdict=Verdict.FAILED, measured="broke", why="first\nsecond", cure="mend it"
)
LOST = Outcome(id="library.c", title="three", verdict=Verdict.FAILED, measured="nobody", unreachable=True)
UNTRIED = Outcome(id="library.d", title="four", verdict=Verdict.NOT_TRIED, measured="no adapter")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [([PASSED], 0), ([PASSED, UNTRIED], 0), ([PASSED, FAILED], 3), ([LOST, UNTRIED], 4)],
)
def test_the_exit_code_says_how_it_came_out(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(outcomes) == code
    assert document(outcomes)["ok"] is (code == 0)


def test_the_page_shows_why_and_what_to_do() -> None:
    text = "\n".join(lines(FAILED))
    assert "FAIL" in text
    for part in ("broke", "why:", "first", "second", "try:", "mend it"):
        assert part in text
    assert summary([PASSED, FAILED, UNTRIED]) == "1 passed, 1 failed, 1 not tried"


def test_an_adapter_without_a_path_is_wrong_usage() -> None:
    result = CliRunner().invoke(check, ["--adapter", "sql"])
    assert result.exit_code == 2
    assert "NAME=PATH" in result.output


@pytest.mark.usefixtures("loopback")
def test_a_server_that_is_not_there_ends_with_4_and_no_gateway() -> None:
    result = CliRunner().invoke(check, ["--base-url", "http://127.0.0.1:9", "--json"])
    assert result.exit_code == 4
    found = {row["id"]: row for row in json.loads(result.stdout)["outcomes"]}
    assert found["library.registry"]["verdict"] == "passed"
    assert found["library.server"]["verdict"] == "failed"
    assert found["library.plain"]["verdict"] == "not tried"
    assert not any(name.startswith("gateway") for name in found)
