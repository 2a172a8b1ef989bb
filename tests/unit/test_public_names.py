"""The names that users import: which there are, where they live, that they are documented."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import FunctionType

import pytest

import abstractcore
from abstractcore import errors

PUBLIC = [
    "create_llm", "VLLMProvider",
    "BatchItem", "BatchProgress", "BatchResult",
    "Session", "BasicSession",
    "Adapter", "GenerateResponse", "Message", "ModelInfo", "ToolCall", "ToolDefinition", "Usage", "tool",
    "Choice", "Grammar", "JsonSchema", "Regex", "StructuralTag", "Timeouts",
    "AbstractCoreError",
    "ConfigurationError", "MissingExtraError",
    "UnsupportedFeatureError",
    "InvalidConstraintError",
    "ProviderError", "ConnectionFailedError", "ServerNotReadyError", "RequestTimeoutError", "StreamInterruptedError",
    "AuthenticationError", "ModelNotFoundError", "InvalidRequestError", "ContextLengthError", "RateLimitError",
    "ServerOverloadedError", "ProviderAPIError",
    "ConstraintViolationError", "TruncatedOutputError", "ToolCallError", "StepLimitError",
    "AdapterError", "DeployError", "SessionError",
    "__version__",
]  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert sorted(abstractcore.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(abstractcore))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(abstractcore, name)
    assert name in ("__version__", "BasicSession", getattr(value, "__name__", None))


def test_a_session_has_its_earlier_name_too() -> None:
    assert abstractcore.BasicSession is abstractcore.Session


def test_every_error_is_public() -> None:
    defined = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__.endswith("errors")
    }
    assert defined <= set(PUBLIC)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'create_lm'"):
        abstractcore.create_lm  # noqa: B018


def test_type_checkers_and_the_interpreter_find_the_same_names() -> None:
    tree = ast.parse(Path(abstractcore.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: f"abstractcore.{node.module}"
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert {*imported, "__version__"} == set(PUBLIC)
    for name, module in imported.items():
        assert getattr(abstractcore, name).__module__.startswith(module)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_everything_public_is_documented(name: str) -> None:
    value = getattr(abstractcore, name)
    members = (
        inspect.getmembers(value, lambda member: isinstance(member, FunctionType | property))
        if isinstance(value, type)
        else []
    )
    undocumented = [
        f"{name}.{member}"
        for member, _ in members
        if not member.startswith("_") and not inspect.getdoc(getattr(value, member))
    ]
    assert inspect.getdoc(value)
    assert undocumented == []
