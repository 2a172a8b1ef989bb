"""The forms in which people write a server's address."""

from __future__ import annotations

import pytest

from abstractcore import ConfigurationError, VLLMProvider
from abstractcore.providers.endpoint import base_url_of

SOCKET = "http+unix://%2Frun%2Fvllm.sock/v1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://gpu:8000/v1", "http://gpu:8000/v1"),
        ("http://gpu:8000", "http://gpu:8000/v1"),
        ("http://gpu:8000/", "http://gpu:8000/v1"),
        ("http://gpu:8000/v1/", "http://gpu:8000/v1"),
        (" gpu:8000\n", "http://gpu:8000/v1"),
        ("localhost", "http://localhost/v1"),
        ("10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("http://[2001:db8::7]/v1", "http://[2001:db8::7]/v1"),
        ("https://host/vllm", "https://host/vllm/v1"),
        ("https://host/vllm/v1/", "https://host/vllm/v1"),
        ("unix:///run/vllm.sock", SOCKET),
        ("unix:///run/vllm.sock/", SOCKET),
        ("unix:///run/vllm.sock/v1", SOCKET),
        ("unix:/run/vllm.sock", SOCKET),
        ("http+unix://%2Frun%2Fvllm.sock", SOCKET),
        (SOCKET, SOCKET),
    ],
)
def test_one_meaning_for_each_form(written: str, meant: str) -> None:
    assert base_url_of(written) == meant
    assert base_url_of(meant) == meant


@pytest.mark.parametrize(
    "written",
    ["", "/", "http://", "ftp://gpu:8000", "::1", "http://::1/v1", "gpu:port", "gpu:99999", "http://[::1/v1", "http://:8000",
     "unix://", "unix://vllm.sock", "unix:./vllm.sock", "http://gpu:8000/v1?key=1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match=r"not the address of a server[\s\S]*try: write it like"):
        base_url_of(written)


def test_the_environment_takes_the_same_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "gpu-1:8000, http://gpu-2:8000/,gpu-1:8000/v1")
    llm = VLLMProvider()
    assert llm.base_url == "http://gpu-1:8000/v1"
    assert llm.base_urls == ("http://gpu-1:8000/v1", "http://gpu-2:8000/v1")


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", "http://wrong")
    assert VLLMProvider(base_url=["a:1", "unix:///b"]).base_urls == ("http://a:1/v1", "http+unix://%2Fb/v1")
    assert VLLMProvider(base_url="a:1,b:2").base_urls == ("http://a:1/v1", "http://b:2/v1")


@pytest.mark.parametrize("written", [",", [], ["a:1", "ftp://b"]])
def test_a_list_needs_an_address(written: str | list[str]) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        VLLMProvider(base_url=written)
