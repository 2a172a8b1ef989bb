"""Which models there are, under which names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abstractcore.errors import ConnectionFailedError, ModelNotFoundError
from abstractcore.server import catalog as module
from abstractcore.server.backend import Backend
from abstractcore.server.catalog import Catalog
from abstractcore.server.config import BackendConfig
from abstractcore.types import ModelInfo


class FakeBackend(Backend):
    """A backend whose list of models a test writes."""

    def __init__(self, name: str, *models: ModelInfo) -> None:
        super().__init__(name, BackendConfig(provider="vllm"))
        self.found: list[ModelInfo] | Exception = list(models)
        self.asked = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def list_models(self, seconds: float) -> list[ModelInfo]:
        """What the test wrote, when it lets it out."""
        self.asked += 1
        found = self.found
        await self.go_on.wait()
        if isinstance(found, Exception):
            raise found
        return found


def two(aliases: dict[str, str] | None = None) -> tuple[Catalog, FakeBackend, FakeBackend]:
    one = FakeBackend("one", ModelInfo(id="m", adapters=("sql",)), ModelInfo(id="sql", parent="m"))
    other = FakeBackend("other", ModelInfo(id="n"), ModelInfo(id="shared"))
    return Catalog({"one": one, "other": other}, aliases or {}), one, other


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)


@pytest.mark.parametrize(
    ("asked", "backend", "model"),
    [
        ("one/m", "one", "m"),
        ("m", "one", "m"),
        ("sql", "one", "sql"),
        ("fast", "other", "n"),
        ("one", "one", None),
        ("one/org/name", "one", "org/name"),
    ],
)
async def test_names_of_a_model(asked: str, backend: str, model: str | None) -> None:
    catalog, _, _ = two({"fast": "n"})
    target = await catalog.resolve(asked)
    assert (target.backend.name, target.model) == (backend, model)


async def test_every_name_that_a_client_may_pick_has_a_row() -> None:
    catalog, _, _ = two({"fast": "other/n", "db": "one/sql", "gone": "other/x"})
    rows = {row["id"]: row for row in await catalog.rows()}
    assert list(rows) == ["one/m", "one/sql", "other/n", "other/shared", "fast", "db"]
    assert (rows["fast"]["alias_of"], rows["db"]["parent"]) == ("other/n", "one/m")
    assert rows["other/n"]["aliases"] == ["fast"]
    for name in rows:
        assert (await catalog.resolve(name)).model


async def test_the_rows_of_one_provider_have_the_aliases_of_its_models_only() -> None:
    catalog, _, _ = two({"fast": "other/n", "db": "one/sql"})
    assert [row["id"] for row in await catalog.rows("other")] == ["other/n", "other/shared", "fast"]


async def test_a_backend_that_is_slow_keeps_nobody_waiting() -> None:
    catalog, _, other = two()
    other.go_on.clear()
    assert [row["id"] for row in await catalog.rows()] == ["one/m", "one/sql"]
    error = (await catalog.listings())["other"].error
    assert error is not None
    assert "has not answered" in error.message
    other.go_on.set()
    await asyncio.sleep(0.01)
    assert len(await catalog.rows()) == 4


async def test_what_is_known_is_given_at_once_and_asked_for_again_behind_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog, one, _ = two()
    await catalog.rows()
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)
    one.go_on.clear()
    one.found = [ModelInfo(id="new")]
    assert "one/m" in [row["id"] for row in await catalog.rows()]
    one.go_on.set()
    await asyncio.sleep(0.01)
    assert "one/new" in [row["id"] for row in await catalog.rows()]


async def test_what_was_asked_before_a_change_does_not_hide_it() -> None:
    catalog, one, _ = two()
    one.go_on.clear()
    await catalog.rows()
    catalog.forget()  # an adapter was loaded while the question was on its way
    one.found = [ModelInfo(id="m"), ModelInfo(id="added", parent="m")]
    one.go_on.set()
    assert "one/added" in [row["id"] for row in await catalog.rows()]


async def test_a_model_that_was_just_loaded_is_found_by_its_bare_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    catalog, one, _ = two()
    await catalog.rows()
    one.found = [ModelInfo(id="m"), ModelInfo(id="added", parent="m")]
    assert (await catalog.resolve("added")).model == "added"


async def test_names_that_nobody_has_do_not_make_the_gateway_ask_without_end() -> None:
    catalog, one, _ = two()
    for _ in range(20):
        with pytest.raises(ModelNotFoundError):
            await catalog.resolve("nothing")
    assert one.asked <= 2


async def test_a_name_that_several_backends_have_is_refused_with_both() -> None:
    catalog, one, other = two()
    one.found = other.found = [ModelInfo(id="shared")]
    with pytest.raises(ModelNotFoundError, match="several backends") as caught:
        await catalog.resolve("shared")
    assert caught.value.hint == "write one/shared or other/shared"


async def test_a_backend_that_fails_says_why_where_there_is_no_model_at_all() -> None:
    catalog, one, other = two()
    one.found = other.found = ConnectionFailedError("nothing listens there")
    with pytest.raises(ModelNotFoundError) as caught:
        await catalog.resolve("m")
    assert "nothing listens there" in (caught.value.hint or "")


async def test_the_models_of_replicas_are_put_together() -> None:
    backend = Backend("vllm", BackendConfig(base_url=["http://a.test", "http://b.test", "http://c.test"]))
    found: list[Any] = [[ModelInfo(id="m")], [ModelInfo(id="m"), ModelInfo(id="sql", parent="m")]]

    async def answer(**_: float) -> list[ModelInfo]:
        if not found:
            raise ConnectionFailedError("refused")
        models: list[ModelInfo] = found.pop(0)
        return models

    for replica in backend.replicas:
        replica.provider.alist_models = answer  # type: ignore[method-assign, assignment]
    assert [row.id for row in await backend.list_models(1.0)] == ["m", "sql"]
