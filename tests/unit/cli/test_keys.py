"""``abstractcore keys``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from abstractcore import ConfigurationError
from abstractcore.cli.keys import keys
from abstractcore.server.keys import Keyring, default_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys, arguments)


def test_a_key_is_printed_once_and_let_in() -> None:
    done = run("add", "team-a", "--models", "vllm/*", "--rate", "60/min", "--adapters", "--expires", "30d")
    assert done.exit_code == 0, done.output
    secret = done.stdout.strip()
    found = Keyring(default_path()).find(secret)
    assert found is not None
    assert (found.name, found.models, found.rate, found.adapters) == ("team-a", ("vllm/*",), 60, True)
    assert found.expires is not None
    assert (found.expires - found.created).days == 30
    assert default_path().stat().st_mode & 0o777 == 0o600
    assert secret not in run("list").output
    assert secret not in run("list", "--json").output


def test_the_list_says_what_each_may_do(tmp_path: Path) -> None:
    file = str(tmp_path / "k.json")
    run("add", "a", "--models", "vllm/*", "--in-flight", "3", "--file", file)
    run("add", "b", "--expires", "2999-12-31", "--file", file)
    text = run("list", "--file", file).stdout.splitlines()
    assert text[0].startswith("a  models vllm/*; 3 at a time; made ")
    assert text[1].startswith("b  all models; expires 2999-12-31 00:00 UTC; made ")
    rows = json.loads(run("list", "--json", "--file", file).stdout)
    assert rows["schema"] == "abstractcore.keys.list/1"
    assert [row["name"] for row in rows["keys"]] == ["a", "b"]


def test_a_removed_key_is_gone() -> None:
    secret = run("add", "a").stdout.strip()
    run("add", "b")
    assert run("remove", "a").exit_code == 0
    ring = Keyring(default_path())
    assert ring.find(secret) is None
    assert len(ring) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "two words"],
        ["add", "a", "--rate", "fast"],
        ["add", "a", "--rate", "0"],
        ["add", "a", "--expires", "soon"],
        ["add", "a", "--expires", "2001-01-01"],
        ["add", "a", "--expires", "99999999999w"],
        ["add", "a", "--in-flight", "0"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_wrong_usage_and_makes_no_key(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
    assert not default_path().exists()


def test_a_name_is_taken_once_and_a_name_that_is_none_is_told() -> None:
    run("add", "a")
    before = default_path().read_bytes()
    for arguments in (["add", "a"], ["remove", "b"]):
        with pytest.raises(ConfigurationError) as caught:
            CliRunner().invoke(keys, arguments, catch_exceptions=False)
        assert "'a'" in str(caught.value) or "there are: a" in str(caught.value)
    assert default_path().read_bytes() == before


def test_an_open_file_is_not_written_to() -> None:
    run("add", "a")
    default_path().chmod(0o644)
    assert isinstance(run("add", "b").exception, ConfigurationError)
