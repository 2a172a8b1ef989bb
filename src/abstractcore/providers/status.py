"""Which providers could answer now: all of them asked at the same time, none of them longer than a short limit."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from ..errors import (
    AbstractCoreError,
    AuthenticationError,
    ConnectionFailedError,
    MissingExtraError,
    RequestTimeoutError,
)
from ..settings import TABLE
from .base import Provider
from .extras import missing_extra, missing_modules
from .registry import ProviderInfo, get_provider_registry

TIMEOUT: Final = 3.0
"""Seconds that a provider has to answer."""
_GRACE: Final = 0.5
"""Seconds more until one that doesn't keep to the limit is given up: looking up a name knows none."""

AVAILABLE: Final = "available"
NO_MODELS: Final = "no_models"
UNREACHABLE: Final = "unreachable"
NOT_INSTALLED: Final = "not_installed"
NO_KEY: Final = "no_key"
ERROR: Final = "error"
UNKNOWN: Final = "unknown"
"""Not asked."""


def get_all_providers_status(timeout: float = TIMEOUT) -> list[dict[str, Any]]:
    """What each provider could do now, in the order of the registry. Never raises for a provider.

    Args:
        timeout: Seconds that each has to answer; all are asked at the same time.

    Returns:
        For each ``name``, ``display_name``, ``type``, ``model_count``, ``status`` (``available``, ``no_models``,
        ``unreachable``, ``not_installed``, ``no_key`` or ``error``), ``description``, ``local_provider``,
        ``authentication_required``, ``supported_features``, ``installation_extras``, ``models`` and ``error``: what is
        wrong and what to do about it, ``None`` where all is well.
    """
    return _asked(get_provider_registry().list_provider_names(), timeout)


def get_provider_status(name: str, timeout: float = TIMEOUT) -> dict[str, Any]:
    """The same for one provider.

    Raises:
        ConfigurationError: There is none of this name.
    """
    get_provider_registry().get_provider_info(name)
    return _asked([name], timeout)[0]


def get_all_providers_with_models(include_models: bool = True) -> list[dict[str, Any]]:  # noqa: FBT001, FBT002 - known so
    """The providers that have models now, with their names; or all of them without asking anybody.

    Args:
        include_models: Ask the providers. Else ``status`` is ``unknown`` and ``models`` is empty.
    """
    if include_models:
        return [row for row in get_all_providers_status() if row["status"] == AVAILABLE]
    return [_described(name) for name in get_provider_registry().list_provider_names()]


def get_available_models_for_provider(name: str, **config: Any) -> list[str]:
    """Names of the models that a provider has, sorted.

    Args:
        name: The provider.
        config: Its own settings, such as ``base_url``.

    Raises:
        ConfigurationError: There is no such provider.
        ProviderError: It did not say.
    """
    return get_provider_registry().create_provider_instance(name, **config).list_available_models()


def _asked(names: list[str], timeout: float) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    # Daemons, not a pool: a pool is waited for when the program ends, even if one hangs in the look-up of a name.
    threads = {
        name: threading.Thread(target=lambda name=name: found.update({name: _status(name, timeout)}), daemon=True)
        for name in names
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + timeout + _GRACE
    for thread in threads.values():
        thread.join(max(0.0, until - time.monotonic()))
    late = {"status": UNREACHABLE, "error": f"no answer within {timeout:g} s"}
    return [found.get(name) or {**_described(name), **late} for name in names]


def _status(name: str, timeout: float) -> dict[str, Any]:
    described = _described(name)
    if described["error"] is not None:
        return described
    try:
        return {**described, **_now(get_provider_registry().get_provider_info(name), timeout)}
    except Exception as error:  # noqa: BLE001 - one broken provider hides no other; what it raised is told
        return {**described, "status": ERROR, "error": _told(error)}


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, AbstractCoreError) else f"{type(error).__name__}: {error}"


def _described(name: str) -> dict[str, Any]:
    """What is known of a provider without asking it; ``error`` says why, if that is nothing."""
    described: dict[str, Any] = {
        "name": name,
        "display_name": name,
        "type": "llm",
        "model_count": 0,
        "status": UNKNOWN,
        "description": "",
        "local_provider": False,
        "authentication_required": False,
        "supported_features": [],
        "installation_extras": None,
        "models": [],
        "error": None,
    }
    try:
        row = get_provider_registry().get_provider_info(name)
        return described | {
            "display_name": row.display_name,
            "type": row.provider_type,
            "description": row.description,
            "local_provider": row.local_provider,
            "authentication_required": row.authentication_required,
            "supported_features": row.supported_features,
            "installation_extras": row.installation_extras,
        }
    except Exception as error:  # noqa: BLE001 - as in _status
        return {**described, "status": ERROR, "error": _told(error)}


def _now(row: ProviderInfo, timeout: float) -> dict[str, Any]:
    """What a provider can do now.

    Raises:
        AbstractCoreError: It can't even be made, or fails in a way that is no state of its own.
    """
    lacking = [missing_modules(modules) for modules in row.requires.values()]
    if lacking and all(lacking):
        extra = row.installation_extras or row.name
        return {"status": NOT_INSTALLED, "error": str(missing_extra(row.name, extra, lacking[0]))}
    llm: Provider | None = None
    try:
        llm = row.provider_class()
        models = [model.id for model in llm.list_models(timeout=timeout)]
    except (MissingExtraError, ConnectionFailedError, RequestTimeoutError, AuthenticationError) as error:
        return {"status": state_of(error, row.name, llm), "error": str(error)}
    finally:
        if llm is not None:
            llm.close()
    return {"status": AVAILABLE if models else NO_MODELS, "models": models, "model_count": len(models)}


def state_of(error: AbstractCoreError, name: str, llm: Provider | None) -> str:
    """What an error, met when a provider was asked for its models, says of its state."""
    match error:
        case MissingExtraError():
            return NOT_INSTALLED
        case ConnectionFailedError() | RequestTimeoutError():
            return UNREACHABLE
        case AuthenticationError() if not _has_key(name, llm):
            return NO_KEY
    return ERROR


def _has_key(name: str, llm: Provider | None) -> bool:
    """Whether somebody gave a key, other than the one that stands for none."""
    setting = TABLE.get(f"{name}.api_key")
    return getattr(llm, "api_key", None) not in (None, "", setting.default if setting else None)
