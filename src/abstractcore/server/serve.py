"""Runs the gateway on uvicorn."""

from __future__ import annotations

from ..errors import ConfigurationError, MissingExtraError
from .config import GatewayConfig, check_config


def serve(config: GatewayConfig) -> None:
    """Serves until it is told to stop (SIGINT or SIGTERM).

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
    from .gateway import Gateway

    check_config(config)
    settings = uvicorn.Config(
        App(Gateway(config)),
        host=config.host,
        port=config.port,
        http=Connection,
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(settings)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's own way to say that it could not bind
        raise ConfigurationError(f"the gateway could not start on {config.host}:{config.port}") from error
