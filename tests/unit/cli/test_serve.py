"""``abstractcore serve``: what it says before it serves."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from abstractcore.cli.greeting import backend_line, opening
from abstractcore.cli.keys import keys
from abstractcore.cli.serve import serve
from abstractcore.errors import ConfigurationError, ConnectionFailedError
from abstractcore.server.catalog import Listing
from abstractcore.server.serve import url_of
from abstractcore.types import ModelInfo
from tests.asgi_client import fake_vllm, gateway_of

BACKEND = ("--backend", "vllm=http://localhost:1/v1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(serve, arguments)


def test_a_check_prints_each_value_with_its_origin() -> None:
    done = run("--check", "--port", "9", *BACKEND, "--alias", "fast=vllm/m", "--cors-origin", "https://a.example")
    assert done.exit_code == 0, done.output
    rows = {tuple(line.split("#")[0].split()): line.rpartition("#")[2].strip() for line in done.stdout.splitlines()}
    assert rows["port", "=", "9"] == "--port"
    assert rows["fast", "=", '"vllm/m"'] == "--alias"
    assert rows["host", "=", '"127.0.0.1"'] == "default"
    assert rows["cors_origins", "=", '["https://a.example"]'] == "--cors-origin"


def test_keys_without_a_file_are_those_of_the_command() -> None:
    CliRunner().invoke(keys, ["add", "a"])
    done = run("--check", "--keys", *BACKEND)
    assert done.exit_code == 0, done.output
    assert "keys.json" in done.stdout


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        ("prot = 1", [], 2),
        ("port = ", [], 2),
        ("", ["--host", "0.0.0.0"], 3),
        ("", ["--keys", "/nowhere/keys.json"], 3),
        ('cors_origins = ["*"]', [], 3),
        ("[backends.nonsense]", [], 3),
        ('[backends.vllm]\napi_key_file = "/nowhere/key"', [], 3),
    ],
)
def test_a_check_tells_a_broken_file_from_one_that_would_not_start(
    tmp_path: Path, text: str, arguments: list[str], code: int
) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    done = run("--check", "--config", str(file), *arguments)
    assert done.exit_code == code, done.output
    assert "error:" in done.stderr


def test_a_key_file_of_a_backend_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-upstream")
    secret.chmod(0o644)
    file = tmp_path / "gateway.toml"
    file.write_text(f'[backends.vllm]\napi_key_file = "{secret}"')
    done = run("--check", "--config", str(file))
    assert done.exit_code == 3
    assert f"chmod 600 {secret}" in done.stderr
    assert "sk-upstream" not in done.output


def test_a_port_that_is_taken_is_told_with_whoever_has_it(loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            CliRunner().invoke(serve, ["--port", str(port), *BACKEND], catch_exceptions=False)
    assert f"127.0.0.1:{port}" in caught.value.message
    assert "this very process" in str(caught.value.why)
    assert "--port" in str(caught.value.hint)


def test_the_greeting_says_for_whom_it_is(tmp_path: Path) -> None:
    text = "\n".join(opening("http://127.0.0.1:8080", gateway_of("vllm", fake_vllm({}))))
    assert "http://127.0.0.1:8080/v1" in text
    assert "none: open to programs on this machine" in text
    file = tmp_path / "k.json"
    CliRunner().invoke(keys, ["add", "a", "--file", str(file)])
    text = "\n".join(opening("http://x:8080", gateway_of("vllm", fake_vllm({}), keys=str(file), host="0.0.0.0")))
    assert f"1 in {file}" in text
    assert "open to" not in text


def test_a_backend_is_told_with_its_models_or_its_error() -> None:
    models = [ModelInfo(id="m"), ModelInfo(id="sql", parent="m")]
    assert backend_line("vllm", Listing(models), is_asked=True).split() == ["vllm", "m,", "1", "adapter"]
    down = Listing(error=ConnectionFailedError("refused"))
    assert "refused" in backend_line("vllm", down, is_asked=True)
    assert "does not answer" in backend_line("vllm", down, is_asked=False)


def test_addresses_can_be_pasted() -> None:
    assert url_of("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert url_of("::1", 80) == "http://[::1]:80"
    assert url_of("gpu1", 80) == "http://gpu1:80"
