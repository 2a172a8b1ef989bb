"""``abstractcore providers`` and ``-p``: any backend from the command line."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from abstractcore import create_llm, factory, providers
from abstractcore.testing import FakeServer, Reply
from tests.unit.cli.test_main import Outcome, Shell

ROWS: dict[str, dict[str, Any]] = {
    "openai": {"status": "no_key", "error": "openai needs a key, and there is none\ntry: set OPENAI_API_KEY"},
    "ollama": {"status": "available", "models": ["a", "b", "c", "d"], "error": None},
    "lmstudio": {"status": "no_models", "models": [], "error": None},
    "vllm": {"status": "unreachable", "error": "no answer within 3 s"},
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    rows = [{"name": name, "models": [], **row} for name, row in ROWS.items()]
    monkeypatch.setattr(providers, "get_all_providers_status", lambda timeout: rows, raising=False)
    monkeypatch.setattr(
        providers,
        "get_provider_status",
        lambda name, timeout: next(row for row in rows if row["name"] == name),
        raising=False,
    )
    return Shell(monkeypatch, capsys)


def test_who_can_answer_and_what_stands_in_the_way(run: Shell) -> None:
    assert run("providers") == Outcome(
        0,
        "openai    no key         openai needs a key, and there is none; try: set OPENAI_API_KEY\n"
        "ollama    available      4 models: a, b, c, ...\n"
        "lmstudio  no models\n"
        "vllm      unreachable    no answer within 3 s\n",
        "",
    )


def test_what_one_can_do(run: Shell) -> None:
    outcome = run("providers", "lmstudio").out
    lines = dict(line.strip().split("  ", 1) for line in outcome.splitlines())
    assert "guided_json" in lines["native"]
    assert "guided_regex" in lines["emulated"]
    assert "guided_grammar" in lines["unsupported"]
    assert "top_k" in lines["knobs"]


def test_all_of_it_for_scripts(run: Shell) -> None:
    document = msgspec.json.decode(run("providers", "--json").out)
    assert document["schema"] == "abstractcore.providers/1"
    openai = document["providers"][0]
    assert (openai["status"], openai["capabilities"]["guided_choice"]) == ("no_key", "emulated")
    assert openai["knobs"] == ["frequency_penalty", "presence_penalty", "temperature", "top_p"]


# --- -p --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, run: Shell) -> Shell:
    """The command line with the real factory; all addresses lead to one fake server."""
    choice = {"message": {"content": "Because."}, "finish_reason": "stop"}
    run.server = FakeServer({"POST /v1/chat/completions": Reply.json({"model": "m", "choices": [choice]})})

    def make(name: str, model: str | None = None, **config: Any) -> providers.Provider:
        return create_llm(name, model, **config, **run.server.transports)

    monkeypatch.setattr(factory, "create_llm", make)
    return run


@pytest.mark.parametrize(
    "arguments", [("-p", "lmstudio", "-m", "m"), ("-p", "lmstudio/m"), ("-p", "openai/m", "--base-url", "h.test")]
)
def test_any_provider_is_asked_the_same_way(real: Shell, arguments: tuple[str, ...]) -> None:
    assert real(*arguments, "Why?") == Outcome(0, "Because.\n", "")
    assert real.server.sent[0]["model"] == "m"


def test_the_settings_model_is_that_of_the_settings_provider(real: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSTRACTCORE_PROVIDER", "lmstudio")
    monkeypatch.setenv("ABSTRACTCORE_MODEL", "m")
    assert real("Why?").code == 0
    assert real.server.sent[-1]["model"] == "m"
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    real.server.routes["POST /v1/chat/completions"][0] = Reply.json({
        "model": "gpt-5.4-mini", "choices": [{"message": {"content": "Because."}, "finish_reason": "stop"}]
    })  # fmt: skip
    assert real("-p", "openai", "Why?").code == 0
    assert real.server.sent[-1]["model"] == "gpt-5.4-mini"


def test_a_model_in_this_process_has_no_address(real: Shell) -> None:
    outcome = real("-p", "mlx", "--base-url", "http://h.test", "Why?")
    assert outcome.code == 2
    assert "mlx answers in this process" in outcome.err


def test_a_name_that_is_none_gets_the_nearest(real: Shell) -> None:
    outcome = real("-p", "olama", "Why?")
    assert outcome.code == 1
    assert "did you mean 'ollama'?" in outcome.err


def test_a_missing_key_names_its_variable(real: Shell) -> None:
    outcome = real("models", "-p", "openai")
    assert outcome.code == 1
    assert "try: set OPENAI_API_KEY" in outcome.err
    assert real.server.calls == []
