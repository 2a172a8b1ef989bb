"""Runs the gateway on uvicorn."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, MissingExtraError
from .config import GatewayConfig, check_config

if TYPE_CHECKING:
    import uvicorn


def serve(config: GatewayConfig) -> None:
    """Serves until it is told to stop (SIGINT or SIGTERM).

    From then on no request is taken; those that are answered have ``grace_seconds`` to end, and what is still open
    then ends with an error that says so.

    Args:
        config: What the operator wants.

    Raises:
        MissingExtraError: uvicorn is not installed.
        ConfigurationError: The configuration is unsafe, or the address is taken.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("the gateway needs uvicorn", hint='pip install "abstractcore[server]"') from error
    from .app import App
    from .connection import Connection
    from .data_plane import data_planes
    from .gateway import Gateway
    from .log import AccessLog

    check_config(config)
    gateway = Gateway(config)
    settings = uvicorn.Config(
        App(gateway, None if config.quiet else AccessLog()),
        host=config.host,
        port=config.port,
        http=Connection,
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=config.grace_seconds,
    )
    try:
        with data_planes(gateway.backends.values(), config.port):
            _server_class()(settings).run()
    except SystemExit as error:  # uvicorn's own way to say that it could not bind
        raise ConfigurationError(f"the gateway could not start on {config.host}:{config.port}") from error


def _server_class() -> type[uvicorn.Server]:
    import uvicorn

    class Server(uvicorn.Server):
        """Ends well after a signal: uvicorn's own raises it again at the end, and would be killed by it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server
