"""Requests as lines to paste: the shell reads them back as they were, and a key never stands in them."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from abstractcore.selftest.curl import curl
from abstractcore.selftest.gateway import examples
from abstractcore.selftest.subject import Subject
from abstractcore.testing import EchoProvider
from abstractcore.wire.call import Call


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_the_shell_reads_the_body_back(text: str) -> None:
    call = Call("POST", "http://127.0.0.1:8080/v1/x", {"content-type": "application/json"}, text.encode())
    assert shlex.split(curl(call)) == [
        "curl", "http://127.0.0.1:8080/v1/x", "-H", "content-type: application/json", "-d", text,
    ]  # fmt: skip


def test_a_key_is_a_variable() -> None:
    line = curl(Call("GET", "http://a/v1/models", {"authorization": "Bearer secret"}))
    assert "secret" not in line
    assert '"Authorization: Bearer $ABSTRACTCORE_API_KEY"' in line


def test_the_examples_name_the_model_as_the_gateway_does() -> None:
    lines = [curl(call) for call in examples(Subject(EchoProvider(), model="m", gateway="http://127.0.0.1:8080"))]
    assert all(line.startswith("curl ") for line in lines)
    assert sum('"model":"echo/m"' in line for line in lines) == 3
    assert any(line.startswith("curl -N ") for line in lines), "a stream is shown as it comes"
