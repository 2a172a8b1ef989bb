"""A request on its way to being decided; each feature works on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field

from ..errors import UnsupportedFeatureError
from ..types import GenerateRequest
from ..wire.openai import Completion
from ..wire.openai_protocol import OPENAI
from ..wire.protocol import WireProtocol
from .endpoint import Endpoint
from .exchange import Job


class Draft(Struct):
    """A request on its way to being decided."""

    request: GenerateRequest
    model: str
    stream: bool = False
    provider: str = ""
    protocol: WireProtocol = OPENAI
    fields: dict[str, Any] = field(default_factory=dict)
    """What is added to the body, or replaces a part of it."""
    spelling: str = ""
    """The field that carries the constraint."""
    hold_text: bool = False
    """As in ``Job``."""
    metadata: dict[str, Any] = field(default_factory=dict)
    revise: list[Callable[[Completion], Completion]] = field(default_factory=list)
    """Run on the answer before its proof: each gives it on, changed or not, or raises for a broken promise."""

    @property
    def server_version(self) -> str | None:
        """The version of the live server, where it is known."""
        return None

    @property
    def knobs(self) -> dict[str, str]:
        """Wishes that were left out, or of which nothing shows whether they are obeyed; with the reason."""
        found: dict[str, str] = self.metadata.setdefault("knobs", {})
        return found

    @property
    def emulated(self) -> dict[str, str]:
        """What is done here in place of the backend; with how."""
        found: dict[str, str] = self.metadata.setdefault("emulated", {})
        return found

    def body(self) -> dict[str, Any]:
        """The request body as it stands."""
        return {**self.protocol.body(self.request, self.model, stream=self.stream), **self.fields}

    def refuse(self, feature: str, *, why: str, alternatives: Sequence[str] = ()) -> UnsupportedFeatureError:
        """The error for a promise that this backend can't keep."""
        version = self.server_version
        return UnsupportedFeatureError(
            f"{self.provider} can't do {feature}" + (f" (server version {version})" if version else ""),
            feature=feature,
            provider=self.provider,
            server_version=version,
            alternatives=alternatives,
            why=why,
        )

    def job(self, endpoint: Endpoint) -> Job:
        """The decided request."""
        return Job(
            endpoint,
            self.request,
            self.model,
            self.fields,
            self.spelling,
            self.metadata,
            hold_text=self.hold_text,
            revise=tuple(self.revise),
            protocol=self.protocol,
        )
