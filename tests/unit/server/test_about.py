"""What the gateway says of itself."""

from __future__ import annotations

from typing import Final

from abstractcore.server.routes import ROUTES
from tests.asgi_client import client_of, fake_vllm

OTHER: Final = "/{"
"""A part of a path that stands for several."""


async def test_the_document_describes_every_endpoint_that_is_no_page() -> None:
    client = client_of(fake_vllm({}))
    got = await client.get("/openapi.json")
    assert got.status == 200
    document = got.json
    assert document["openapi"].startswith("3.")
    described = {(method, path.partition(OTHER)[0]) for path, rows in document["paths"].items() for method in rows}
    for route in ROUTES:
        if route.spec is not None:
            assert (route.method.lower(), route.path.removesuffix("/*")) in described, route.path
    assert (await client.get("/openapi.json")).body == got.body
