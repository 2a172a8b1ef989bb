"""What Prometheus reads, after requests of all kinds."""

from __future__ import annotations

from typing import Any

from abstractcore.server.metrics import FAMILIES
from abstractcore.testing import Reply
from tests.asgi_client import Client, client_of, fake_vllm

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "vllm/m", "messages": [{"role": "user", "content": "Hi"}]}


def answer(text: str) -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply.json(
        {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    )


STREAM = Reply.events(
    [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
)


async def page_of(client: Client) -> dict[str, float]:
    """The samples of the page, by name and labels, after a look at its form."""
    got = await client.get("/metrics")
    assert got.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = got.body.decode().splitlines()
    assert [line.split()[2] for line in lines if line.startswith("# TYPE")] == [family.name for family in FAMILIES]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_a_request_is_counted_with_its_route_status_and_backend() -> None:
    client = client_of(fake_vllm({f"POST {CHAT}": answer("Hi")}))
    await client.post(CHAT, ASKED)
    await client.get("/nowhere")
    page = await page_of(client)
    assert page[f'abstractcore_requests_total{{route="{CHAT}",method="POST",status="200",backend="vllm"}}'] == 1
    assert page['abstractcore_requests_total{route="other",method="",status="404",backend=""}'] == 1
    assert page[f'abstractcore_request_seconds_count{{route="{CHAT}"}}'] == 1
    assert page[f'abstractcore_request_seconds_bucket{{route="{CHAT}",le="+Inf"}}'] == 1
    assert page['abstractcore_failures_total{code="not_found"}'] == 1
    assert page["abstractcore_requests_in_flight"] == 0


async def test_a_stream_is_timed_to_its_first_token() -> None:
    client = client_of(fake_vllm({f"POST {CHAT}": STREAM}))
    await client.post(CHAT, {**ASKED, "stream": True})
    page = await page_of(client)
    assert page['abstractcore_first_token_seconds_count{backend="vllm"}'] == 1
    buckets = [value for name, value in page.items() if name.startswith("abstractcore_first_token_seconds_bucket")]
    assert buckets == sorted(buckets), "buckets add up"


async def test_proofs_are_counted_held_and_failed_with_their_tokens() -> None:
    client = client_of(fake_vllm({f"POST {CHAT}": answer("aaa")}))
    await client.post(CHAT, {**ASKED, "guided_regex": "a+"})
    await client.post(CHAT, {**ASKED, "guided_regex": "b+"})
    page = await page_of(client)
    assert page['abstractcore_proofs_total{backend="vllm",outcome="held"}'] == 1
    assert page['abstractcore_proofs_total{backend="vllm",outcome="failed"}'] == 1
    assert page['abstractcore_failures_total{code="constraint_violation"}'] == 1
    assert page['abstractcore_tokens_total{backend="vllm",direction="output"}'] >= 2


async def test_no_name_of_a_client_makes_the_page_longer() -> None:
    client = client_of(fake_vllm({f"POST {CHAT}": answer("Hi")}))
    sizes = []
    for number in range(20):
        await client.post(CHAT, {**ASKED, "model": f"vllm/{number}", "user": f"u{number}"})
        await client.post(CHAT, {**ASKED, "model": f"other-{number}"})
        await client.get(f"/v1/models/vllm/{number}")
        await client.send(f"METHOD{number}", f"/path/{number}")
        sizes.append(len(await page_of(client)))
    assert sizes[-1] == sizes[1]


async def test_replicas_show_whether_they_are_up_without_what_is_secret_in_their_address() -> None:
    page = await page_of(client_of(fake_vllm({})))
    [up] = [name for name in page if name.startswith("abstractcore_replica_up")]
    assert page[up] == 1
    assert "http" not in up
