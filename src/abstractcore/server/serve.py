"""Runs the gateway on uvicorn."""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..errors import ConfigurationError, MissingExtraError
from .config import GatewayConfig, check_config
from .port_holder import explain

if TYPE_CHECKING:
    import uvicorn

    from .gateway import Gateway


KEEP_ALIVE_SECONDS: Final = 75
"""For so long an idle connection is kept: longer than clients keep theirs, so that it is them who close."""

OnStart: TypeAlias = Callable[[str, "Gateway"], None]


def serve(config: GatewayConfig, on_start: OnStart = lambda url, gateway: None) -> None:
    """Serves until it is told to stop (SIGINT or SIGTERM).

    From then on no request is taken; those that are answered have ``grace_seconds`` to end, and what is still open
    then ends with an error that says so.

    Args:
        config: What the operator wants.
        on_start: Called once the gateway listens, in its event loop, with its address.

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
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    try:
        with data_planes(gateway.backends.values(), config.port):
            _server_class(lambda port: on_start(url_of(config.host, port), gateway))(settings).run()
    except SystemExit as error:  # uvicorn's own way to say that it could not bind
        raise _no_place(config.host, config.port, error.__context__) from error


def url_of(host: str, port: int) -> str:
    """The address under which this machine reaches the gateway."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound to, but replaced
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _no_place(host: str, port: int, cause: BaseException | None) -> ConfigurationError:
    code = cause.errno if isinstance(cause, OSError) else None
    why: str | None
    hint: str | None
    if code == errno.EADDRINUSE:
        why, hint = explain(port)
    elif code == errno.EACCES:
        why, hint = "ports below 1024 are for root", "abstractcore serve --port 8080"
    elif code is not None and (code == errno.EADDRNOTAVAIL or code < 0):  # below 0: the name is unknown
        why, hint = f"{host} is no address of this machine", "abstractcore serve --host 127.0.0.1"
    else:
        why, hint = str(cause) if cause else None, None
    return ConfigurationError(f"the gateway can't listen on {host}:{port}", why=why, hint=hint)


def _server_class(on_start: Callable[[int], None]) -> type[uvicorn.Server]:
    import uvicorn

    log = logging.getLogger("uvicorn.error")
    log.setLevel(logging.ERROR)  # below it are things that any client can cause any number of times

    class Server(uvicorn.Server):
        """Ends well after a signal: uvicorn's own raises it again at the end, and would be killed by it."""

        async def startup(self, sockets: list[Any] | None = None) -> None:
            log.disabled = True  # a port that is taken is told by us
            try:
                await super().startup(sockets)
            finally:
                log.disabled = False
            on_start(self.servers[0].sockets[0].getsockname()[1])

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server
