"""The options by which commands find their provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ..settings import resolve

if TYPE_CHECKING:
    from ..providers import Provider

F = TypeVar("F", bound=Callable[..., Any])

_LOCAL: Final = "abstractcore.local"
_YES: Final = "abstractcore.yes"
"""Where the two flags are kept: commands don't handle them."""

_OPTIONS = (
    click.option(
        "-p",
        "--provider",
        metavar="NAME",
        help="Backend to ask, or NAME/MODEL; abstractcore providers lists them.  [default: vllm]",
    ),
    click.option("-m", "--model", help="Model to ask; what the server serves when left out."),
    click.option(
        "--base-url",
        metavar="URL",
        help="Address of the server.  [default: the provider's variable, such as VLLM_BASE_URL, else its usual one]",
    ),
    click.option(
        "--local",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.__setitem__(_LOCAL, value),
        help="Ask a small model in this process; no server is needed. Fetched once, 93 MB.",
    ),
    click.option(
        "--yes",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.__setitem__(_YES, value),
        help="Don't ask before downloading.",
    ),
    click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait for a server that is starting."),
)


def connection(command: F) -> F:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def connect(provider: str | None, model: str | None, base_url: str | None, wait: float | None) -> Provider:
    """Makes the provider that the options name.

    The model of the settings is the one of the settings' provider: another one that is named has its own.

    Raises:
        click.UsageError: The options name two places to ask, or an address for a model in this process.
    """
    from ..factory import create_llm
    from ..providers import get_provider_info, is_provider_available

    provider, model = _local_or_named(provider, model, base_url)
    default = resolve("default.provider").value or "vllm"
    name = provider or default
    if model is None and name == default:
        model = resolve("default.model").value
    backend = name.partition("/")[0]
    if base_url and is_provider_available(backend) and get_provider_info(backend).in_process:
        raise click.UsageError(f"{backend} answers in this process, so there is no --base-url")
    llm = create_llm(name, model, **({"base_url": base_url} if base_url else {}))
    if wait is not None:
        llm.wait_until_ready(wait)
    return llm


def _local_or_named(provider: str | None, model: str | None, base_url: str | None) -> tuple[str | None, str | None]:
    """Provider and model: those of ``--local`` if it is given, else those that are named."""
    context = click.get_current_context(silent=True)
    flags = context.meta if context else {}
    if not flags.get(_LOCAL):
        return provider, model
    for option, given in (("--provider", provider), ("--model", model), ("--base-url", base_url)):
        if given:
            raise click.UsageError(f"--local and {option} name two places to ask: leave one out")
    from . import local

    local.prepare(yes=bool(flags.get(_YES)))
    return local.PROVIDER, local.MODEL
