"""Adapters through the gateway: who may load which, on all replicas or on none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import ConfigurationError
from abstractcore.server.adapters import check_links, check_path
from abstractcore.server.app import App
from abstractcore.server.backend import Backend
from abstractcore.server.config import BackendConfig, GatewayConfig, check_config
from abstractcore.server.errors import GatewayError
from abstractcore.testing import FakeServer, Reply
from abstractcore.wire.call import Call
from tests.asgi_client import Client, fake_vllm, gateway_of

from .test_chat import ASKED, CHAT, completion

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
SQL = {"lora_name": "sql", "lora_path": "/adapters/sql"}


class FakeLoras:
    """A vLLM that loads adapters, or refuses to."""

    def __init__(self, *, refuses: bool = False, keeps: bool = False, version: str = "0.32.0") -> None:
        self.loaded: dict[str, str] = {}
        self.refuses = refuses
        self.keeps = keeps
        self.server: FakeServer = fake_vllm(
            {
                "GET /v1/models": self._models,
                "POST /v1/load_lora_adapter": self._load,
                "POST /v1/unload_lora_adapter": self._unload,
                "GET /metrics": Reply((b"process_start_time_seconds 1.0\n",)),
            },
            version,
        )

    def _models(self, _: Call) -> Reply:
        rows = [{"id": "m"}, *({"id": name, "parent": "m", "root": path} for name, path in self.loaded.items())]
        return Reply.json({"object": "list", "data": rows})

    def _load(self, call: Call) -> Reply:
        asked = msgspec.json.decode(call.body or b"")
        if self.refuses:
            return Reply.json({"error": {"message": "No adapter found", "type": "NotFoundError", "code": 404}}, 404)
        self.loaded[asked["lora_name"]] = asked["lora_path"]
        return Reply((b"Success",))

    def _unload(self, call: Call) -> Reply:
        if self.keeps:
            return Reply.json({"error": {"message": "boom", "type": "InternalServerError", "code": 500}}, 500)
        found = self.loaded.pop(msgspec.json.decode(call.body or b"")["lora_name"], None)
        return Reply((b"Success",)) if found else Reply.json({"error": {"message": "not there", "code": 404}}, 404)


def of(*engines: FakeLoras, allow: bool = True, folders: list[str] | None = None) -> tuple[Client, Backend]:
    gateway = gateway_of("vllm", *(engine.server for engine in engines))
    backend = gateway.backends["vllm"]
    backend.config.allow_adapters = allow
    backend.config.adapter_folders = ["/"] if folders is None else folders
    return Client(App(gateway)), backend


@given(st.lists(st.sampled_from(["..", ".", "adapters", "x", "", "adapters2"]), max_size=8).map("/".join))
def test_no_spelling_of_a_path_leads_out_of_the_folder(rest: str) -> None:
    try:
        found = check_path(f"/srv/adapters/{rest}", ["/srv/adapters/"])
    except GatewayError:
        return  # refused
    assert found.startswith("/srv/adapters/")
    assert ".." not in found.split("/")


@pytest.mark.parametrize(
    "path", ["sql", "./sql", "../sql", "~/sql", "org/name", "https://x.test/a", "s3://b/a", "", "/a\0b", "/a\nb"]
)
def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    with pytest.raises(GatewayError, match="must be absolute"):
        check_path(path, [])


def test_no_symbolic_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """As far as the gateway sees the folder: what only the server's machine has, only the server can see."""
    allowed, other = tmp_path / "adapters", tmp_path / "other"
    (other / "sql").mkdir(parents=True)
    (allowed / "fine").mkdir(parents=True)
    (allowed / "out").symlink_to(other)
    (allowed / "in").symlink_to(allowed / "fine")
    (tmp_path / "alias").symlink_to(allowed)
    for path in (allowed / "out", allowed / "out" / "sql"):
        with pytest.raises(GatewayError, match="may not be loaded") as caught:
            check_links(str(path), [str(allowed)])
        assert "a symbolic link leads out" in (caught.value.why or "")
    check_links(str(allowed / "in"), [str(allowed)])
    check_links(str(tmp_path / "alias" / "fine"), [str(tmp_path / "alias")])
    check_links("/only/on/the/server", ["/only/on"])


async def test_a_link_that_leads_out_reaches_no_server(tmp_path: Path) -> None:
    engine = FakeLoras()
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "sql").symlink_to(tmp_path)
    client, _ = of(engine, folders=[str(tmp_path / "allowed")])
    got = await client.post(LOAD, {"lora_name": "sql", "lora_path": str(tmp_path / "allowed" / "sql")})
    assert (got.status, got.error["code"]) == (403, "adapter_path")
    assert not engine.loaded


async def test_pickles_reach_no_server(tmp_path: Path) -> None:
    engine = FakeLoras()
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "adapter_model.bin").touch()
    client, _ = of(engine, folders=[str(tmp_path)])
    asked = {"lora_name": "sql", "lora_path": str(tmp_path / "sql")}
    got = await client.post(LOAD, asked)
    assert got.status == 400
    assert "its weights are a pickle" in got.error["message"]
    assert not engine.loaded
    (tmp_path / "sql" / "adapter_model.safetensors").touch()
    assert (await client.post(LOAD, asked)).status == 200


@pytest.mark.parametrize("folders", [[], ["relative"], ["/fine", "./x"]])
def test_an_operator_who_allows_adapters_says_where_from(folders: list[str]) -> None:
    config = GatewayConfig(backends={"vllm": BackendConfig(allow_adapters=True, adapter_folders=folders)})
    with pytest.raises(ConfigurationError, match=r"any folder|is not absolute"):
        check_config(config)
    config.backends["vllm"].adapter_folders = ["/models/adapters"]
    check_config(config)


@pytest.mark.parametrize(
    ("path", "folders", "allowed"),
    [
        ("/srv/adapters/sql", ["/srv/adapters"], True),
        ("//srv/adapters//sql/", ["/srv/adapters"], True),
        ("/srv/adapters/a/../sql", ["/srv/adapters"], True),
        ("/srv/adapters", ["/srv/adapters"], False),
        ("/srv/adapters2/sql", ["/srv/adapters"], False),
        ("/srv/adapters/../keys", ["/srv/adapters"], False),
        ("/b/sql", ["/a", "/b"], True),
        ("/anywhere/sql", [], False),
        ("/anywhere/sql", ["/"], True),
    ],
)
def test_only_what_is_below_a_folder_is_loaded(path: str, folders: list[str], *, allowed: bool) -> None:
    if allowed:
        assert check_path(path, folders).endswith("/sql")
    else:
        with pytest.raises(GatewayError, match="may not be loaded"):
            check_path(path, folders)


async def test_an_adapter_is_loaded_on_all_replicas_and_is_a_model_then() -> None:
    engines = [FakeLoras(), FakeLoras()]
    client, backend = of(*engines)
    got = await client.post(LOAD, {**SQL, "lora_path": "/adapters//sql/"})
    assert (got.status, got.json["id"]) == (200, "vllm/sql")
    assert set(got.json["replicas"].values()) == {"loaded"}
    assert [engine.loaded for engine in engines] == [{"sql": "/adapters/sql"}] * 2
    assert backend.adapters == {"sql": "/adapters/sql"}
    rows = {row["id"]: row for row in (await client.get("/v1/models")).json["data"]}
    assert rows["vllm/sql"]["parent"] == "vllm/m"


async def test_loading_one_that_is_there_changes_nothing() -> None:
    engine = FakeLoras()
    client, _ = of(engine)
    await client.post(LOAD, SQL)
    got = await client.post(LOAD, SQL)
    assert (got.status, set(got.json["replicas"].values())) == (200, {"was there"})
    assert engine.server.paths().count(f"POST {LOAD}") == 1


async def test_an_adapter_that_one_replica_refuses_is_loaded_on_none() -> None:
    good, bad = FakeLoras(), FakeLoras(refuses=True)
    client, backend = of(good, bad)
    got = await client.post(LOAD, SQL)
    assert got.status == 404
    assert "1 of 2 replicas; it is loaded on none now" in got.error["message"]
    assert "No adapter found" in got.error["why"]
    assert (good.loaded, backend.adapters) == ({}, {})


async def test_one_that_can_not_be_taken_back_is_said_to_be_there() -> None:
    client, backend = of(FakeLoras(keeps=True), FakeLoras(refuses=True))
    got = await client.post(LOAD, SQL)
    assert f"it was left loaded on {backend.replicas[0].name}" in got.error["message"]


async def test_a_replica_that_is_down_gets_the_adapter_later() -> None:
    engines = [FakeLoras(), FakeLoras()]
    client, backend = of(*engines)
    backend.replicas[1].vitals.fall(0.0, "its port is closed")
    got = await client.post(LOAD, SQL)
    assert (got.status, engines[1].loaded) == (200, {})
    assert got.json["replicas"][backend.replicas[1].name].startswith("down")
    assert backend.adapters, "which is what it is loaded from when it is back"


async def test_an_adapter_is_unloaded_on_all_replicas() -> None:
    engines = [FakeLoras(), FakeLoras()]
    client, backend = of(*engines)
    await client.post(LOAD, SQL)
    del engines[0].loaded["sql"]
    got = await client.post(UNLOAD, {"lora_name": "vllm/sql"})
    assert (got.status, sorted(got.json["replicas"].values())) == (200, ["unloaded", "was not there"])
    assert backend.adapters == {}
    assert (await client.post(UNLOAD, {"lora_name": "sql"})).status == 404


@pytest.mark.parametrize("path", [LOAD, UNLOAD])
async def test_nobody_loads_or_unloads_where_the_operator_did_not_allow_it(path: str) -> None:
    engine = FakeLoras()
    client, _ = of(engine, allow=False)
    got = await client.post(path, SQL if path == LOAD else {"lora_name": "sql"})
    assert (got.status, got.error["code"]) == (403, "adapters_not_allowed")
    assert "allow_adapters = true" in got.error["hint"]
    assert not engine.server.calls


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**SQL, "lora_path": "org/name"}, 400),
        ({**SQL, "lora_path": "/etc/passwd"}, 403),
        ({**SQL, "lora_name": ""}, 400),
        ({**SQL, "lora_name": "a\nb"}, 400),
        ({**SQL, "lora_pat": "x"}, 400),
        ({"lora_name": "sql"}, 400),
        ({**SQL, "lora_name": 7}, 400),
        ({**SQL, "model": "nobody/m"}, 404),
        (b"{", 400),
    ],
)
async def test_what_makes_no_sense_reaches_no_server(body: Any, status: int) -> None:
    engine = FakeLoras()
    client, _ = of(engine, folders=["/adapters"])
    assert (await client.post(LOAD, body)).status == status
    assert f"POST {LOAD}" not in engine.server.paths()


@pytest.mark.parametrize(("version", "salted"), [("0.12.0", True), ("0.32.0", False)])
@pytest.mark.parametrize("extra", [{}, {"guided_regex": "H.*"}], ids=["passed on", "proved"])
async def test_an_adapter_is_kept_from_what_the_server_cached_for_another_one_of_its_name(
    version: str, extra: dict[str, Any], *, salted: bool
) -> None:
    engine = FakeLoras(version=version)
    engine.server.route("POST /v1/chat/completions", completion(model="sql"))
    client, _ = of(engine)
    await client.post(LOAD, SQL)
    got = await client.post(CHAT, {**ASKED, "model": "vllm/sql", **extra})
    assert got.status == 200
    assert engine.server.sent[-1].get("cache_salt") == ("/adapters/sql" if salted else None)
