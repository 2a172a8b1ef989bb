"""What an import costs: users pay for what they use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded for a statement, beyond those it starts with."""
    script = (
        f"import json, sys; before = set(sys.modules)\n{statement}\nprint(json.dumps(list(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def third_party(modules: set[str]) -> set[str]:
    """Top-level names that come neither with Python nor from here."""
    names = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return names - {"abstractcore", "typing_extensions"}  # msgspec looks for the latter and does without


def test_the_package_loads_nothing_but_itself() -> None:
    assert modules_after("import abstractcore") <= {"abstractcore", "__future__"}


def test_errors_and_types_need_msgspec_at_most() -> None:
    modules = modules_after("from abstractcore import GenerateResponse, Message, ProviderError, Regex")
    assert third_party(modules) <= {"msgspec"}
    assert not modules & {"asyncio", "socket", "ssl", "subprocess"}


def test_the_factory_loads_no_checker_before_a_constraint_needs_it() -> None:
    assert third_party(modules_after("from abstractcore import create_llm")) <= {"msgspec"}


def test_the_command_line_starts_with_click_alone() -> None:
    assert third_party(modules_after("import abstractcore.cli.main")) <= {"click", "msgspec"}


DEAR = {
    "asyncio", "dataclasses", "difflib", "email", "hashlib", "http", "importlib.metadata", "inspect", "logging",
    "random", "shutil", "socket", "ssl", "subprocess", "tempfile", "threading", "tomllib",
}  # fmt: skip
"""Of the standard library, each a few milliseconds that nobody needs who only makes a client."""


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama", "lmstudio", "vllm"])
def test_a_remote_provider_loads_neither_packages_nor_what_it_may_not_need(provider: str) -> None:
    modules = modules_after(f"from abstractcore import create_llm; create_llm('{provider}', 'm')")
    assert third_party(modules) <= {"msgspec"}
    assert not (modules - modules_after("import msgspec")) & DEAR  # with typing_extensions, msgspec loads inspect


def test_the_first_client_loads_what_a_request_needs_and_no_other_part() -> None:
    modules = modules_after("from abstractcore import create_llm; create_llm('vllm', 'm')")
    own = {name.removeprefix("abstractcore.") for name in modules if name.startswith("abstractcore.")}
    parts = {name.partition(".")[0] for name in own}
    others = {
        "cli",
        "deploy",
        "doctor",
        "selftest",
        "server",
        "session",
        "signature",
        "small_models",
        "testing",
        "topology",
    }
    assert not parts & others
    assert {name for name in own if name.startswith("transport")} == {"transport", "transport.retry"}
    backends = ("anthropic", "ollama", "lmstudio", "local", "openai_shape", "status", "batch.engine", "batch.journal")
    assert not {name for name in own if name.startswith(tuple(f"providers.{other}" for other in backends))}


def test_the_help_loads_the_list_of_commands_and_no_command() -> None:
    script = "import sys; sys.argv = ['abstractcore', '--help']; from abstractcore.cli.main import main"
    modules = modules_after(f"{script}\ntry: main()\nexcept SystemExit: pass\nsys.stdout.write(chr(10))")
    own = {name for name in modules if name.startswith("abstractcore.")}
    assert own == {"abstractcore.cli", "abstractcore.cli.main", "abstractcore.cli.visible", "abstractcore.errors"}
    assert third_party(modules) == {"click"}


@pytest.mark.parametrize("provider", ["mlx", "huggingface"])
def test_a_model_in_this_process_is_not_loaded_before_it_is_asked(provider: str) -> None:
    modules = modules_after(f"from abstractcore import create_llm; create_llm('{provider}', 'm')")
    heavy = {name for name in third_party(modules) if "cython" not in name}  # httptools is written in it
    assert heavy <= {"msgspec", "httptools"}


def test_the_names_of_the_providers_cost_no_class() -> None:
    modules = modules_after("from abstractcore.providers import list_available_providers")
    assert "abstractcore.providers.base" not in modules
