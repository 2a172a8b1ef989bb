"""Who gets in: keys, pages, names and limits, as clients see them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from abstractcore.server.keys import Key, make_key, write_keys
from abstractcore.testing import Reply
from tests.asgi_client import Client, client_of, fake_vllm

CHAT = "/v1/chat/completions"
ASKED = {"model": "vllm/m", "messages": [{"role": "user", "content": "Hi"}]}
DONE = Reply.json(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
)


class Guarded:
    """A client of a gateway with one key."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None, **rights: Any) -> None:
        self.key, digest = make_key()
        path = folder / "keys.json"
        write_keys(path, [Key(name="team", sha256=digest, created=datetime(2030, 1, 1, tzinfo=UTC), **rights)])
        self.server = fake_vllm({f"POST {CHAT}": DONE}, models=("m", "other"))
        self.client: Client = client_of(self.server, keys=str(path), **(config or {}))
        self.bearer = {"authorization": f"Bearer {self.key}"}


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer "}, {"authorization": "Bearer"}]
)
async def test_without_a_key_there_is_no_answer_but_the_way_to_one(tmp_path: Path, headers: dict[str, str]) -> None:
    guarded = Guarded(tmp_path)
    got = await guarded.client.post(CHAT, ASKED, headers)
    assert (got.status, got.error["code"]) == (401, "missing_key")
    assert got.headers["www-authenticate"] == "Bearer"
    assert not guarded.server.sent


async def test_a_wrong_key_is_refused_and_not_repeated(tmp_path: Path) -> None:
    got = await Guarded(tmp_path).client.post(CHAT, ASKED, {"authorization": "Bearer sk-wrong-one"})
    assert (got.status, got.error["code"]) == (401, "invalid_key")
    assert b"sk-wrong-one" not in got.body


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_known_key_gets_in_and_goes_no_further(tmp_path: Path, header: str) -> None:
    guarded = Guarded(tmp_path)
    value = f"bearer {guarded.key}" if header == "authorization" else guarded.key
    got = await guarded.client.post(CHAT, ASKED, {header: value})
    assert got.status == 200
    assert guarded.key not in repr([(call.headers, call.body) for call in guarded.server.calls])


async def test_an_expired_key_says_so(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, expires=datetime(2020, 1, 1, tzinfo=UTC))
    got = await guarded.client.post(CHAT, ASKED, guarded.bearer)
    assert (got.status, got.error["code"]) == (401, "key_expired")


@pytest.mark.parametrize("path", ["/health", "/ready", "/openapi.json", "/", "/docs"])
async def test_some_things_are_for_everybody(tmp_path: Path, path: str) -> None:
    got = await Guarded(tmp_path).client.get(path, {"authorization": "Bearer wrong"})
    assert got.status == 200


async def test_what_is_behind_the_gateway_is_not_for_everybody(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    assert (await guarded.client.get("/ready")).json == {"ready": True}
    assert (await guarded.client.get("/ready", guarded.bearer)).json["backends"] == ["vllm"]


async def test_metrics_are_for_those_with_a_key_unless_the_operator_opens_them(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path)
    assert (await guarded.client.get("/metrics")).status == 401
    assert (await guarded.client.get("/metrics", guarded.bearer)).status == 200
    assert (await Guarded(tmp_path, {"open_metrics": True}).client.get("/metrics")).status == 200


async def test_a_key_sees_its_own_models_and_no_others(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, {"aliases": {"fast": "vllm/m", "slow": "vllm/other"}}, models=("vllm/m",))
    rows = (await guarded.client.get("/v1/models", guarded.bearer)).json["data"]
    assert [row["id"] for row in rows] == ["vllm/m", "fast"]
    assert (await guarded.client.get("/v1/models/vllm/other", guarded.bearer)).status == 404
    assert (await guarded.client.get("/v1/models/vllm/m", guarded.bearer)).json["id"] == "vllm/m"
    [row] = (await guarded.client.get("/providers", guarded.bearer)).json["providers"]
    assert row["models"] == ["m"]


@pytest.mark.parametrize("name", ["vllm/other", "other", "slow", "vllm", "nothing", "vllm/nothing"])
async def test_other_models_are_not_there_for_it_under_any_name(tmp_path: Path, name: str) -> None:
    guarded = Guarded(tmp_path, {"aliases": {"slow": "vllm/other"}}, models=("vllm/m",))
    got = await guarded.client.post(CHAT, {**ASKED, "model": name}, guarded.bearer)
    assert (got.status, got.error["code"]) == (404, "model_not_found")
    assert "other" not in got.error["hint"]
    assert not guarded.server.sent


@pytest.mark.parametrize("name", ["vllm/m", "m", "fast"])
async def test_its_own_are_there_under_all_names(tmp_path: Path, name: str) -> None:
    guarded = Guarded(tmp_path, {"aliases": {"fast": "vllm/m"}}, models=("vllm/m",))
    assert (await guarded.client.post(CHAT, {**ASKED, "model": name}, guarded.bearer)).status == 200
    assert guarded.server.sent[-1]["model"] == "m"


async def test_a_key_that_had_its_share_is_told_when_to_come_again(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, rate=1)
    first = await guarded.client.post(CHAT, ASKED, guarded.bearer)
    assert (first.status, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
    second = await guarded.client.post(CHAT, ASKED, guarded.bearer)
    assert (second.status, second.error["code"]) == (429, "rate_limited")
    assert 50 <= int(second.headers["retry-after"]) <= 60
    assert (await guarded.client.get("/v1/models", guarded.bearer)).status == 200, "looking costs nothing"
    page = (await guarded.client.get("/metrics", guarded.bearer)).body.decode()
    assert 'abstractcore_shed_total{reason="rate_limited"} 1' in page


async def test_a_place_is_free_again_after_a_failure() -> None:
    client = client_of(fake_vllm({f"POST {CHAT}": DONE}))
    for body in (b"{", b'{"model": "nothing"}'):
        await client.post(CHAT, body)
    assert client.app.gateway.guard.gate.in_flight == 0


PAGE = "https://page.example"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "page.example"}, "host_not_allowed"),
        ({"host": "page.example:8080", "origin": "http://page.example:8080"}, "host_not_allowed"),
        ({"host": "127.0.0.1.page.example"}, "host_not_allowed"),
        ({"origin": PAGE}, "origin_not_allowed"),
        ({"origin": "null"}, "origin_not_allowed"),
        ({"origin": "http://localhost:3000", "host": "localhost:8080"}, "origin_not_allowed"),
    ],
)
async def test_without_keys_no_strange_page_gets_in(headers: dict[str, str], code: str) -> None:
    server = fake_vllm({f"POST {CHAT}": DONE})
    got = await client_of(server).post(CHAT, ASKED, headers)
    assert (got.status, got.error["code"]) == (403, code)
    assert "access-control-allow-origin" not in got.headers
    assert not server.sent


@pytest.mark.parametrize("name", [b"host", b"origin", b"authorization", b"x-api-key"])
async def test_a_header_that_decides_is_there_once(name: bytes, tmp_path: Path) -> None:
    for client in (client_of(fake_vllm({})), Guarded(tmp_path).client):
        said: list[Any] = []

        async def send(message: Any, said: list[Any] = said) -> None:
            said.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"host", b"localhost"), (name, b"localhost"), (name, b"page.example")]
        scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": headers}
        await client.app(scope, receive, send)
        assert said[0]["status"] == 400
        assert b"duplicate_header" in said[1]["body"]


@pytest.mark.parametrize(
    "host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "10.1.2.3:80", "gateway:8080", "a.localhost", "LOCALHOST"]
)
async def test_names_that_no_stranger_can_give_away_are_answered(host: str) -> None:
    got = await client_of(fake_vllm({})).get("/health", {"host": host, "origin": f"http://{host}"})
    assert got.status == 200


async def test_the_operator_names_further_names_and_pages() -> None:
    client = client_of(fake_vllm({}), hosts=["Gpu1.Example.org"], cors_origins=[PAGE])
    got = await client.get("/health", {"host": "gpu1.example.org.:8080", "origin": PAGE})
    assert got.status == 200
    assert got.headers["access-control-allow-origin"] == PAGE
    assert got.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in got.headers


async def test_a_browser_that_asks_first_is_told(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, {"cors_origins": [PAGE]})
    asking = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
    }
    got = await guarded.client.send("OPTIONS", CHAT, headers=asking)
    assert (got.status, got.body) == (204, b"")
    assert got.headers["access-control-allow-origin"] == PAGE
    assert got.headers["access-control-allow-methods"] == "POST"
    assert "x-stainless-os" in got.headers["access-control-allow-headers"]
    other = await guarded.client.send("OPTIONS", CHAT, headers={**asking, "origin": "https://other.example"})
    assert (other.status, other.error["code"]) == (403, "origin_not_allowed")
    failed = await guarded.client.post(CHAT, ASKED, {"origin": PAGE})
    assert failed.headers["access-control-allow-origin"] == PAGE, "a page may read why it failed"


async def test_a_method_that_is_none_gets_the_envelope_and_the_list() -> None:
    got = await client_of(fake_vllm({})).send("DELETE", CHAT)
    assert (got.status, got.headers["allow"], got.error["code"]) == (405, "POST", "method_not_allowed")
