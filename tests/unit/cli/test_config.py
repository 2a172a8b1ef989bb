"""``abstractcore config``: every value with its origin, and no key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from abstractcore.cli.config import config
from abstractcore.settings import SETTINGS


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """A folder with settings, an environment with others."""
    for row in SETTINGS:
        for name in row.env:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("abstractcore.toml").write_text('[vllm]\nbase_url = "http://project:8000/v1"\n[serve]\nport = "9000"\n')
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:8000/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown")
    monkeypatch.setenv("OLLAMA_HOST", "https://me:never-shown@models:443")
    return CliRunner()


def test_values_come_with_their_origin(shell: CliRunner) -> None:
    shown = shell.invoke(config, ["show", "--origin"]).output.splitlines()
    lines = {name: rest.strip() for name, _, rest in (line.partition(" ") for line in shown)}
    assert set(lines) == {row.name for row in SETTINGS}
    assert lines["vllm.base_url"] == "http://gpu:8000/v1  (VLLM_BASE_URL)"
    assert lines["ollama.base_url"] == "https://(hidden)@models:443  (OLLAMA_HOST)"
    assert lines["serve.port"] == "9000  (abstractcore.toml)"
    assert lines["serve.host"] == "127.0.0.1  (default; set ABSTRACTCORE_HOST)"


@pytest.mark.parametrize("arguments", [["show"], ["show", "--origin"], ["show", "--json"], ["show", "openai"]])
def test_a_key_is_never_printed(shell: CliRunner, arguments: list[str]) -> None:
    shown = shell.invoke(config, arguments)
    assert shown.exit_code == 0
    assert "(hidden)" in shown.output
    assert "never-shown" not in shown.output


def test_json_is_for_programs(shell: CliRunner) -> None:
    document = json.loads(shell.invoke(config, ["show", "vllm.base_url", "openai", "--json"]).output)
    assert document["schema"] == "abstractcore.config/1"
    assert document["settings"] == {
        "vllm.base_url": {"value": "http://gpu:8000/v1", "origin": "VLLM_BASE_URL"},
        "openai.base_url": {"value": "https://api.openai.com/v1", "origin": "default"},
        "openai.api_key": {"value": "(hidden)", "origin": "OPENAI_API_KEY"},
    }


def test_an_unknown_setting_is_wrong_usage(shell: CliRunner) -> None:
    outcome = shell.invoke(config, ["show", "vllm.url"])
    assert outcome.exit_code == 2
    assert "there is no setting vllm.url" in outcome.output


def test_the_files_are_named_strongest_first(shell: CliRunner, tmp_path: Path) -> None:
    lines = shell.invoke(config, ["files"]).output.splitlines()
    assert lines[0] == f"{tmp_path / 'abstractcore.toml'}  (exists)"
    assert lines[1] == f"{tmp_path / 'home' / 'abstractcore' / 'config.toml'}  (none)"
