"""The options by which commands find their provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..settings import resolve

if TYPE_CHECKING:
    from ..providers import Provider

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("-p", "--provider", help="Backend to ask.  [default: vllm]"),
    click.option("-m", "--model", help="Model to ask; what the server serves when left out."),
    click.option("--base-url", help="Address of the server.  [default: VLLM_BASE_URL, else http://localhost:8000/v1]"),
    click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for a server that is starting."),
)


def connection(command: F) -> F:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(provider: str | None, model: str | None, base_url: str | None, wait: float | None) -> Provider:
    """Makes the provider that the options name."""
    from ..factory import create_llm

    name = resolve("default.provider", provider).value or "vllm"
    llm = create_llm(name, resolve("default.model", model).value, **({"base_url": base_url} if base_url else {}))
    if wait is not None:
        llm.wait_until_ready(wait)
    return llm
