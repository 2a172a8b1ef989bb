"""``abstractcore embed``: a vector a line."""

from __future__ import annotations

import json

from abstractcore.testing import Reply
from tests.unit.cli.test_main import Shell, run

__all__ = ["run"]


def serve_vectors(shell: Shell) -> None:
    rows = [{"index": 0, "embedding": [0.5, 1.0]}, {"index": 1, "embedding": [0.25, -1.0]}]
    shell.server.route("POST /v1/embeddings", Reply.json({"model": "m", "data": rows}))


def test_texts_of_the_command_line(run: Shell) -> None:
    serve_vectors(run)
    outcome = run("embed", "one", "two")
    assert [json.loads(line) for line in outcome.out.splitlines()] == [[0.5, 1.0], [0.25, -1.0]]
    assert run.server.sent[-1]["input"] == ["one", "two"]


def test_lines_of_the_standard_input(run: Shell) -> None:
    serve_vectors(run)
    assert run("embed", piped="one\ntwo\n").code == 0
    assert run.server.sent[-1]["input"] == ["one", "two"]


def test_nothing_to_embed_is_wrong_usage(run: Shell) -> None:
    outcome = run("embed")
    assert outcome.code == 2
    assert "there is no text" in outcome.err
