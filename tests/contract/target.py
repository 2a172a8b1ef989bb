"""A backend that the contract is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from abstractcore.capability import Capability, Support, support
from abstractcore.errors import ConnectionFailedError, InvalidRequestError
from abstractcore.providers import Provider
from abstractcore.wire.call import Call

CONSTRAINTS = ("structured_outputs", "response_format", "format", "output_config", "guided_json", "guided_regex")
"""The fields that carry a constraint, in all protocols."""


@dataclass
class Target:
    """A backend with a small chat model."""

    provider: str
    model: str
    make: Callable[..., Provider]
    """Makes a provider over the given transports."""
    transports: Callable[[], Mapping[str, Any]]
    """What stands between provider and backend; new for each provider."""
    listed: str
    """What it calls the model itself."""
    context: int = 2048
    """Tokens that the model holds."""
    bad: Mapping[str, Any] = field(default_factory=lambda: {"temperature": -3})
    """Options that the backend itself refuses."""
    refusal: type[Exception] = InvalidRequestError
    """What that refusal becomes."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Cases that this backend can't be brought to, by name, with the reason."""

    def llm(self, **config: Any) -> Provider:
        """A provider for the backend."""
        return self.make(self.model, **self._same(config), **self.transports())

    def _same(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Options that make answers the same each time, as far as that goes."""
        seed = {"seed": 1} if self.can(Capability.SEED) else {}
        return {"temperature": 0, **seed, **config}

    def named(self, model: str, **config: Any) -> Provider:
        """A provider for another model of it."""
        return self.make(model, **config, **self.transports())

    def deaf(self, **config: Any) -> Provider:
        """A provider whose backend never hears of constraints, as many servers don't."""
        inner = self.transports()
        return self.make(
            self.model,
            **self._same(config),
            transport=Deaf(inner["transport"]),
            async_transport=AsyncDeaf(inner["async_transport"]),
        )

    def unplugged(self, **config: Any) -> Provider:
        """A provider that reaches nothing: what it raises besides, it knew without asking."""
        return self.make(self.model, **config, transport=Unplugged(), async_transport=AsyncUnplugged())

    def can(self, capability: Capability) -> bool:
        """Whether the table says so."""
        return support(self.provider, capability) is not Support.UNSUPPORTED


def without_constraint(call: Call) -> Call:
    """The request as a server reads it that knows nothing of constraints."""
    if call.body is None:
        return call
    body = {name: value for name, value in msgspec.json.decode(call.body).items() if name not in CONSTRAINTS}
    return replace(call, body=msgspec.json.encode(body))


class Deaf:
    """Takes the constraint out of every request on its way."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def open(self, call: Call) -> Any:
        return self._inner.open(without_constraint(call))

    def close(self) -> None:
        self._inner.close()


class AsyncDeaf:
    """Same, in an event loop."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def open(self, call: Call) -> Any:
        return await self._inner.open(without_constraint(call))

    def close(self) -> None:
        self._inner.close()


class Unplugged:
    """Nothing answers."""

    def open(self, call: Call) -> Any:
        error = ConnectionFailedError("connection refused", url=call.url)
        error.refused = True
        raise error

    def close(self) -> None:
        """Nothing is open."""


class AsyncUnplugged(Unplugged):
    """Same, in an event loop."""

    async def open(self, call: Call) -> Any:
        return super().open(call)
