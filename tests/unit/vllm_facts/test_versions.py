from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.vllm_facts import FACTS, Match, Version, exposure, facts_for, parse_version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.32.0", (0, 32, 0)),
        ("v0.9.2", (0, 9, 2)),
        ("0.11.0.post2", (0, 11, 0)),
        ("0.33.0rc1+cu130", (0, 33, 0)),
        ("0.19.2rc1.dev134+gfe9c3d6c5.d20260401", (0, 19, 2)),
        ("0.12", (0, 12, 0)),
        ("1.0.0", (1, 0, 0)),
        (" 0.8.5\n", (0, 8, 5)),
        ("0.1.dev1+g1234567", None),
        ("dev", None),
        ("", None),
        ("latest", None),
        ("12", None),
    ],
)
def test_versions_are_read_leniently(text: str, version: Version | None) -> None:
    assert parse_version(text) == version


@given(st.text(max_size=30))
def test_no_text_upsets_the_reader(text: str) -> None:
    parsed = parse_version(text)
    assert parsed is None or len(parsed) == 3


@pytest.mark.parametrize(
    ("text", "row", "match"),
    [
        ("0.32.0", (0, 32, 0), "exact"),
        ("0.32.0+cu130", (0, 32, 0), "exact"),
        ("0.11.0.post2", (0, 11, 0), "exact"),
        ("0.12.0rc1", (0, 12, 0), "between"),
        ("0.11.2", (0, 11, 1), "between"),
        ("0.15.0", (0, 15, 0), "between"),
        ("0.23.4", (0, 19, 0), "between"),
        ("0.32.1", (0, 32, 0), "newer"),
        ("0.33.0rc1+cu130", (0, 32, 0), "newer"),
        ("1.0.0", (0, 32, 0), "newer"),
        ("0.8.4", (0, 8, 5), "older"),
        ("0.2.7", (0, 8, 5), "older"),
    ],
)
def test_each_version_gets_the_row_that_holds_for_it(text: str, row: Version, match: Match) -> None:
    facts, found = facts_for(text)
    assert (facts.version, found) == (row, match)


def test_what_is_no_version_has_no_row() -> None:
    with pytest.raises(ValueError, match="'dev' is no version of vLLM"):
        facts_for("dev")


def test_rows_are_in_order() -> None:
    versions = [row.version for row in FACTS]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((0, 8, 5), "refuse"),
        ((0, 14, 0), "refuse"),
        ((0, 14, 1), "warn"),
        ((0, 30, 2), "warn"),
        ((0, 31, 0), "fine"),
        ((1, 0, 0), "fine"),
    ],
)
def test_old_releases_may_not_listen_on_open_networks(version: Version, expected: str) -> None:
    assert exposure(version) == expected
