"""Structural tags on each release."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractcore import ConstraintViolationError, UnsupportedFeatureError
from tests.recordings import VERSIONS
from tests.replay import Replay

HELLO = {"type": "const_string", "value": "hello"}
LEGACY = {
    "structures": [{"begin": "<f>", "schema": {"type": "object"}, "end": "</f>"}],
    "triggers": ["<f>"],
}
every_version = pytest.mark.parametrize("version", VERSIONS)


def ask(server: Replay, tag: Any, **options: Any) -> Any:
    return server.provider().generate("Give me a number.", guided_structural_tag=tag, **options)


@every_version
def test_a_tag_is_sent_where_it_is_obeyed_and_refused_elsewhere(version: str) -> None:
    server = Replay(version, {"/v1/chat/completions": "so_structural_tag"})
    if version in ("0.8.5", "0.10.2", "0.11.0"):
        with pytest.raises(UnsupportedFeatureError, match="guided_structural_tag"):
            ask(server, HELLO)
        assert server.sent == []
        return
    response = ask(server, HELLO)
    sent = json.loads(server.body["structured_outputs"]["structural_tag"])
    assert sent == {"type": "structural_tag", "format": HELLO}
    assert response.content == "hello"
    assert response.metadata["constraint"] == {
        "kind": "structural_tag", "spelling": "structured_outputs.structural_tag", "proved": True,
        "checker": "structure",
    }  # fmt: skip


@every_version
def test_the_older_form_goes_where_each_release_takes_it(version: str) -> None:
    server = Replay(version, {"/v1/chat/completions": "rf_structural_tag_old"})
    if version == "0.8.5":
        with pytest.raises(UnsupportedFeatureError, match="guided_structural_tag"):
            ask(server, LEGACY)
        return
    field = "response_format" if version in ("0.10.2", "0.11.0") else "structured_outputs"
    with pytest.raises(Exception, match="cut the answer"):  # the recorded answer was cut
        ask(server, LEGACY, max_tokens=16)
    assert field in server.body


def test_a_tag_written_by_hand_is_proved_too() -> None:
    server = Replay("0.32.0", {"/v1/chat/completions": "so_structural_tag"})
    llm = server.provider()
    for body in (
        {"structured_outputs": {"structural_tag": json.dumps({"type": "structural_tag", "format": HELLO})}},
        {"response_format": {"type": "structural_tag", "format": HELLO}},
    ):
        response = llm.generate("Give me a number.", extra_body=body)
        assert response.metadata["constraint"]["proved"]
    with pytest.raises(ConstraintViolationError):
        llm.generate("a", extra_body={"response_format": {"type": "structural_tag", "format": {**HELLO, "value": "x"}}})


def test_an_answer_that_can_t_be_proved_is_said_to_be_so() -> None:
    server = Replay("0.32.0", {"/v1/chat/completions": "so_structural_tag"})
    record = ask(server, {"type": "any_text", "max_tokens": 9}).metadata["constraint"]
    assert record["proved"] is False
    assert "max_tokens" in record["unproved"]


def test_dots_mean_the_same_here_and_there() -> None:
    server = Replay("0.32.0", {"/v1/chat/completions": "so_structural_tag"})
    ask(server, {"type": "regex", "pattern": "h.*o"})
    assert r"h[^\\n]*o" in server.body["structured_outputs"]["structural_tag"]


def test_a_server_that_hides_its_version_is_not_trusted_with_one() -> None:
    with pytest.raises(UnsupportedFeatureError):
        ask(Replay("0.32.0", {}, hidden=True), HELLO)
