"""The file of keys: what it holds, who may read it, and when it is read again."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from abstractcore import ConfigurationError
from abstractcore.server import keys
from abstractcore.server.errors import GatewayError
from abstractcore.server.keys import Key, Keyring, make_key, read_keys, write_keys

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def stored(path: Path, *names: str) -> list[str]:
    """Writes a file with new keys of these names; the keys themselves."""
    made = [make_key() for _ in names]
    rows = [Key(name=name, sha256=digest, created=NOW) for name, (_, digest) in zip(names, made, strict=True)]
    write_keys(path, rows)
    return [secret for secret, _ in made]


def test_the_file_is_private_and_holds_no_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    [secret] = stored(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret not in path.read_text()
    assert [*path.parent.iterdir()] == [path]


def test_each_key_is_found_and_no_other(tmp_path: Path) -> None:
    secrets = stored(tmp_path / "k", "a", "b", "c")
    ring = Keyring(tmp_path / "k")
    found = [ring.find(secret) for secret in secrets]
    assert [key and key.name for key in found] == ["a", "b", "c"]
    for wrong in ("", "ac-", secrets[0][:-1], secrets[0] + "x", "\udce9"):
        assert ring.find(wrong) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k"
    stored(path, "a")
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        read_keys(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("{", "is no file of keys"),
        ('{"keys": [{"name": "a"}]}', "is no file of keys"),
        ('{"schema": "abstractcore.keys/9"}', "is no file of keys"),
        ('{"keys": [{"name": "a", "sha256": "plain text", "created": "2030-01-01T00:00:00Z"}]}', "is no file of keys"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match=words):
        read_keys(path)


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    stored(tmp_path / "k", "a", "a")
    with pytest.raises(ConfigurationError, match="more than once"):
        read_keys(tmp_path / "k")


def test_a_changed_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "REREAD_SECONDS", 0)
    path = tmp_path / "k"
    [old] = stored(path, "a")
    ring = Keyring(path)
    [new] = stored(path, "b")
    assert ring.find(old) is None
    assert ring.find(new) is not None


@pytest.mark.parametrize("spoil", [["chmod", "644"], ["rm"], ["truncate", "--size=1"]], ids=["open", "gone", "broken"])
def test_a_file_that_went_bad_lets_nobody_in_until_it_is_good_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: list[str]
) -> None:
    monkeypatch.setattr(keys, "REREAD_SECONDS", 0)
    path = tmp_path / "k"
    [secret] = stored(path, "a")
    ring = Keyring(path)
    subprocess.run([*spoil, str(path)], check=True)
    with pytest.raises(GatewayError) as caught:
        ring.find(secret)
    assert caught.value.status == 503
    path.unlink(missing_ok=True)
    [secret] = stored(path, "a")
    assert ring.find(secret) is not None


def test_a_key_is_good_for_the_models_of_its_patterns() -> None:
    key = Key(name="a", sha256="0" * 64, created=NOW, models=("vllm/*", "fast"))
    assert key.may_use("vllm/Qwen/Qwen3-8B")
    assert key.may_use("fast")
    assert not key.may_use("openai/gpt-5", "slow")
    assert Key(name="a", sha256="0" * 64, created=NOW).may_use("anything")


def test_a_key_ends_when_it_expires() -> None:
    key = Key(name="a", sha256="0" * 64, created=NOW, expires=NOW + timedelta(days=1))
    assert not key.has_expired(NOW)
    assert key.has_expired(NOW + timedelta(days=1))


def test_a_key_shows_its_name_only() -> None:
    assert repr(Key(name="a", sha256="0" * 64, created=NOW)) == "Key('a')"
