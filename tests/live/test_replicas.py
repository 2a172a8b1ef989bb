"""Addresses of a real server: its Unix socket, and several addresses at once."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from abstractcore import VLLMProvider


class Served(Protocol):
    """What the server fixtures tell."""

    @property
    def base_url(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def adapters(self) -> dict[str, Path]: ...


@contextmanager
def unix_door(folder: Path, base_url: str) -> Iterator[Path]:
    """A Unix socket that leads to a server, as its option ``--uds`` would open one."""
    parts = urlsplit(base_url)
    path = folder / "vllm.sock"
    threads: list[threading.Thread] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()

        def accept() -> None:
            while True:
                try:
                    client, _ = door.accept()
                except OSError:
                    return
                server = socket.create_connection((parts.hostname, parts.port or 80))
                threads.append(threading.Thread(target=connect, args=(client, server)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield path
        finally:
            door.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for thread in threads:
                thread.join(timeout=10)


def connect(client: socket.socket, server: socket.socket) -> None:
    """Passes bytes on both ways until both sides have ended."""
    with client, server:
        back = threading.Thread(target=pass_on, args=(server, client))
        back.start()
        pass_on(client, server)
        back.join()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other direction has ended


@pytest.fixture
def door(tiny_vllm: Served, tmp_path: Path) -> Iterator[Path]:
    with unix_door(tmp_path, tiny_vllm.base_url) as path:
        yield path


def test_a_unix_socket(door: Path) -> None:
    with VLLMProvider(base_url=f"unix://{door}") as llm:
        assert llm.generate("hi", max_tokens=3).content
        assert len(list(llm.generate("hi", max_tokens=3, stream=True))) >= 2
        assert llm.health()["status"]


@pytest.mark.parametrize("form", ["{host}", "{host}/", "{host}/v1/", "http://{host}", "http://{host}/v1"])
def test_every_form_of_the_address(tiny_vllm: Served, form: str) -> None:
    with VLLMProvider(base_url=form.format(host=urlsplit(tiny_vllm.base_url).netloc)) as llm:
        assert tiny_vllm.model in llm.list_available_models()


def test_a_replica_that_is_down_is_passed_over(tiny_vllm: Served) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with VLLMProvider(tiny_vllm.model, base_url=[dead, tiny_vllm.base_url]) as llm:
            assert llm.generate("hi", max_tokens=3).model == tiny_vllm.model
            assert list(llm.generate("hi", max_tokens=3, stream=True))[-1].finish_reason
            assert llm.base_url == f"{dead}/v1"


async def test_replicas_share_the_work_and_the_adapters(tiny_vllm: Served, door: Path) -> None:
    urls = [tiny_vllm.base_url, f"unix://{door}"]
    async with VLLMProvider(tiny_vllm.model, base_url=urls) as llm:
        path = next(iter(tiny_vllm.adapters.values()))
        assert await llm.aensure_adapters({"shared": path}) == ["shared"]
        (shared,) = [adapter for adapter in await llm.alist_adapters() if adapter == "shared"]
        assert shared.missing_on == ()
        answers = await asyncio.gather(*(llm.agenerate("hi", model="shared", max_tokens=4) for _ in range(8)))
        assert {answer.model for answer in answers} == {"shared"}
        assert "unloaded successfully" in await llm.aunload_adapter("shared")
        assert "shared" not in await llm.alist_adapters()
