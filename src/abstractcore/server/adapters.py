"""Endpoints that load and unload LoRA adapters, on all replicas of a backend."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from ..errors import AbstractCoreError, AdapterError, ProviderError
from ..providers import VLLMProvider
from ..wire.failure import UNREADABLE
from .errors import GatewayError, status_of
from .guard import require_adapters
from .health_checks import ASKING
from .spec import Spec

if TYPE_CHECKING:
    from .asgi import Request
    from .backend import Backend, Replica
    from .gateway import Gateway

T = TypeVar("T")
Work: TypeAlias = Callable[[VLLMProvider], Awaitable[object]]

LOAD: Final = "/v1/load_lora_adapter"
UNLOAD: Final = "/v1/unload_lora_adapter"
LATER: Final = "down; it gets the adapter before it is asked again"
_LONGEST: Final = 256


class LoadAdapter(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request to load an adapter."""

    lora_name: str
    """The name under which it is served."""
    lora_path: str
    """Where the servers find it: an absolute path on their machines."""
    model: str | None = None
    """The backend, or a model of it; needed where several backends take adapters."""


class UnloadAdapter(Struct, kw_only=True, forbid_unknown_fields=True):
    """A request to unload an adapter."""

    lora_name: str
    model: str | None = None
    """The backend, or a model of it; needed where several backends take adapters."""


class AdapterAnswer(Struct, kw_only=True):
    """What became of such a request."""

    message: str
    id: str
    """The adapter's name among the models of the gateway."""
    replicas: dict[str, str]
    """What became of it on each server."""


LOADING: Final = Spec(
    "Only where the operator allows it. Replicas that are down load it when they are back.",
    LoadAdapter,
    AdapterAnswer,
    examples={"A path on the servers": {"lora_name": "sql", "lora_path": "/models/adapters/sql"}},
    fails=(403,),
)
UNLOADING: Final = Spec(
    "Only where the operator allows it.",
    UnloadAdapter,
    AdapterAnswer,
    examples={"By its name": {"lora_name": "sql"}},
    fails=(403, 404),
)


async def load(gateway: Gateway, request: Request) -> None:
    """Loads an adapter on all replicas, or on none."""
    require_adapters(request)
    wanted = await _read(gateway, request, LoadAdapter)
    backend = await _backend(gateway, request, wanted.model, wanted.lora_name)
    name = check_name(wanted.lora_name, backend.name)
    path = check_path(wanted.lora_path, backend.config.adapter_folders)
    await asyncio.to_thread(check_links, path, backend.config.adapter_folders)
    async with backend.adapters_lock:
        outcomes = await _on_each(backend, lambda provider: provider.aensure_adapters({name: path}))
        failures = {row: error for row, error in outcomes.items() if isinstance(error, AbstractCoreError)}
        if failures:
            fresh = [row for row, outcome in outcomes.items() if outcome == [name]]
            raise _not_loaded(backend, name, failures, await _roll_back(fresh, name))
        backend.adapters[name] = path
        await _changed(gateway, backend)
    words = {row.name: "loaded" if outcome == [name] else "was there" for row, outcome in outcomes.items()}
    is_new = "loaded" in words.values()
    words |= {row.name: LATER for row in backend.replicas if row not in outcomes}
    message = f"Adapter {name!r} loaded successfully" + ("" if is_new else ": it was there already")
    await request.json(AdapterAnswer(message=message, id=f"{backend.name}/{name}", replicas=words))


async def unload(gateway: Gateway, request: Request) -> None:
    """Unloads an adapter on all replicas."""
    require_adapters(request)
    wanted = await _read(gateway, request, UnloadAdapter)
    backend = await _backend(gateway, request, wanted.model, wanted.lora_name)
    name = check_name(wanted.lora_name, backend.name)
    async with backend.adapters_lock:
        backend.adapters.pop(name, None)
        for row in backend.replicas:
            row.adapters.pop(name, None)
        outcomes = await _on_each(backend, lambda provider: provider.aunload_adapter(name))
        await _changed(gateway, backend)
    failures = {row: error for row, error in outcomes.items() if isinstance(error, AbstractCoreError)}
    lacking = [row for row, error in failures.items() if _is_lacking(error)]
    if len(lacking) == len(outcomes):
        raise GatewayError(failures[lacking[0]].message, status=404, code="adapter_error", why=failures[lacking[0]].why)
    real = {row: error for row, error in failures.items() if row not in lacking}
    if real:
        raise _partly(f"the adapter {name!r} is still loaded on {len(real)} of {len(outcomes)} replicas", name, real)
    words = {row.name: "was not there" if row in lacking else "unloaded" for row in outcomes}
    message = f"Adapter {name!r} unloaded successfully"
    await request.json(AdapterAnswer(message=message, id=f"{backend.name}/{name}", replicas=words))


# --- pure ------------------------------------------------------------------------------------------------------------


def check_path(path: str, folders: Sequence[str]) -> str:
    """Refuses paths that clients may not have loaded.

    Args:
        path: As the client gave it.
        folders: Below one of them it must be.

    Returns:
        The path in its one form, which is what the server gets: what was checked is what is loaded.

    Raises:
        GatewayError: It is relative, a hub id or a URL, or outside of all folders.
    """
    if not path.startswith("/") or not path.isprintable():
        raise GatewayError(
            f"the path of an adapter must be absolute; it is {path[:_LONGEST]!r}",
            code="adapter_path",
            param="lora_path",
            why="of any other the server makes a path of its own, or asks the model hub for it",
            hint="give the absolute path on the servers' machines",
        )
    normal = normalised(path)
    homes = [normalised(folder) for folder in folders]
    if not _is_below(normal, homes):
        raise _outside(normal, homes)
    return normal


def check_links(path: str, folders: Sequence[str]) -> None:
    """Refuses a path that leads out of the folders by a symbolic link, where the gateway's machine has it too.

    What only the server's machine has, only the server can see.

    Raises:
        GatewayError: It does.
    """
    if Path(path).exists() and not _is_below(os.path.realpath(path), [os.path.realpath(folder) for folder in folders]):
        raise _outside(path, folders, "; a symbolic link leads out of there")


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _outside(path: str, folders: Sequence[str], more: str = "") -> GatewayError:
    return GatewayError(
        f"adapters may not be loaded from {path[:_LONGEST]}",
        status=403,
        code="adapter_path",
        param="lora_path",
        why=f"the operator allows: {', '.join(folders) or 'no folder'}{more}",
    )


def normalised(path: str) -> str:
    """A path without ``..``, ``.`` and doubled slashes."""
    return "/" + posixpath.normpath(path).lstrip("/")


def check_name(name: str, backend: str) -> str:
    """The adapter's name on the servers; ``backend/name`` is taken for ``name``.

    Raises:
        GatewayError: It is no name.
    """
    short = name.removeprefix(f"{backend}/")
    if not short.strip() or not short.isprintable() or len(short) > _LONGEST:
        raise GatewayError(
            f"{name[:_LONGEST]!r} is no name for an adapter",
            param="lora_name",
            hint=f"give it up to {_LONGEST} printable characters",
        )
    return short


def _is_lacking(error: AbstractCoreError) -> bool:
    return isinstance(error, AdapterError) and "is not loaded" in error.message


# --- the work --------------------------------------------------------------------------------------------------------


async def _read(gateway: Gateway, request: Request, kind: type[T]) -> T:
    body = await request.body(gateway.config.limits.max_body_bytes)
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise GatewayError(f"the request is not valid: {error}") from None


async def _backend(gateway: Gateway, request: Request, model: str | None, name: str) -> Backend:
    """The backend that is meant.

    Raises:
        GatewayError: It does not allow this, or it is not clear which one is meant.
        ModelNotFoundError: There is none of this name.
    """
    prefix = name.partition("/")[0]
    able = [row for row in gateway.backends.values() if row.config.allow_adapters and row.provider_name == "vllm"]
    if model is not None:
        backend = (await gateway.resolve(request, model)).backend
    elif prefix in gateway.backends:
        backend = gateway.backends[prefix]
    elif len(able) == 1:
        backend = able[0]
    elif able:
        raise GatewayError(
            "several backends take adapters, and the request names none",
            param="model",
            hint=f"add model: {' or '.join(repr(row.name) for row in able)}",
        )
    else:
        backend = next(iter(gateway.backends.values()))
    if backend not in able:
        raise _not_allowed(backend)
    return backend


def _not_allowed(backend: Backend) -> GatewayError:
    if backend.provider_name != "vllm":
        return GatewayError(
            f"the backend {backend.name!r} takes no adapters",
            why=f"{backend.provider_name} loads none while it runs",
            code="unsupported_feature",
        )
    return GatewayError(
        f"clients may not load or unload adapters of the backend {backend.name!r}",
        status=403,
        code="adapters_not_allowed",
        hint=f"the operator can allow it: allow_adapters = true below [backends.{backend.name}]",
    )


async def _on_each(backend: Backend, work: Work) -> dict[Replica, object]:
    """Runs work on all replicas that are not down: its result, or the error."""
    rows = [row for row in backend.replicas if row.up] or backend.replicas

    async def run(row: Replica) -> object:
        assert isinstance(row.provider, VLLMProvider), "others are refused"
        try:
            return await work(row.provider)
        except AbstractCoreError as error:
            return error

    backend.loading_since = monotonic()
    try:
        return dict(zip(rows, await asyncio.gather(*map(run, rows)), strict=True))
    finally:
        backend.loading_since = None


async def _roll_back(rows: Sequence[Replica], name: str) -> Mapping[Replica, AbstractCoreError]:
    """Unloads an adapter where it was just loaded; gives those that still have it."""
    left: dict[Replica, AbstractCoreError] = {}
    for row in rows:
        assert isinstance(row.provider, VLLMProvider), "others are refused"
        try:
            await row.provider.aunload_adapter(name)
        except AbstractCoreError as error:
            left[row] = error
    return left


async def _changed(gateway: Gateway, backend: Backend) -> None:
    """Has everybody see what was loaded or unloaded."""
    for row in backend.replicas:
        if row.up:
            try:
                await row.refresh(ASKING)
            except ProviderError:
                row.wake.set()
    gateway.catalog.forget()


def _not_loaded(
    backend: Backend,
    name: str,
    failures: Mapping[Replica, AbstractCoreError],
    left: Mapping[Replica, AbstractCoreError],
) -> AbstractCoreError:
    if len(backend.replicas) == 1:
        return next(iter(failures.values()))
    error = _partly(
        f"the adapter {name!r} could not be loaded on {len(failures)} of {len(backend.replicas)} replicas",
        name,
        failures,
    )
    after = f"it was left loaded on {', '.join(row.name for row in left)}" if left else "it is loaded on none now"
    error.message += f"; {after}"
    error.args = (error.message,)
    return error


def _partly(message: str, name: str, failures: Mapping[Replica, AbstractCoreError]) -> AdapterError:
    first = next(iter(failures.values()))
    return AdapterError(
        message,
        model=name,
        status=status_of(first)[0],
        why="; ".join(f"{row.name}: {error.message} ({error.why})" for row, error in failures.items()),
        hint=first.hint,
    )
