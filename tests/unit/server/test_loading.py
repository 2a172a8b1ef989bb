"""Configurations: what is in force, where it comes from, and what is wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from abstractcore import ConfigurationError
from abstractcore.server.config import GatewayConfig, check_config, config_of
from abstractcore.server.loading import Given, load

TEXT = """
port = 9000
cors_origins = ["https://a.example"]
[backends.vllm]
base_url = ["http://a:8000", "http://b:8000"]
[backends."my box"]
provider = "openai"
[limits]
max_in_flight = 10
[aliases]
fast = "vllm/m"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(TEXT)
    return path


def test_a_flag_beats_the_file_and_the_file_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSTRACTCORE_PORT", "7000")
    monkeypatch.setenv("ABSTRACTCORE_HOST", "::1")
    loaded = load(file, [Given(("limits", "max_in_flight"), 5, "--most")])
    assert (loaded.config.port, loaded.config.host, loaded.config.limits.max_in_flight) == (9000, "::1", 5)
    assert loaded.origins["port",] == str(file)
    assert loaded.origins["host",] == "ABSTRACTCORE_HOST"
    assert loaded.origins["limits", "max_in_flight"] == "--most"
    assert load(None).config.port == 7000


def test_a_flag_adds_to_a_backend_of_the_file(file: Path) -> None:
    flags = [Given(("backends", "vllm"), {}, "--backend"), Given(("backends", "vllm", "model"), "m", "--x")]
    row = load(file, flags).config.backends["vllm"]
    assert row.model == "m"
    assert row.base_url == ["http://a:8000", "http://b:8000"]


def test_what_is_printed_says_the_same_when_it_is_read_again(file: Path) -> None:
    loaded = load(file)
    again = config_of(tomllib.loads(loaded.text()), "printed")
    assert msgspec.to_builtins(again) == msgspec.to_builtins(loaded.config)
    lines = loaded.text().splitlines()
    assert next(line for line in lines if line.startswith("port")).endswith(f"# {file}")
    assert next(line for line in lines if line.startswith("host")).endswith("# default")


def test_a_password_in_an_address_is_not_printed() -> None:
    loaded = load(None, [Given(("backends", "vllm", "base_url"), "http://me:hunter2@a:8000", "--backend")])
    assert "hunter2" not in loaded.text()


@pytest.mark.parametrize(
    ("data", "place", "hint"),
    [
        ({"prot": 1}, "'prot'", "'port'"),
        ({"limits": {"max_body": 1}}, "'limits.max_body'", "'max_body_bytes'"),
        ({"limits": {"idle_seconds": 0}}, "limits.idle_seconds", None),
        ({"backends": {"vllm": {"base_ur": "x"}}}, "'backends.vllm.base_ur'", "'base_url'"),
        ({"backends": {"vllm": {"base_url": 3}}}, "backends.vllm.base_url", None),
        ({"backends": {"vllm": {"api_key": "x"}}}, "'backends.vllm.api_key'", "a file of its own"),
        ({"backends": "vllm"}, "backends", "[backends.vllm]"),
        ({"zzzz": 1}, "'zzzz'", "there are: host"),
        ({"port": 70000}, "port", None),
    ],
)
def test_what_makes_no_sense_is_named_with_the_nearest_that_does(
    data: dict[str, Any], place: str, hint: str | None
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        config_of(data, "gateway.toml")
    assert caught.value.message.startswith("gateway.toml: ")
    assert place in caught.value.message
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize("text", ["port = ", "port = 1\nport = 2", "\udcff"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"host": "0.0.0.0"}, "without keys"),
        ({"host": "192.168.1.2"}, "without keys"),
        ({"cors_origins": ["*"]}, "no origin"),
        ({"cors_origins": ["https://*.example.org"]}, "no origin"),
        ({"cors_origins": ["https://example.org/"]}, "no origin"),
        ({"backends": {"vllm": {}}, "aliases": {"vllm/fast": "vllm/m"}}, "looks like a model"),
    ],
)
def test_what_is_unsafe_or_can_not_be_meant_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_config(config_of(config, "x"))


@pytest.mark.parametrize("more", [{"keys": "k.json"}, {"allow_open": True}])
def test_beyond_this_machine_it_takes_keys_or_the_word_of_the_operator(more: dict[str, Any]) -> None:
    check_config(config_of({"host": "0.0.0.0", **more}, "x"))
    check_config(GatewayConfig())
