"""The registry: the seven, in the order that is part of the interface, and those that other packages add."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import abstractcore.providers
from abstractcore import ConfigurationError, MissingExtraError, create_llm
from abstractcore.capability import CAPABILITIES, KNOBS, Capability, Support
from abstractcore.providers import (
    OpenAICompatible,
    ProviderRegistry,
    VLLMProvider,
    get_provider_info,
    is_provider_available,
    list_available_providers,
)
from abstractcore.providers.extras import missing_modules, need
from abstractcore.testing import FakeServer, Reply
from tests.registered import as_it_was

SEVEN = ["openai", "anthropic", "ollama", "lmstudio", "mlx", "huggingface", "vllm"]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """What a test adds is gone after it."""
    with as_it_was():
        yield


# --- the seven -------------------------------------------------------------------------------------------------------


def test_the_seven_in_order() -> None:
    assert list_available_providers() == SEVEN


def test_every_provider_has_its_rows_in_the_tables() -> None:
    assert list(CAPABILITIES) == list(KNOBS) == SEVEN


def test_a_row_leads_to_its_class() -> None:
    info = get_provider_info("vllm")
    assert info.provider_class is VLLMProvider
    assert "guided_regex" in info.supported_features
    assert (info.default_model, info.authentication_required, info.installation_extras) == (None, False, None)
    assert get_provider_info("openai").authentication_required
    assert get_provider_info("mlx").installation_extras == "mlx"


def test_an_unknown_name_gets_the_nearest() -> None:
    assert not is_provider_available("olama")
    with pytest.raises(ConfigurationError, match="no provider 'olama'") as caught:
        get_provider_info("olama")
    assert caught.value.hint == "did you mean 'ollama'?"


@pytest.mark.parametrize("name", SEVEN)
def test_every_row_has_its_class(name: str) -> None:
    info = get_provider_info(name)
    made = info.provider_class
    assert made.provider == name
    assert getattr(abstractcore.providers, made.__name__) is made
    assert info.authentication_required is (name in ("openai", "anthropic"))
    assert (info.default_model is None) is (name in ("ollama", "lmstudio", "vllm"))  # they say what they serve
    assert info.in_process is (name in ("mlx", "huggingface"))


@pytest.mark.parametrize("name", abstractcore.providers.__all__)
def test_every_name_of_the_package_resolves(name: str) -> None:
    assert getattr(abstractcore.providers, name).__name__ in (name, "Provider")


def test_the_names_of_the_package_are_those_it_says() -> None:
    assert set(abstractcore.providers.__all__) <= set(dir(abstractcore.providers))
    with pytest.raises(AttributeError, match="no attribute 'VllmProvider'"):
        abstractcore.providers.VllmProvider  # noqa: B018


# --- extras ----------------------------------------------------------------------------------------------------------


def test_a_missing_package_names_the_extra_and_the_command() -> None:
    with pytest.raises(MissingExtraError, match="the mlx provider needs its extra") as caught:
        need("nothing_of_this_name.core", "mlx")
    assert caught.value.hint == 'pip install "abstractcore[mlx]"'
    assert isinstance(caught.value, ImportError)


def test_a_package_that_is_there_but_broken_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_part.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="although it is installed") as caught:
        need("broken_part", "huggingface", "local")
    assert "nothing_of_this_name" in (caught.value.why or "")
    assert not isinstance(caught.value, MissingExtraError)


def test_what_is_there_is_given_and_looking_for_it_loads_nothing() -> None:
    assert need("json", "mlx").dumps(1) == "1"
    assert missing_modules(["json", "nothing_of_this_name"]) == ["nothing_of_this_name"]


# --- one row more ----------------------------------------------------------------------------------------------------


def groq() -> OpenAICompatible:
    return OpenAICompatible(
        name="groq",
        display_name="Groq",
        description="Groq's cloud",
        base_url="https://api.groq.test/openai/v1",
        key_variable="GROQ_API_KEY",
        model="llama",
    )


def test_an_openai_compatible_backend_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    abstractcore.providers.get_provider_registry().register_provider(groq())
    assert list_available_providers() == [*SEVEN, "groq"]
    monkeypatch.setenv("GROQ_API_KEY", "k")
    choice = {"message": {"content": '"red"'}, "finish_reason": "stop"}
    server = FakeServer({"POST /openai/v1/chat/completions": Reply.json({"choices": [choice]})})
    llm = create_llm("groq", **server.transports)
    assert (llm.provider, llm.model) == ("groq", "llama")
    assert llm.generate("x", guided_choice=["red", "blue"]).content == "red"
    assert server.calls[0].headers["authorization"] == "Bearer k"


def test_it_needs_its_key() -> None:
    abstractcore.providers.get_provider_registry().register_provider(groq())
    with pytest.raises(abstractcore.AuthenticationError, match="groq needs a key") as caught:
        create_llm("groq").generate("x")
    assert "GROQ_API_KEY" in (caught.value.hint or "")


def test_a_row_may_not_take_the_name_of_one_of_the_seven() -> None:
    row = OpenAICompatible(name="openai", display_name="", description="", base_url="http://evil.test")
    with pytest.raises(ConfigurationError, match="abstractcore itself"):
        ProviderRegistry().register_provider(row)


# --- other packages --------------------------------------------------------------------------------------------------

ROW = """
from abstractcore.providers import OpenAICompatible
row = OpenAICompatible(name="cloudy", display_name="Cloudy", description="A cloud", base_url="http://cloudy.test/v1")
"""
CLASS = """
from abstractcore.capability import Capability, Support, declare
from abstractcore.providers.openai_compatible import OpenAICompatibleProvider
from abstractcore.settings import Setting, declare_settings

declare("cloudy", {Capability.CHAT: Support.NATIVE})
declare_settings(
    Setting("cloudy.base_url", "http://cloudy.test/v1", (), "."), Setting("cloudy.api_key", None, (), ".", secret=True)
)

class row(OpenAICompatibleProvider):
    \"\"\"A cloud.

    And more.
    \"\"\"
    provider = "cloudy"
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes a distribution that adds a provider ``cloudy``, as pip would lay it out."""

    def put(source: str) -> None:
        (tmp_path / "cloudy_provider.py").write_text(source)
        info = tmp_path / "cloudy_provider-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cloudy-provider\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[abstractcore.providers]\ncloudy = cloudy_provider:row\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield put
    sys.modules.pop("cloudy_provider", None)


@pytest.mark.parametrize("source", [ROW, CLASS], ids=["row", "class"])
def test_an_installed_package_adds_a_provider(install: Callable[[str], None], source: str) -> None:
    install(source)
    assert list_available_providers() == [*SEVEN, "cloudy"]
    assert "cloudy_provider" not in sys.modules  # its name needs no import
    server = FakeServer({
        "POST /v1/chat/completions": Reply.json({"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]})
    })  # fmt: skip
    assert create_llm("cloudy/m", **server.transports).generate("x").content == "Hi."
    assert get_provider_info("cloudy").description.startswith("A cloud")
    assert CAPABILITIES["cloudy"][Capability.CHAT] is Support.NATIVE


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("row = 3", "is 3"),
        (ROW.replace("cloudy", "misty"), "OpenAICompatible"),
    ],
)
def test_a_broken_package_is_named_when_it_is_used_and_hides_nobody(
    install: Callable[[str], None], source: str, why: str
) -> None:
    install(source)
    assert is_provider_available("vllm")
    assert create_llm("vllm/m").model == "m"
    with pytest.raises(ConfigurationError, match="cloudy-provider adds") as caught:
        create_llm("cloudy/m")
    assert why in (caught.value.why or "")
