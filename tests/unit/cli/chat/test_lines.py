"""What is typed is read as one means it: something to say, a command, or more to come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.cli.chat.command import whole_lines
from abstractcore.cli.chat.commands import ALIASES, COMMANDS
from abstractcore.cli.chat.lines import Order, Said, is_open, read
from abstractcore.errors import ConfigurationError


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("hello there", Said("hello there")),
        ("  /help me, please", Said("/help me, please")),
        ("/etc/hosts is what?", Said("/etc/hosts is what?")),
        ("/", Said("/")),
        ("// a comment", Said("// a comment")),
        ("/clear", Order("clear", "")),
        ("/TEMP  0.5 ", Order("temp", "0.5")),
        ("/?", Order("?", "")),
        ("/guided regex a b|\\d+", Order("guided", "regex a b|\\d+")),
        ("/system Be brief.\nAnd kind.\n", Order("system", "Be brief.\nAnd kind.")),
        ('"""\n  def f():\n    pass\n"""', Said("  def f():\n    pass")),
        ('"""/clear"""', Said("/clear")),
        ('""""""', None),
        (" \n ", None),
    ],
)
def test_a_line_is_read(line: str, found: Said | Order | None) -> None:
    assert read(line) == found


@given(st.sampled_from([*COMMANDS, *ALIASES]), st.text())
def test_a_command_gets_all_that_follows_it(name: str, argument: str) -> None:
    assert read(f"/{name} {argument}") == Order(name, argument.strip())


@given(st.text())
def test_any_text_can_be_said(text: str) -> None:
    """With a space in front of it, or between quotes."""
    assert read(f" {text}") in (None, Said(text.strip())) or text.strip().startswith('"""')
    quoted = read(f'"""\n{text}\n"""')
    assert quoted == (Said(text) if text.strip() else None)


@pytest.mark.parametrize(
    ("text", "opened"), [('"""', True), ('"""a\nb', True), ('"""a"""', False), ('a """', False), ('""""', True)]
)
def test_three_quotes_stay_open_until_three_more(text: str, opened: bool) -> None:
    assert is_open(text) is opened


@given(st.lists(st.text(alphabet="ab \\\n").filter(str.strip)))
def test_a_pipe_is_read_line_by_line_but_for_what_is_quoted(texts: list[str]) -> None:
    piped = "".join(f'"""\n{text}\n"""\n' if "\n" in text else f"{text}\n" for text in texts)
    said = [read(line) for line in whole_lines(piped.splitlines(keepends=True))]
    assert said == [Said(text if "\n" in text else text.strip()) for text in texts]


def test_quotes_that_never_close_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match='""" is missing'):
        list(whole_lines(['"""\n', "the end\n"]))
