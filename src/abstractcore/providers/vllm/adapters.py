"""LoRA adapters of a running server: loading, listing, unloading.

The server is the only one who knows what is loaded: other clients load and unload too, and a restart forgets all. So
every plan here looks at ``/v1/models`` first, and again when the server says that somebody else was faster.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from ...errors import AdapterError, ProviderError
from ...types import Adapter, ModelInfo
from ...wire.call import Plan
from ...wire.failure import Failure, read_failure
from .. import openai_api
from ..base import Provider
from ..endpoint import Endpoint, failed, send
from . import server
from .routing import Loaded, Memory, adapter_error, needs_salt, started_at

T = TypeVar("T")
AdapterPath = str | os.PathLike[str]

FLAGS: Final = "--enable-lora --max-lora-rank 64"
RUNTIME_UPDATES: Final = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
_SERVE: Final = f"{RUNTIME_UPDATES} vllm serve MODEL {FLAGS}    (the rank: at least that of the adapter)"
_ATTEMPTS: Final = 5
"""Rounds against other clients that load and unload the same name at the same time."""
_TAKEN: Final = "InvalidUserInput"
"""The error type for a name that is loaded already; what is wrong with the adapter itself has others."""
_SAFE: Final = "adapter_model.safetensors"
_PICKLES: Final = ("adapter_model.bin", "adapter_model.pt")
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class AdapterMethods(Provider):
    """The part of the vLLM provider that manages adapters."""

    _endpoints: Sequence[Endpoint]
    _adapters: Memory

    def load_adapter(self, name: str, path: AdapterPath, *, replace: bool = False) -> str:
        """Loads a LoRA adapter into the running server; ``generate(model=name)`` then asks it.

        Loading one that is already there from the same path is fine. With several replicas, each loads it.

        Args:
            name: The name under which it is served.
            path: Where the server finds it: an absolute path on the server's machine (``~`` is the server's home), a
                hub id ``org/name``, or a URL. Other relative paths are refused: they would be the server's, not yours.
            replace: Load it also where another adapter of this name is, in its place; requests that run on that one
                end with it.

        Returns:
            A sentence that ends with ``loaded successfully``, or says that it was there.

        Raises:
            AdapterError: It can't be loaded; carries the server's message, and the flags that the server lacks.
        """
        return self._run(self._plan_load(name, os.fspath(path), replace=replace))

    async def aload_adapter(self, name: str, path: AdapterPath, *, replace: bool = False) -> str:
        """Like ``load_adapter``."""
        return await self._arun(self._plan_load(name, os.fspath(path), replace=replace))

    def unload_adapter(self, name: str) -> str:
        """Unloads an adapter; requests that run on it end in peace.

        Returns:
            A sentence that ends with ``unloaded successfully``.

        Raises:
            AdapterError: It isn't loaded, or the server doesn't allow it.
        """
        return self._run(self._plan_unload(name))

    async def aunload_adapter(self, name: str) -> str:
        """Like ``unload_adapter``."""
        return await self._arun(self._plan_unload(name))

    def list_adapters(self) -> list[Adapter]:
        """The adapters that the server has loaded, whoever loaded them; ``"name" in`` the list works.

        With several replicas these are the adapters of all; ``missing_on`` names the replicas that lack one.
        """
        return self._run(self._plan_list())

    async def alist_adapters(self) -> list[Adapter]:
        """Like ``list_adapters``."""
        return await self._arun(self._plan_list())

    def ensure_adapters(self, adapters: Mapping[str, AdapterPath]) -> list[str]:
        """Loads those of these adapters that are missing, such as after a restart of the server.

        Args:
            adapters: Path by name.

        Returns:
            The names that had to be loaded.

        Raises:
            AdapterError: One can't be loaded, or its name is taken by an adapter from another path.
        """
        return self._run(self._plan_ensure({name: os.fspath(path) for name, path in adapters.items()}))

    async def aensure_adapters(self, adapters: Mapping[str, AdapterPath]) -> list[str]:
        """Like ``ensure_adapters``."""
        return await self._arun(self._plan_ensure({name: os.fspath(path) for name, path in adapters.items()}))

    def _plan_load(self, name: str, path: str, *, replace: bool) -> Plan[str]:
        is_new = yield from self._plan_load_everywhere(name, path, replace=replace)
        return f"Adapter {name!r} loaded successfully" + ("" if is_new else ": it was there already")

    def _plan_load_everywhere(self, name: str, path: str, *, replace: bool) -> Plan[bool]:
        """Whether any server had to load it."""
        check_request(name, path)
        refuse_pickles(name, path)
        outcomes = yield from on_each(self._endpoints, lambda endpoint: load(endpoint, name, path, replace=replace))
        started: dict[str, float] = {}
        salted = set()
        for endpoint in self._endpoints:
            at = yield from started_at(endpoint)
            if at is not None:
                started[endpoint.root] = at
            if needs_salt((yield from server.learn(endpoint))):
                salted.add(endpoint.root)
        self._adapters.loaded[name] = Loaded(path, started, frozenset(salted))
        return any(outcomes)

    def _plan_unload(self, name: str) -> Plan[str]:
        outcomes = yield from on_each(self._endpoints, lambda endpoint: unload(endpoint, name))
        self._adapters.loaded.pop(name, None)
        if not any(outcomes):
            raise AdapterError(
                f"the adapter {name!r} is not loaded, so it can't be unloaded",
                provider=self.provider,
                model=name,
                url=self._endpoints[0].base_url,
                why=f"loaded are: {', '.join(map(str, (yield from self._plan_list()))) or 'none'}",
            )
        return f"Adapter {name!r} unloaded successfully"

    def _plan_list(self) -> Plan[list[Adapter]]:
        rows = yield from on_each(self._endpoints, openai_api.models)
        return joined([(endpoint.base_url, row) for endpoint, row in zip(self._endpoints, rows, strict=True)])

    def _plan_ensure(self, wanted: Mapping[str, str]) -> Plan[list[str]]:
        fresh = []
        for name, path in wanted.items():
            if (yield from self._plan_load_everywhere(name, path, replace=False)):
                fresh.append(name)
        return fresh


# --- pure ------------------------------------------------------------------------------------------------------------


def check_request(name: str, path: str) -> None:
    """Refuses what the server would take for something else.

    Raises:
        AdapterError: There is no name, or the path is relative to nobody knows what.
    """
    if not name:
        raise AdapterError("an adapter needs a name", provider="vllm", hint="load_adapter('sql-expert', '/path')")
    if not (path.startswith(("/", "~")) or "://" in path or _HUB_ID.fullmatch(path)):
        raise AdapterError(
            f"the path of the adapter {name!r} must be absolute; it is {path!r}",
            provider="vllm",
            model=name,
            why="the server would look below its own working directory, and then ask the model hub for it",
            hint="give the absolute path on the server's machine, or a hub id like org/name",
        )


def refuse_pickles(name: str, path: str) -> None:
    """Refuses an adapter whose weights are pickles, where its folder is on this machine too: reading those runs code.

    vLLM takes them where there are no safetensors. A folder that only the server has is the server's business.

    Raises:
        AdapterError: It is such a one.
    """
    found = [name for name in (_SAFE, *_PICKLES) if os.path.exists(f"{path}/{name}")]  # noqa: PTH110 - str in, str out
    if found and _SAFE not in found:
        raise AdapterError(
            f"the adapter {name!r} is not loaded: its weights are a pickle",
            provider="vllm",
            model=name,
            why=f"{path} has {found[0]} and no {_SAFE}, and to read a pickle is to run what it says",
            hint="save it by peft: model.save_pretrained(folder), which writes safetensors",
        )


def same_path(one: str | None, other: str) -> bool:
    """Whether two paths are spelled alike but for slashes."""
    return one is not None and (one == other or posixpath.normpath(one) == posixpath.normpath(other))


def joined(listings: Sequence[tuple[str, Sequence[ModelInfo]]]) -> list[Adapter]:
    """The adapters in the model lists of one or more servers."""
    rows = {(row.id, row.root, row.parent) for _, listing in listings for row in listing if row.parent is not None}
    has = {address: {(row.id, row.root, row.parent) for row in listing} for address, listing in listings}
    return [
        Adapter(name, path, parent, tuple(at for at in has if (name, path, parent) not in has[at]))
        for name, path, parent in sorted(rows, key=str)
    ]


def _taken(endpoint: Endpoint, name: str, path: str, there: ModelInfo) -> AdapterError:
    return adapter_error(
        endpoint,
        name,
        f"the name {name!r} is taken by an adapter from another path",
        why=f"it is loaded from {there.root}, not from {path}",
        hint=f"load_adapter({name!r}, {path!r}, replace=True) puts this one in its place",
    )


def _no_updates(endpoint: Endpoint, name: str, status: int) -> AdapterError:
    return adapter_error(
        endpoint,
        name,
        "this server doesn't load or unload adapters while it runs",
        status=status,
        why=f"it has no /v1/load_lora_adapter (HTTP {status}); vLLM has it only with {RUNTIME_UPDATES} in its "
        "environment, and uses adapters only with --enable-lora",
        hint=_SERVE,
    )


def _not_loaded(endpoint: Endpoint, name: str, path: str, status: int, failure: Failure) -> AdapterError:
    if status == 404:
        hint = f"is {path} there on the server's machine (in its container), with adapter_config.json in it?"
    elif "enable-lora" in failure.message:
        hint = _SERVE
    else:
        hint = "was it trained on this base model, saved as safetensors, with a rank within --max-lora-rank?"
    return adapter_error(
        endpoint,
        name,
        f"the server can't load the adapter {name!r} from {path} (HTTP {status})",
        status=status,
        server_message=failure.message,
        hint=hint,
    )


# --- plans for one server --------------------------------------------------------------------------------------------


def on_each(endpoints: Sequence[Endpoint], make: Callable[[Endpoint], Plan[T]]) -> Plan[list[T]]:
    """Runs a plan on each server, on the others too when one fails.

    Raises:
        AdapterError: It failed on some of several; names them.
        ProviderError: It failed on the only one.
    """
    outcomes: list[T] = []
    failures: list[tuple[Endpoint, ProviderError]] = []
    for endpoint in endpoints:
        try:
            outcomes.append((yield from make(endpoint)))
        except ProviderError as error:
            if len(endpoints) == 1:
                raise
            failures.append((endpoint, error))
    if failures:
        first = failures[0][1]
        raise AdapterError(
            f"{len(failures)} of {len(endpoints)} replicas failed: {', '.join(at.base_url for at, _ in failures)}",
            provider=first.provider,
            model=first.model,
            url=first.url,
            status=first.status,
            server_message=first.server_message,
            why=first.message + (f": {first.why}" if first.why else ""),
            hint=f"{first.hint or 'repair them'}; then ensure_adapters({{...}}) loads what is missing",
        ) from first
    return outcomes


def load(endpoint: Endpoint, name: str, path: str, *, replace: bool) -> Plan[bool]:
    """Loads an adapter; ``False`` if it was there already, from the same path.

    Raises:
        AdapterError: See ``AdapterMethods.load_adapter``.
    """
    dialect = yield from server.learn(endpoint)
    for attempt in range(_ATTEMPTS):
        rows = yield from openai_api.models(endpoint)
        _check_base(endpoint, name, rows)
        there = next((row for row in rows if row.id == name), None)
        if there is not None and same_path(there.root, path) and (attempt or not replace):
            return False  # after the first round: another client has just loaded the same
        if there is not None and not replace:
            raise _taken(endpoint, name, path, there)
        in_place = there is not None and bool(dialect.lists("LoadLoRAAdapterRequest", "load_inplace"))
        if there is not None and not in_place:
            yield from unload(endpoint, name)
        status, failure = yield from _ask_to_load(endpoint, name, path, in_place=in_place)
        if failure is None:
            return True
        if failure.type == _TAKEN:
            continue
        error = _not_loaded(endpoint, name, path, status, failure)
        if there is not None and there.root and not in_place:
            _, lost = yield from _ask_to_load(endpoint, name, there.root, in_place=False)
            error.message += f"; the one from {there.root} " + ("could not be put back" if lost else "was put back")
            error.args = (error.message,)
        raise error
    raise adapter_error(
        endpoint,
        name,
        f"the adapter {name!r} could not be loaded: other clients load and unload it all the time",
        why=f"{_ATTEMPTS} times it was there when it was to be loaded, and gone, or another one, when looked for",
        hint="give each client's adapters names of their own",
    )


def _ask_to_load(endpoint: Endpoint, name: str, path: str, *, in_place: bool) -> Plan[tuple[int, Failure | None]]:
    """One request to load: its status, and what the server has against the adapter or its name.

    Raises:
        AdapterError: The server does not allow it.
        ProviderError: The failure has nothing to do with the adapter.
    """
    body = {"lora_name": name, "lora_path": path, **({"load_inplace": True} if in_place else {})}
    call = endpoint.post(f"{endpoint.base_url}/load_lora_adapter", body)
    answer = yield from send(endpoint, call)
    if 200 <= answer.status < 300:
        return answer.status, None
    failure = read_failure(answer.body)
    if answer.status in (404, 405) and not failure.shaped:
        raise _no_updates(endpoint, name, answer.status)
    if answer.status not in (400, 404, 422, 500):
        raise failed(endpoint, call, answer, answer.body, model=name)
    return answer.status, failure


def _check_base(endpoint: Endpoint, name: str, rows: Sequence[ModelInfo]) -> None:
    if any(row.id == name and row.parent is None for row in rows):
        raise adapter_error(
            endpoint,
            name,
            f"{name!r} is the name of the base model; an adapter needs another one",
            why="up to vLLM 0.31 the adapter would answer in place of the base model, for all clients",
            hint=f"load_adapter({name + '-lora'!r}, ...)",
        )


def unload(endpoint: Endpoint, name: str) -> Plan[bool]:
    """Unloads an adapter; ``False`` if it isn't loaded.

    Raises:
        AdapterError: The server does not allow it.
    """
    call = endpoint.post(f"{endpoint.base_url}/unload_lora_adapter", {"lora_name": name})
    answer = yield from send(endpoint, call)
    if 200 <= answer.status < 300:
        return True
    if answer.status in (404, 405):
        if not read_failure(answer.body).shaped:
            raise _no_updates(endpoint, name, answer.status)
        return False
    raise failed(endpoint, call, answer, answer.body, model=name)
