"""Blocks are found, and a wrong one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks, commands, is_runnable, run

PAGE = """# Title
```python
a = 1
```
<!-- test: live -->

```console
$ abstractcore "hello"
...
$ make demo
```
<!-- test: skip needs two GPUs -->
```bash
# a remark
abstractcore --version
python -c pass
```
```
no language
```
"""


def parsed(text: str) -> list[Block]:
    return list(blocks(Path("page.md"), text))


def test_blocks_have_their_line_language_and_tier() -> None:
    found = [(block.line, block.language, block.tier, block.reason) for block in parsed(PAGE)]
    assert found == [
        (3, "python", "offline", ""),
        (8, "console", "live", ""),
        (14, "bash", "skip", "needs two GPUs"),
        (19, "", "offline", ""),
    ]


def test_commands_have_their_output() -> None:
    console = list(commands(parsed(PAGE)[1]))
    assert [(command.line, command.text, command.output) for command in console] == [
        (8, 'abstractcore "hello"', "..."),
        (10, "make demo", ""),
    ]
    assert [is_runnable(command) for command in console] == [True, False]
    assert [command.text for command in commands(parsed(PAGE)[2])] == ["abstractcore --version", "python -c pass"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- test: skip -->\n```python\n```\n", "page.md:1: a skipped block needs a reason"),
        ("<!-- test: live -->\nprose\n", "page.md:2: a test marker stands right before its block"),
        ("```python\na = 1\n", "page.md:1: the block is never closed"),
    ],
)
def test_a_page_with_a_mistake_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parsed(text)


def test_blocks_share_their_names() -> None:
    assert run(parsed("```python\na = 1\n```\n```python\nassert a == 1\n```\n")) == 2


def test_a_failure_points_at_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as failure:
        run(parsed("text\n\n```python\na = 1\na / 0\n```\n"))
    last = failure.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("page.md", 5)


def test_a_command_that_fails_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="ended with 3"):
        run(parsed('```bash\npython -c "raise SystemExit(3)"\n```\n'))


def test_shown_output_is_compared() -> None:
    assert run(parsed('```console\n$ python -c "print(12, 34)"\n12 ...\n```\n')) == 1
    with pytest.raises(AssertionError, match="it printed:\n12"):
        run(parsed('```console\n$ python -c "print(12)"\n13\n```\n'))


def test_the_example_model_is_replaced() -> None:
    assert run(parsed("```python\nassert 'served' == 'Example'.strip()\n```\n"), replace=("Example", "served")) == 1
