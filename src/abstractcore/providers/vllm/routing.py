"""Who answered, and what became of the adapters that this client loaded.

The answer's model field is the proof: it must name what was asked. One thing it can't show is the prefix cache, which
some releases share between adapters of one name; there each request carries a salt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct, field

from ...errors import AdapterError, ModelNotFoundError, ProviderError
from ...types import ModelInfo
from ...wire.call import Plan
from ...wire.prometheus import read_totals
from .. import openai_api
from ..endpoint import Endpoint, send
from .dialect import Dialect

_CACHED_BY_NAME: Final = ((0, 11, 1), (0, 32, 0))
"""From and until: releases whose prefix cache knows an adapter by its name only, also after another took the name."""


class Loaded(Struct, frozen=True):
    """An adapter that this client loaded."""

    path: str
    started: Mapping[str, float] = field(default_factory=dict)
    """When each server that has it had been started, by address; in seconds since 1970."""
    salted: frozenset[str] = frozenset()
    """Addresses of the servers on which another adapter's cached prefixes must be kept away; see ``salt``."""


class Memory(Struct):
    """What one provider remembers of adapters and names."""

    loaded: dict[str, Loaded] = field(default_factory=dict)
    aliases: set[tuple[str, str, str | None]] = field(default_factory=set)
    """Address, name asked for, name that answered: seen to be two names of the same base model."""


def needs_salt(dialect: Dialect) -> bool:
    """Whether the server might answer with prefixes that it cached for an earlier adapter of the same name."""
    first, until = _CACHED_BY_NAME
    return (
        dialect.number is not None
        and first <= dialect.number < until
        and bool(dialect.lists("ChatCompletionRequest", "cache_salt"))
    )


def salt(memory: Memory, endpoint: Endpoint, model: str) -> dict[str, str]:
    """Request fields that keep an adapter to its own cached prefixes: its path as ``cache_salt``."""
    loaded = memory.loaded.get(model)
    return {"cache_salt": loaded.path} if loaded and endpoint.root in loaded.salted else {}


def adapter_error(
    endpoint: Endpoint,
    name: str,
    message: str,
    *,
    status: int | None = None,
    server_message: str | None = None,
    why: str | None = None,
    hint: str | None = None,
) -> AdapterError:
    """An error about an adapter of one server."""
    return AdapterError(
        message,
        provider=endpoint.provider,
        model=name,
        url=endpoint.base_url,
        status=status,
        server_message=server_message,
        why=why,
        hint=hint,
    )


def started_at(endpoint: Endpoint) -> Plan[float | None]:
    """When the server was started, in seconds since 1970; ``None`` if it doesn't say."""
    try:
        answer = yield from send(endpoint, endpoint.get(f"{endpoint.root}/metrics"))
    except ProviderError:
        return None
    return read_totals(answer.body).get("process_start_time_seconds")


def confirm(memory: Memory, endpoint: Endpoint, asked: str, answered: str | None) -> Plan[None]:
    """Finds out whether another name in the answer is one of the same base model.

    A server with several names for its model answers with the first one; a gateway lists ``backend/model`` and passes
    on answers that name the model alone. Asked once for each pair of names.

    Raises:
        AdapterError: Another model or adapter answered, or it can't be known.
    """
    if (endpoint.root, asked, answered) in memory.aliases:
        return
    rows = yield from openai_api.models(endpoint)
    bases = {row.id for row in rows if row.parent is None}
    is_base = asked in bases and (answered is None or answered in bases)
    if not is_base and not _is_behind(rows, asked, answered):
        who = "does not say who did" if answered is None else f"names {answered!r}"
        raise adapter_error(
            endpoint,
            asked,
            f"{asked!r} was asked, but it did not answer",
            why=f"the answer {who}; served are: {', '.join(row.id for row in rows)}",
            hint="is there a proxy that rewrites model names? Ask vLLM itself",
        )
    memory.aliases.add((endpoint.root, asked, answered))


def _is_behind(rows: Sequence[ModelInfo], asked: str, answered: str | None) -> bool:
    """Whether a model answered under the name that it has behind a gateway, which lists no such name itself."""
    roots = {row.id: row.root for row in rows}
    if answered is None or answered in roots or asked not in roots:
        return False
    same = [name for name, root in roots.items() if name == asked or (root and root == roots[asked])]
    return any(name.endswith(f"/{answered}") for name in same)


def explain_lost(memory: Memory, endpoint: Endpoint, error: ModelNotFoundError) -> Plan[ProviderError]:
    """Says so if a model that isn't served is an adapter that this client had loaded."""
    name = error.model or ""
    loaded = memory.loaded.get(name)
    if loaded is None:
        return error
    before, now = loaded.started.get(endpoint.root), (yield from started_at(endpoint))
    if before is None or now is None:
        fate = "the server has restarted since, or another client unloaded it"
    elif before == now:
        fate = "another client unloaded it; the server has not restarted since"
    else:
        fate = "the server has restarted since"
    return adapter_error(
        endpoint,
        name,
        f"the adapter {name!r} is lost: {fate}",
        status=error.status,
        server_message=error.server_message,
        why=f"this client loaded it from {loaded.path}; served are now: {', '.join(error.available) or 'unknown'}",
        hint=f"llm.ensure_adapters({{{name!r}: {loaded.path!r}}})",
    )
