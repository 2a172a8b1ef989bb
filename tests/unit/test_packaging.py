"""What pyproject.toml, the installed metadata and the code say about the package agree."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import abstractcore
from tests.conftest import TESTS

ROOT = TESTS.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [
    "vllm",
    "openai",
    "anthropic",
    "ollama",
    "lmstudio",
    "mlx",
    "huggingface",
    "local",
    "server",
    "router",
    "deploy",
    "langchain",
]


def test_there_is_one_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE)
    assert newest
    assert {PROJECT["version"], metadata.version("abstractcore"), newest[1]} == {abstractcore.__version__}


def test_all_is_the_union_of_the_extras() -> None:
    extras = PROJECT["optional-dependencies"]
    assert list(extras) == [*EXTRAS, "all"]
    assert extras["all"] == [f"abstractcore[{','.join(EXTRAS)}]"]


def test_the_checkers_are_no_extras() -> None:
    names = {re.split(r"[<>=]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert {"jsonschema-rs", "llguidance"} <= names


def test_the_command_is_there() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="abstractcore")
    assert callable(command.load())


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("abstractcore").joinpath("py.typed").is_file()


def test_the_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def packages() -> list[Path]:
    """Folders of the source that hold modules."""
    return sorted({path.parent for path in (ROOT / "src").rglob("*.py")})


@pytest.mark.parametrize("folder", packages(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_folder_of_the_source_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()
