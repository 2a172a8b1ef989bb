"""The text format of Prometheus, as real servers write it and as the format allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.vllm_facts.versions import RUNNING_METRIC, WAITING_METRIC
from abstractcore.wire.prometheus import read_totals
from tests.recordings import VERSIONS, recorded


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "0.8.5"])
def test_idle_servers_say_so(version: str) -> None:
    totals = read_totals(recorded(version, "GET /metrics").body)
    assert (totals[RUNNING_METRIC], totals[WAITING_METRIC]) == (0.0, 0.0)
    assert totals["process_start_time_seconds"] > 1e9


def test_a_server_may_publish_nothing_of_the_kind() -> None:
    assert RUNNING_METRIC not in read_totals(recorded("0.8.5", "GET /metrics").body)


def test_engines_are_summed() -> None:
    body = b'# TYPE x gauge\nx{engine="0"} 2.0\nx{engine="1"} 3 1395066363000\nx_total 7\n'
    assert read_totals(body) == {"x": 5.0, "x_total": 7.0}


def test_label_values_may_hold_braces_quotes_and_spaces() -> None:
    assert read_totals(rb'x{path="/a{id}",text="say \"hi\" } 9",} 1.5e1') == {"x": 15.0}


def test_what_is_no_sample_is_passed_over() -> None:
    assert read_totals(b"<html> 5\n# x 1\nx one\n\nx 1\n") == {"x": 1.0}


@given(st.dictionaries(st.from_regex(r"[a-z_:][a-z0-9_:]{0,8}", fullmatch=True), st.floats(allow_nan=False)))
def test_what_is_written_is_read(totals: dict[str, float]) -> None:
    body = "".join(f'{name}{{a="b"}} {value!r}\n' for name, value in totals.items()).encode()
    assert read_totals(body) == totals


@given(st.binary())
def test_any_bytes_are_read(body: bytes) -> None:
    read_totals(body)
