from __future__ import annotations

import warnings

import pytest

from abstractcore import create_llm
from abstractcore.providers.vllm import misplaced


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(misplaced, "_seen", set())


def test_a_setting_of_the_server_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    with pytest.warns(UserWarning, match=r"worker processes of the server.*--p2p off") as caught:
        _ = [create_llm("vllm", model="m") for _ in range(2)]
    assert len(caught) == 1


@pytest.mark.parametrize("value", [None, "", "0"])
def test_without_it_there_is_nothing_to_say(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("NCCL_P2P_DISABLE", value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_llm("vllm", model="m")


def test_other_backends_have_no_workers_to_warn_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_P2P_DISABLE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_llm("openai", model="m", api_key="k")
