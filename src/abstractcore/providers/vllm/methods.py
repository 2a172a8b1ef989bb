"""What the parts of the vLLM provider need of it: servers to ask, the model to name, requests to decide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from typing import Any, TypeVar

from ...types import GenerateRequest
from ...wire.call import Plan
from ..base import Provider
from ..endpoint import Endpoint
from ..exchange import Job
from .replicas import Replicas

T = TypeVar("T")


class ServerMethods(Provider):
    """Base of those parts."""

    _replicas: Replicas

    @abstractmethod
    def _plan_model(self, endpoint: Endpoint, wanted: str | None) -> Plan[str]: ...

    @abstractmethod
    def _plan_job(self, request: GenerateRequest, endpoint: Endpoint, *, stream: bool) -> Plan[Job]: ...

    @abstractmethod
    def _explained(
        self, endpoint: Endpoint, plan: Generator[Any, Any, T], job: Job | None = None
    ) -> Generator[Any, Any, T]: ...
