"""The load is read from what real servers say of it."""

from __future__ import annotations

import pytest

from abstractcore.providers.batch.controller import Load
from abstractcore.providers.vllm.load import read_load
from tests.recordings import metrics


@pytest.mark.parametrize(("version", "load"), [("0.32.0", Load(15, 17)), ("0.10.2", Load(16, 24))])
def test_real_metrics(version: str, load: Load) -> None:
    assert read_load(metrics(version)) == load


def test_engines_are_added_up() -> None:
    text = b"".join(
        b'vllm:num_requests_%s{engine="%d",model_name="a } b 7"} %d.0\n' % (name, engine, engine + 1)
        for name in (b"running", b"waiting")
        for engine in range(3)
    )
    assert read_load(text) == Load(6, 6)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b'vllm:num_requests_running{a="b"} 1.0\n',
        b'vllm:num_requests_running{a="b"}\nvllm:num_requests_waiting{a="b"} 1.0\n',
        b'vllm:num_requests_running{a="b"} 1.0\nvllm:num_requests_waiting{a="b"} NaN\n',
    ],
)
def test_anything_else_says_nothing(text: bytes) -> None:
    assert read_load(text) is None
