"""Where a setting comes from, and that the stronger origin wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from abstractcore import ConfigurationError, settings
from abstractcore.settings import SETTINGS, Value, cache_dir, resolve, user_file

URL = "vllm.base_url"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A strong and a weak settings file."""
    return tmp_path / "strong.toml", tmp_path / "weak.toml"


def test_the_stronger_origin_wins(files: tuple[Path, Path]) -> None:
    strong, weak = files
    environ = {"VLLM_BASE_URL": "http://environment"}

    def found(argument: str | None = None, environ: dict[str, str] | None = None) -> Value:
        return resolve(URL, argument, environ=environ or {}, files=files)

    assert found() == Value(URL, "http://localhost:8000/v1", "default")
    weak.write_text('[vllm]\nbase_url = "http://weak"\n')
    assert found() == Value(URL, "http://weak", str(weak))
    strong.write_text('[vllm]\nbase_url = "http://strong"\n')
    assert found() == Value(URL, "http://strong", str(strong))
    assert found(environ=environ) == Value(URL, "http://environment", "VLLM_BASE_URL")
    assert found("http://argument", environ) == Value(URL, "http://argument", "argument")


def test_an_empty_variable_counts_as_unset() -> None:
    assert resolve(URL, environ={"VLLM_BASE_URL": ""}, files=()).origin == "default"


def test_an_empty_argument_is_an_argument() -> None:
    assert resolve(URL, "", environ={"VLLM_BASE_URL": "http://x"}, files=()) == Value(URL, "", "argument")


def test_other_sections_of_a_file_are_left_alone(files: tuple[Path, Path]) -> None:
    files[0].write_text('[vllm]\napi_key = "k"\n[other]\nx = 1\n')
    files[0].chmod(0o600)
    assert resolve(URL, environ={}, files=files).origin == "default"
    assert resolve("vllm.api_key", environ={}, files=files).value == "k"


@pytest.mark.parametrize("content", [b"[vllm", b"\xff\xfe", b'vllm.base_url = "a"\nvllm.base_url = "b"'])
def test_a_broken_file_is_named(files: tuple[Path, Path], content: bytes) -> None:
    files[0].write_bytes(content)
    with pytest.raises(ConfigurationError, match="can't be read") as caught:
        resolve(URL, environ={}, files=files)
    assert str(files[0]) in caught.value.message


def test_a_value_of_another_type_is_told(files: tuple[Path, Path]) -> None:
    files[0].write_text("[vllm]\nbase_url = 8000\n")
    with pytest.raises(ConfigurationError, match="must be a string") as caught:
        resolve(URL, environ={}, files=files)
    assert caught.value.why == "it is int"


def test_the_projects_file_beats_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = user_file()
    mine.parent.mkdir(parents=True)
    mine.write_text('[vllm]\nbase_url = "http://user"\n')
    assert resolve(URL).value == "http://user"
    (tmp_path / settings.PROJECT_FILE).write_text('[vllm]\nbase_url = "http://project"\n')
    assert resolve(URL).value == "http://project"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
@pytest.mark.parametrize("name", ["vllm.api_key", "openai.api_key", URL])
def test_a_file_that_holds_a_key_is_its_owners_alone(files: tuple[Path, Path], mode: int, name: str) -> None:
    files[0].write_text('[vllm]\nbase_url = "http://x"\napi_key = "sesame-opens"\n')
    files[0].chmod(mode)
    with pytest.raises(ConfigurationError, match=r"holds vllm\.api_key and is open to others") as caught:
        resolve(name, environ={}, files=files)
    assert caught.value.hint == f"chmod 600 {files[0]}"
    assert "sesame" not in str(caught.value)
    files[0].chmod(0o600)
    assert resolve("vllm.api_key", environ={}, files=files).value == "sesame-opens"


def test_a_file_without_a_key_may_be_read_by_all(files: tuple[Path, Path]) -> None:
    files[0].write_text('[vllm]\nbase_url = "http://x"\n')
    files[0].chmod(0o644)
    assert resolve(URL, environ={}, files=files).value == "http://x"


@pytest.mark.parametrize("variable", [name for row in SETTINGS if row.secret for name in row.env])
def test_a_file_that_a_variable_names_is_its_owners_alone(tmp_path: Path, variable: str) -> None:
    setting = next(row.name for row in SETTINGS if variable in row.env)
    file = tmp_path / "key"
    file.write_text("sesame-opens\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="is open to others") as caught:
        resolve(setting, environ={f"{variable}_FILE": str(file)})
    assert caught.value.hint == f"chmod 600 {file}"
    file.chmod(0o600)
    assert resolve(setting, environ={f"{variable}_FILE": str(file)}).value == "sesame-opens"


def test_a_secret_is_not_shown() -> None:
    assert "sesame" not in repr(resolve("vllm.api_key", "sesame"))
    assert repr(resolve("vllm.api_key", "sesame")) == "Value('vllm.api_key', '(hidden)', 'argument')"
    assert resolve("vllm.api_key", "sesame").shown() == "(hidden)"
    assert resolve("vllm.api_key").shown() == "EMPTY"
    assert resolve("default.model").shown() == "(not set)"
    assert resolve(URL, "http://x").shown() == "http://x"


def test_there_is_no_such_setting() -> None:
    with pytest.raises(KeyError):
        resolve("vllm.nope")


def test_each_setting_has_one_name_and_its_own_variables() -> None:
    names = [row.name for row in SETTINGS]
    variables = [variable for row in SETTINGS for variable in row.env]
    assert len(set(names)) == len(names)
    assert len(set(variables)) == len(variables)
    assert all(row.doc.endswith(".") for row in SETTINGS)


def test_the_cache_folder() -> None:
    home = Path.home()
    assert cache_dir({}) == home / ".cache" / "abstractcore"
    assert cache_dir({"XDG_CACHE_HOME": "/x"}) == Path("/x/abstractcore")
    assert cache_dir({"XDG_CACHE_HOME": "/x", "ABSTRACTCORE_CACHE": "~/y"}) == home / "y"


def test_the_users_file() -> None:
    assert user_file({}) == Path.home() / ".config" / "abstractcore" / "config.toml"
    assert user_file({"XDG_CONFIG_HOME": "/x"}) == Path("/x/abstractcore/config.toml")
