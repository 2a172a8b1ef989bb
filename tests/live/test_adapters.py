"""Adapters on a real server: loading, routing, the server's messages, and two processes at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from abstractcore import AdapterError, VLLMProvider

CHURN = Path(__file__).with_name("churn.py")
CHURN_SECONDS = 4


class Served(Protocol):
    """What the server fixtures tell."""

    @property
    def base_url(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def adapters(self) -> Any: ...


@pytest.fixture(params=["tiny_vllm"])
def served(request: pytest.FixtureRequest) -> Served:
    found: Served = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def tiny(served: Served) -> Iterator[VLLMProvider]:
    """A provider; the adapters that a test leaves behind are unloaded."""
    with VLLMProvider(served.model, base_url=served.base_url) as llm:
        before = llm.list_adapters()
        yield llm
        for adapter in set(llm.list_adapters()) - set(before):
            llm.unload_adapter(adapter.name)


@pytest.fixture
def paths(served: Served) -> list[str]:
    return [str(path) for path in served.adapters.values()]


def answer(llm: VLLMProvider, model: str | None = None) -> str:
    response = llm.generate("Once upon a time", model=model, temperature=0.0, max_tokens=8, raw_prompt=True)
    assert response.model == (model or llm.model)
    return response.content


def test_an_adapter_answers_under_its_name(tiny: VLLMProvider, paths: Sequence[str]) -> None:
    assert tiny.load_adapter("sql", paths[0]).endswith("loaded successfully")
    assert "loaded successfully" in tiny.load_adapter("sql", paths[0])
    (sql,) = [adapter for adapter in tiny.list_adapters() if adapter == "sql"]
    assert (sql.name, sql.path, sql.parent) == ("sql", paths[0], tiny.model)
    assert answer(tiny, "sql") != answer(tiny)
    assert {chunk.model for chunk in tiny.generate("hi", model="sql", max_tokens=3, stream=True)} == {"sql"}
    assert tiny.unload_adapter("sql").endswith("unloaded successfully")
    assert "sql" not in tiny.list_adapters()


def test_another_path_takes_replace(tiny: VLLMProvider, paths: Sequence[str]) -> None:
    tiny.load_adapter("first", paths[0])
    tiny.load_adapter("sql", paths[1])
    first, second = answer(tiny, "first"), answer(tiny, "sql")
    assert first != second
    with pytest.raises(AdapterError, match="replace=True"):
        tiny.load_adapter("sql", paths[0])
    assert answer(tiny, "sql") == second
    tiny.load_adapter("sql", paths[0], replace=True)
    assert answer(tiny, "sql") == first


async def test_the_async_twins(tiny: VLLMProvider, paths: Sequence[str]) -> None:
    assert await tiny.aensure_adapters({"a": paths[0], "b": paths[1]}) == ["a", "b"]
    assert await tiny.aensure_adapters({"a": paths[0], "b": paths[1]}) == []
    assert {"a", "b"} <= set(await tiny.alist_adapters())
    assert (await tiny.agenerate("hi", model="b", max_tokens=2)).model == "b"
    assert "unloaded" in await tiny.aunload_adapter("b")
    assert "it was there already" in await tiny.aload_adapter("a", paths[0])


def test_the_servers_own_words_are_kept(tiny: VLLMProvider, paths: Sequence[str], tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="No adapter found for /no/such/folder"):
        tiny.load_adapter("sql", "/no/such/folder")
    config = json.loads(Path(paths[0], "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.bin").write_bytes(b"no pickle of torch")
    with pytest.raises(AdapterError, match="its weights are a pickle"):
        tiny.load_adapter("sql", tmp_path)
    with pytest.raises(AdapterError, match="name of the base model"):
        tiny.load_adapter(tiny.model or "", paths[0])
    with pytest.raises(AdapterError, match="is not loaded"):
        tiny.unload_adapter("sql")


def test_an_adapter_that_another_client_unloaded_is_named(
    tiny: VLLMProvider, served: Served, paths: Sequence[str]
) -> None:
    tiny.load_adapter("sql", paths[0])
    with VLLMProvider(base_url=served.base_url) as other:
        other.unload_adapter("sql")
    with pytest.raises(AdapterError, match="lost: another client unloaded it"):
        tiny.generate("hi", model="sql", max_tokens=2)
    with pytest.raises(AdapterError, match="lost"):
        list(tiny.generate("hi", model="sql", max_tokens=2, stream=True))
    assert tiny.ensure_adapters({"sql": paths[0]}) == ["sql"]
    assert answer(tiny, "sql")


def test_two_processes_at_the_same_time(served: Served, paths: Sequence[str]) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, str(CHURN), served.base_url, str(CHURN_SECONDS), name, *paths],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("churn-one", "churn-two")
    ]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        report = json.loads(out)
        assert report["wrong"] == []
        assert report["unexplained"] == []
        assert report["differ"]
        assert report["counts"]["answers"] > 0


def test_the_command(served: Served, paths: Sequence[str]) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "abstractcore", "adapters", *arguments, "--base-url", served.base_url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run("load", "cli-sql", paths[0]) == "Adapter 'cli-sql' loaded successfully\n"
    assert f"cli-sql  {paths[0]}  adapter of {served.model}" in run("list")
    listed = json.loads(run("list", "--json"))
    assert listed["schema"] == "abstractcore.adapters/1"
    assert "cli-sql" in [row["name"] for row in listed["adapters"]]
    assert run("unload", "cli-sql") == "Adapter 'cli-sql' unloaded successfully\n"
