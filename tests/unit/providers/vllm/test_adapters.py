"""Adapters: the plans against what eight real servers answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from abstractcore import AdapterError
from abstractcore.providers.endpoint import Endpoint
from abstractcore.providers.vllm import adapters, server
from abstractcore.providers.vllm.adapters import check_request, joined, same_path
from abstractcore.types import Adapter, ModelInfo
from abstractcore.wire.call import Answer, Call
from abstractcore.wire.openai import read_models
from tests.plans import play
from tests.recordings import VERSIONS, openapi, recorded, schema_properties

ENDPOINT = Endpoint("vllm", "http://gpu:8000/v1")
NOT_FOUND = Answer(404, {}, recorded("0.32.0", "GET /v1/lora_adapters").body)  # what a missing path answers
EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)
REPLACES_IN_PLACE = [
    version for version in VERSIONS if "load_inplace" in schema_properties(version, "LoadLoRAAdapterRequest")
]


def answer(version: str, probe: str) -> Answer:
    found = recorded(version, probe)
    return Answer(found.status, found.headers, found.body)


def models(version: str, *, with_adapter: bool) -> Answer:
    """The model list with and without the adapter ``sqlx``."""
    document = json.loads(recorded(version, "lora models").body)
    if not with_adapter:
        document["data"] = [row for row in document["data"] if row["parent"] is None]
    return Answer(200, {}, json.dumps(document).encode())


def root_of_adapter(version: str) -> str:
    (row,) = (row for row in read_models(models(version, with_adapter=True).body) if row.parent)
    assert row.root is not None
    return row.root


def play_load(
    version: str, answers: Sequence[Answer], *, path: str | None = None, replace: bool = False
) -> tuple[bool, list[Call]]:
    """Plays loading ``sqlx`` to a server whose dialect is asked first; without the calls for that."""
    server.forget(ENDPOINT)
    about = [answer(version, "GET /version"), Answer(200, {}, json.dumps(openapi(version)).encode())]
    plan = adapters.load(ENDPOINT, "sqlx", path or root_of_adapter(version), replace=replace)
    try:
        result, calls = play(plan, [*about, *answers])
    finally:
        server.forget(ENDPOINT)
    return result, calls[2:]


def sent(call: Call) -> tuple[str, Any]:
    return call.url.rpartition("/")[2], json.loads(call.body or b"null")


@EVERY_VERSION
def test_a_new_adapter_is_loaded(version: str) -> None:
    is_new, calls = play_load(version, [models(version, with_adapter=False), answer(version, "lora load")], path="/a")
    assert is_new
    assert sent(calls[1]) == ("load_lora_adapter", {"lora_name": "sqlx", "lora_path": "/a"})


@EVERY_VERSION
def test_one_that_is_there_from_the_same_path_is_fine(version: str) -> None:
    is_new, calls = play_load(version, [models(version, with_adapter=True)], path=root_of_adapter(version) + "/")
    assert not is_new
    assert len(calls) == 1


@EVERY_VERSION
def test_one_that_is_there_from_another_path_is_an_error(version: str) -> None:
    with pytest.raises(AdapterError, match=r"from another path[\s\S]*replace=True"):
        play_load(version, [models(version, with_adapter=True)], path="/other")


@EVERY_VERSION
def test_replace_takes_the_way_that_the_server_knows(version: str) -> None:
    listed, loaded = models(version, with_adapter=True), answer(version, "lora load")
    if version in REPLACES_IN_PLACE:
        is_new, calls = play_load(version, [listed, loaded], path="/other", replace=True)
        assert sent(calls[1])[1]["load_inplace"] is True
    else:
        removed = answer(version, "lora unload")
        is_new, calls = play_load(version, [listed, removed, loaded], path="/other", replace=True)
        assert [sent(call)[0] for call in calls] == ["models", "unload_lora_adapter", "load_lora_adapter"]
        assert "load_inplace" not in sent(calls[2])[1]
    assert is_new


def test_an_adapter_that_made_room_in_vain_is_put_back() -> None:
    refused, loaded = answer("0.10.2", "lora load badpath"), answer("0.10.2", "lora load")
    steps = [models("0.10.2", with_adapter=True), answer("0.10.2", "lora unload"), refused, loaded]
    with pytest.raises(AdapterError, match="was put back") as caught:
        play_load("0.10.2", steps, path="/nope", replace=True)
    assert "No adapter found for /nope" in (caught.value.server_message or "")


@EVERY_VERSION
def test_another_client_that_was_faster_with_the_same_is_fine(version: str) -> None:
    steps = [models(version, with_adapter=False), answer(version, "lora load dup"), models(version, with_adapter=True)]
    is_new, _ = play_load(version, steps)
    assert not is_new


@EVERY_VERSION
def test_another_client_that_was_faster_with_another_one_is_an_error(version: str) -> None:
    steps = [models(version, with_adapter=False), answer(version, "lora load dup"), models(version, with_adapter=True)]
    with pytest.raises(AdapterError, match="taken"):
        play_load(version, steps, path="/other")


def test_clients_that_load_and_unload_all_the_time_are_named_in_the_end() -> None:
    race = [models("0.32.0", with_adapter=False), answer("0.32.0", "lora load dup")]
    with pytest.raises(AdapterError, match="other clients"):
        play_load("0.32.0", race * 5)


@EVERY_VERSION
def test_a_bad_path_gives_the_servers_message(version: str) -> None:
    with pytest.raises(AdapterError, match="No adapter found for /nope") as caught:
        play_load(version, [models(version, with_adapter=False), answer(version, "lora load badpath")], path="/nope")
    assert caught.value.status == 404
    assert "adapter_config.json" in (caught.value.hint or "")


@EVERY_VERSION
def test_a_server_without_runtime_updates_gives_the_flags(version: str) -> None:
    with pytest.raises(AdapterError) as caught:
        play_load(version, [models(version, with_adapter=False), NOT_FOUND])
    for flag in ("--enable-lora", "--max-lora-rank", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
        assert flag in (caught.value.hint or "")


@EVERY_VERSION
def test_the_base_models_name_is_refused_before_anything_is_loaded(version: str) -> None:
    server.forget(ENDPOINT)
    about = [answer(version, "GET /version"), Answer(200, {}, json.dumps(openapi(version)).encode())]
    with pytest.raises(AdapterError, match="name of the base model"):
        play(adapters.load(ENDPOINT, "smollm2", "/a", replace=True), [*about, models(version, with_adapter=False)])
    server.forget(ENDPOINT)


@EVERY_VERSION
def test_unloading(version: str) -> None:
    assert play(adapters.unload(ENDPOINT, "sqlx"), [answer(version, "lora unload")])[0] is True
    assert play(adapters.unload(ENDPOINT, "sqlx"), [answer(version, "lora unload again")])[0] is False
    with pytest.raises(AdapterError, match="while it runs"):
        play(adapters.unload(ENDPOINT, "sqlx"), [NOT_FOUND])


@EVERY_VERSION
def test_listing(version: str) -> None:
    listed = joined([("http://a/v1", read_models(models(version, with_adapter=True).body))])
    assert listed == [Adapter("sqlx", root_of_adapter(version), "smollm2")]


def test_replicas_that_lack_an_adapter_are_named() -> None:
    sql = ModelInfo(id="sql", root="/sql", parent="m")
    base = ModelInfo(id="m")
    listed = joined([("http://a/v1", [base, sql]), ("http://b/v1", [base])])
    assert listed == [Adapter("sql", "/sql", "m", ("http://b/v1",))]


def test_an_adapter_is_known_by_its_name() -> None:
    listed = [Adapter("sql", "/sql", "m")]
    assert "sql" in listed
    assert "py" not in listed
    assert listed == ["sql"]
    assert set(listed) == {"sql"}
    assert f"{listed[0]}" == "sql"
    assert Adapter("sql", "/other") not in listed
    assert Adapter("sql", "/sql", "m") in listed


@pytest.mark.parametrize("path", ["/models/sql", "~/sql", "org/sql-lora", "s3://bucket/sql"])
def test_paths_that_mean_one_thing(path: str) -> None:
    check_request("sql", path)


@pytest.mark.parametrize("path", ["", "sql", "./sql", "../sql", "a/b/c", "org/", "C:\\sql", "models/../sql"])
def test_paths_that_the_server_would_understand_otherwise(path: str) -> None:
    with pytest.raises(AdapterError, match="must be absolute"):
        check_request("sql", path)


def test_an_adapter_needs_a_name() -> None:
    with pytest.raises(AdapterError, match="name"):
        check_request("", "/sql")


def test_slashes_make_no_other_path() -> None:
    assert same_path("/a/b/", "/a//b")
    assert not same_path("/a/b", "/a/c")
    assert not same_path(None, "/a")
