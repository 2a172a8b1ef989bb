"""Packages that only one backend needs: found without being loaded, loaded when needed, named when missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..errors import ConfigurationError, MissingExtraError


def need(module: str, provider: str, extra: str | None = None) -> Any:
    """Imports a package that a backend needs, and gives it.

    Args:
        module: Its import name, such as ``mlx_lm`` or ``mlx.core``.
        provider: The backend that needs it.
        extra: The extra that installs it; named like the provider when left out.

    Raises:
        MissingExtraError: It is not installed.
        ConfigurationError: It is installed, but can't be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
            raise missing_extra(provider, extra or provider, [module]) from error
        raise ConfigurationError(
            f"the {provider} provider can't load {module}, although it is installed",
            why=str(error),
            hint=f'pip install --force-reinstall "abstractcore[{extra or provider}]"',
        ) from error


def missing_extra(provider: str, extra: str, modules: Iterable[str]) -> MissingExtraError:
    """The error for packages that are not installed."""
    return MissingExtraError(
        f"the {provider} provider needs its extra",
        why=f"not installed: {', '.join(modules)}",
        hint=f'pip install "abstractcore[{extra}]"',
    )


def missing_modules(modules: Iterable[str]) -> list[str]:
    """Those of these top-level packages that are not installed; none of them is loaded."""
    return [module for module in modules if find_spec(module) is None]
