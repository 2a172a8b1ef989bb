"""LoRA adapters of a model in this process: loading, listing, unloading."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

from ...errors import AdapterError
from ...types import Adapter
from ...wire.call import Plan
from ...wire.failure import Failure, read_failure
from .. import openai_api
from ..endpoint import failed, send
from .engine import EngineError
from .lora import other_base, read_adapter
from .provider import LocalProvider

AdapterPath = str | os.PathLike[str]


class AdapterBaseWarning(UserWarning):
    """An adapter fits the model, but was made for another one."""


class AdapterMethods(LocalProvider):
    """The part of a provider that manages adapters. They live as long as the model stays in memory."""

    def load_adapter(self, name: str, path: AdapterPath, *, replace: bool = False) -> str:
        """Loads a LoRA adapter in PEFT's form; ``generate(model=name)`` then asks it.

        Args:
            name: The name under which it is asked.
            path: Its folder, or a hub id that is in the cache.
            replace: Load it also where another adapter of this name is, in its place.

        Returns:
            A sentence that ends with ``loaded successfully``, or says that it was there.

        Raises:
            AdapterError: It can't be loaded, or was made for another base.
        """
        return self._run(self._plan_load(name, os.fspath(path), replace=replace))

    async def aload_adapter(self, name: str, path: AdapterPath, *, replace: bool = False) -> str:
        """Like ``load_adapter``."""
        return await self._arun(self._plan_load(name, os.fspath(path), replace=replace))

    def unload_adapter(self, name: str) -> str:
        """Unloads an adapter.

        Returns:
            A sentence that ends with ``unloaded successfully``.

        Raises:
            AdapterError: It isn't loaded.
        """
        return self._run(self._plan_unload(name))

    async def aunload_adapter(self, name: str) -> str:
        """Like ``unload_adapter``."""
        return await self._arun(self._plan_unload(name))

    def list_adapters(self) -> list[Adapter]:
        """The adapters that are loaded; ``"name" in`` the list works."""
        return self._run(self._plan_list())

    async def alist_adapters(self) -> list[Adapter]:
        """Like ``list_adapters``."""
        return await self._arun(self._plan_list())

    def ensure_adapters(self, adapters: Mapping[str, AdapterPath]) -> list[str]:
        """Loads those of these adapters that are missing, such as after the model was unloaded.

        Args:
            adapters: Path by name.

        Returns:
            The names that had to be loaded.

        Raises:
            AdapterError: One can't be loaded, or its name is taken by an adapter from another path.
        """
        return self._run(self._plan_ensure(adapters))

    async def aensure_adapters(self, adapters: Mapping[str, AdapterPath]) -> list[str]:
        """Like ``ensure_adapters``."""
        return await self._arun(self._plan_ensure(adapters))

    def _plan_load(self, name: str, path: str, *, replace: bool) -> Plan[str]:
        is_new = yield from self._plan_load_one(name, path, replace=replace)
        return f"Adapter {name!r} loaded successfully" + ("" if is_new else ": it was there already")

    def _plan_load_one(self, name: str, path: str, *, replace: bool) -> Plan[bool]:
        """Whether it had to be loaded."""
        if not name:
            raise self._adapter_error(name, "an adapter needs a name", "the name is empty")
        self._look_at(name, path)
        failure = yield from self._plan_change("load", name, {"lora_path": path})
        if failure is not None and failure.code == "name_taken" and replace:
            yield from self._plan_change("unload", name)
            failure = yield from self._plan_change("load", name, {"lora_path": path})
        if failure is None:
            return True
        if failure.code == "already_loaded":
            return False
        hint = f"load_adapter({name!r}, {path!r}, replace=True)" if failure.code == "name_taken" else None
        raise self._adapter_error(name, f"the adapter {name!r} could not be loaded", failure.message, hint)

    def _look_at(self, name: str, path: str) -> None:
        """Reads the adapter's files before a model is loaded for it."""
        try:
            files = read_adapter(name, path)
        except EngineError as error:
            raise self._adapter_error(name, f"the adapter {name!r} could not be loaded", error.message) from error
        other = other_base(files, self.model or "")
        if other:
            words = f"the adapter {name!r} was made for {other}, and this model is {self.model}"
            warnings.warn(words, AdapterBaseWarning, stacklevel=2)

    def _plan_unload(self, name: str) -> Plan[str]:
        failure = yield from self._plan_change("unload", name)
        if failure is not None:
            loaded = ", ".join(map(str, (yield from self._plan_list()))) or "none"
            raise self._adapter_error(
                name, f"the adapter {name!r} is not loaded, so it can't be unloaded", f"loaded are: {loaded}"
            )
        return f"Adapter {name!r} unloaded successfully"

    def _plan_change(self, what: str, name: str, fields: Mapping[str, str] | None = None) -> Plan[Failure | None]:
        """Loads or unloads; what the engine has against the adapter or its name.

        Raises:
            ProviderError: The failure has nothing to do with the adapter.
        """
        call = self._endpoint.post(f"{self.base_url}/{what}_lora_adapter", {"lora_name": name, **(fields or {})})
        answer = yield from send(self._endpoint, call)
        if answer.status < 300:
            return None
        failure = read_failure(answer.body)
        if answer.status not in (400, 404) or failure.code == "model_not_found":
            raise failed(self._endpoint, call, answer, answer.body, model=self.model)
        return failure

    def _plan_list(self) -> Plan[list[Adapter]]:
        rows = yield from openai_api.models(self._endpoint)
        return [Adapter(row.id, row.root, row.parent) for row in rows if row.parent is not None]

    def _plan_ensure(self, adapters: Mapping[str, AdapterPath]) -> Plan[list[str]]:
        fresh = []
        for name, path in adapters.items():
            if (yield from self._plan_load_one(name, os.fspath(path), replace=False)):
                fresh.append(name)
        return fresh

    def _adapter_error(self, name: str, message: str, why: str, hint: str | None = None) -> AdapterError:
        return AdapterError(message, provider=self.provider, model=name, url=self.base_url, why=why, hint=hint)
