"""What each provider could do now: every state, side by side, and no error swallowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import pytest

from abstractcore.errors import ConfigurationError, ConnectionFailedError, ProviderAPIError
from abstractcore.providers import (
    Provider,
    ProviderInfo,
    ProviderRegistry,
    get_all_providers_status,
    get_all_providers_with_models,
    get_available_models_for_provider,
    get_provider_status,
    registry,
    status,
)
from abstractcore.providers.openai_compatible import OpenAICompatibleProvider
from abstractcore.settings import TABLE, Setting, declare_settings
from abstractcore.testing import FakeServer, Reply
from tests.unit.providers.test_registry import SEVEN

KEYS = [
    "name", "display_name", "type", "model_count", "status", "description", "local_provider", "authentication_required",
    "supported_features", "installation_extras", "models", "error",
]  # fmt: skip
NAMES = ["well", "empty", "keyless", "refusing", "down", "sick", "odd", "hanging", "absent"]


class OnFake(OpenAICompatibleProvider):
    """A provider on a fake server; ``answers`` holds what it answers."""

    answers: ClassVar[list[Any]]

    def __init__(self, model: str | None = None, **config: Any) -> None:
        super().__init__(model, **config, **FakeServer({"GET /v1/models": self.answers}).transports)


class Row(ProviderInfo, frozen=True, kw_only=True, eq=False):
    """The row of one."""

    display_name: str = ""
    description: str = ""
    import_path: str = ""
    answer: Any = None

    @property
    def provider_class(self) -> type[Provider]:
        fixed = {"provider": self.name, "needs_key": self.name == "keyless", "answers": [self.answer]}
        return type(self.name, (OnFake,), fixed)


def _divide(call: object) -> Reply:
    raise ZeroDivisionError("by nothing")


def _wait(sign: threading.Event, call: object) -> Reply:
    assert sign.wait(20)
    return Reply.json({"data": []})


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One provider in each state."""
    refused = ConnectionFailedError("cannot connect: Connection refused")
    refused.refused = True
    sign = threading.Event()
    rows = [
        Row(name="well", answer=Reply.json({"data": [{"id": "b"}, {"id": "a"}]})),
        Row(name="empty", answer=Reply.json({"data": []})),
        Row(name="keyless", answer=Reply.json({"data": []})),
        Row(name="refusing", answer=Reply.json({"error": {"message": "bad key"}}, 401)),
        Row(name="down", answer=refused),
        Row(name="sick", answer=Reply.json({"error": {"message": "disk is full"}}, 500)),
        Row(name="odd", answer=_divide),
        Row(name="hanging", answer=partial(_wait, sign)),
        Row(name="absent", requires={"absent": ("no_such_package",)}),
    ]
    for name in NAMES:
        declare_settings(
            Setting(f"{name}.base_url", "http://h.test/v1", (), "."),
            Setting(f"{name}.api_key", None, (f"{name.upper()}_KEY",), ".", secret=True),
        )
    monkeypatch.setenv("REFUSING_KEY", "k")
    monkeypatch.setattr(registry, "_registry", ProviderRegistry(rows))
    monkeypatch.setattr(status, "_GRACE", 0.1)
    yield
    sign.set()
    for name in NAMES:
        del TABLE[f"{name}.base_url"], TABLE[f"{name}.api_key"]


@pytest.mark.usefixtures("backends")
def test_every_state_has_its_name_and_its_reason() -> None:
    found = {row["name"]: row for row in get_all_providers_status(timeout=0.4)}
    assert {name: row["status"] for name, row in found.items()} == {
        "well": "available",
        "empty": "no_models",
        "keyless": "no_key",
        "refusing": "error",
        "down": "unreachable",
        "sick": "error",
        "odd": "error",
        "hanging": "unreachable",
        "absent": "not_installed",
    }
    assert list(found) == NAMES
    assert all(list(row) == KEYS for row in found.values())
    told = {name: row["error"] for name, row in found.items()}
    assert told["well"] is told["empty"] is None
    assert "set KEYLESS_KEY" in told["keyless"]
    assert "bad key" in told["refusing"]
    assert "Connection refused" in told["down"]
    assert "disk is full" in told["sick"]
    assert told["odd"] == "ZeroDivisionError: by nothing"
    assert told["hanging"] == "no answer within 0.4 s"
    assert 'pip install "abstractcore[absent]"' in told["absent"]
    assert (found["well"]["models"], found["well"]["model_count"]) == (["a", "b"], 2)


@pytest.mark.usefixtures("backends")
def test_only_those_with_models_or_all_without_asking() -> None:
    assert get_provider_status("well")["models"] == ["a", "b"]
    rows = get_all_providers_with_models(include_models=False)
    assert [(row["name"], row["status"], row["models"]) for row in rows] == [(name, "unknown", []) for name in NAMES]


@pytest.mark.usefixtures("backends")
def test_the_models_of_one_or_what_is_wrong() -> None:
    assert get_available_models_for_provider("well") == ["a", "b"]
    with pytest.raises(ProviderAPIError, match="disk is full"):
        get_available_models_for_provider("sick")
    with pytest.raises(ConfigurationError, match="no provider 'wel'"):
        get_provider_status("wel")


def test_a_setting_that_makes_no_sense_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "ftp://here")
    found = get_provider_status("lmstudio")
    assert found["status"] == "error"
    assert "ftp://here" in found["error"]


def test_the_names_are_the_seven(loopback: None) -> None:
    """As the verification command prints them; nothing listens, so it takes no time."""
    assert [row["name"] for row in get_all_providers_status()] == SEVEN
