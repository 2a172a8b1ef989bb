"""What is sent of a regex allows no text that the regex forbids, in the syntax that all engines read alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.constraint import Regex
from abstractcore.providers.json_pattern import json_pattern

REGEXES = [
    r"\d{4}-\d\d", r"[\w.-]+@\w+\.com", r"x.y", r"a|b", r"[^,]+", r"[^\d]\S\D\W", r"\s?-\/\@", r"[\]\.\-x]{2}",
    r"[]a]b", r"[^]a]b", r"(?i)no", r"\.\*\[\(", r"[^\s]{2}", r"(a|\w\d)?", r"[a[bc]]+",
]  # fmt: skip


@pytest.mark.parametrize(
    ("regex", "sent"),
    [
        (r"\d{4}-\d\d", "^(?:[0-9]{4}-[0-9][0-9])$"),
        (r"[\w.\-]+\@", r"^(?:[0-9A-Za-z_.\-]+@)$"),
        ("x.y", r'^(?:x[^"\\\x00-\x1f]y)$'),
        ("[^,]", r'^(?:[^,"\\\x00-\x1f])$'),
        (r"\.[\.]\/", r"^(?:\.[.]/)$"),
        (r"(?x) \d # a digit", r"^(?:(?x) \d # a digit)$"),
        (r"\p{L}\x41\n", r"^(?:\p{L}\x41\n)$"),
    ],
)
def test_what_is_sent(regex: str, sent: str) -> None:
    assert json_pattern(regex) == sent


@pytest.mark.parametrize("regex", REGEXES)
def test_it_still_compiles(regex: str) -> None:
    Regex(json_pattern(regex)).check()


@given(st.sampled_from(REGEXES), st.text('ab019 -_.,@/[]()*xyNoO"\\\n\t', max_size=9))
def test_it_allows_nothing_more(regex: str, text: str) -> None:
    if Regex(json_pattern(regex)).prove(text).holds:
        assert Regex(regex).prove(text).holds


@given(st.sampled_from(REGEXES), st.text("ab019-_.,@/[]()*xyNoO", max_size=9))
def test_of_plain_text_it_forbids_nothing(regex: str, text: str) -> None:
    assert Regex(json_pattern(regex)).prove(text).holds == Regex(regex).prove(text).holds
