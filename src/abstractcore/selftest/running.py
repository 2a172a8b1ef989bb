"""A gateway in a process of its own, for as long as it is needed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..deploy import runtime
from ..deploy.demo_server import free_port
from ..errors import DeployError, ProviderError
from ..factory import create_llm

if TYPE_CHECKING:
    from ..providers import Provider

DEFAULT_PORT: Final = 8080
_READY_SECONDS: Final = 60.0
_TAIL: Final = 12


@contextmanager
def gateway(llm: Provider, port: int | None) -> Iterator[str]:
    """Starts a gateway in front of a provider's servers, and stops it at the end.

    Args:
        llm: The provider.
        port: Where to serve; by default 8080, or the next free port.

    Yields:
        Its address.

    Raises:
        DeployError: It did not start; carries the end of its log.
    """
    chosen = free_port(range(port, port + 1) if port else range(DEFAULT_PORT, DEFAULT_PORT + 50))
    address = f"http://127.0.0.1:{chosen}"
    with tempfile.TemporaryDirectory(prefix="abstractcore-") as folder:
        log = Path(folder) / "gateway.log"
        server = runtime.start_server(argv(llm, chosen), env=os.environ, log=log, pid_file=Path(folder) / "pid.json")
        try:
            _wait(address, log)
            yield address
        finally:
            runtime.stop_server(server)


def argv(llm: Provider, port: int) -> list[str]:
    """The command line of the gateway."""
    command = [sys.executable, "-m", "abstractcore", "serve", "--port", str(port)]
    urls = getattr(llm, "base_urls", None) or [getattr(llm, "base_url", None)]
    if urls[0] is None:
        return [*command, "--local"]
    return [*command, "--backend", f"{llm.provider}={','.join(urls)}"]


def _wait(address: str, log: Path) -> None:
    try:
        with create_llm("openai", base_url=f"{address}/v1", api_key="EMPTY") as client:
            client.wait_until_ready(_READY_SECONDS)
    except ProviderError as error:
        tail = tuple(log.read_text("utf-8", "replace").splitlines()[-_TAIL:])
        failure = DeployError("the gateway did not start", why="\n".join(tail) or error.message)
        failure.log_tail = tail
        raise failure from error
