"""The vLLM provider: plans for one server, put together from dialect, guided decoding and the OpenAI protocol."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from ...errors import ConstraintViolationError, InvalidRequestError, ModelNotFoundError, TruncatedOutputError
from ...settings import resolve
from ...types import GenerateRequest, GenerateResponse, ModelInfo
from ...wire.call import Plan, StreamPlan
from .. import openai_api
from ..endpoint import Endpoint, base_url_of
from ..openai_api import Job
from ..request import GenerateDefaults
from . import adapters, server
from .job import decide

if TYPE_CHECKING:
    from collections.abc import Generator

    from ...transport import AsyncTransport, Transport

T = TypeVar("T")


class VLLMProvider(adapters.AdapterMethods):
    """A vLLM server, reached over HTTP. Making one never touches the network.

    Args:
        model: A served model or adapter; what the server serves when left out.
        base_url: The server's address; else ``VLLM_BASE_URL``, else ``http://localhost:8000/v1``.
        api_key: The server's key; else ``VLLM_API_KEY``, else ``EMPTY``.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: The address is none.
        TypeError: A default is no option of ``generate``.
    """

    provider = "vllm"

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        super().__init__(model, transport=transport, async_transport=async_transport, **defaults)
        address, key = resolve("vllm.base_url", base_url), resolve("vllm.api_key", api_key)
        self.base_url = base_url_of(address.value or "")
        self.api_key = key.value
        self._endpoint = Endpoint(
            self.provider,
            self.base_url,
            {"authorization": f"Bearer {self.api_key}"},
            down_hint=f"vllm serve {model or 'MODEL'}    (without a GPU: abstractcore demo)",
            key_hint=f"the key came from {key.origin}; set VLLM_API_KEY to the server's --api-key, or pass api_key",
        )
        self._endpoints = (self._endpoint,)
        self._adapters = adapters.Memory()

    def server_version(self) -> str | None:
        """The server's version as it says it; ``None`` if it hides it."""
        return self._run(server.learn(self._endpoint)).version

    async def aserver_version(self) -> str | None:
        """Like ``server_version``."""
        return (await self._arun(server.learn(self._endpoint))).version

    def _plan_wait(self, seconds: float) -> Plan[None]:
        return server.wait_until_ready(self._endpoint, seconds)

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        return openai_api.models(self._endpoint)

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        return server.served(self._endpoint, model or self.model)

    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]:
        return server.health(self._endpoint, timeout)

    def _plan_embed(self, texts: list[str]) -> Plan[list[list[float]]]:
        model = yield from self._plan_model(None)
        vectors, _usage = yield from self._explained(openai_api.embed(self._endpoint, texts, model))
        return vectors

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        job = yield from self._plan_job(request, stream=False)
        try:
            return (yield from self._explained(openai_api.complete(job), job))
        except TruncatedOutputError:
            raise
        except ConstraintViolationError:
            # Another server may have taken this address since it was asked: ask again, and repeat only if so.
            server.forget(self._endpoint)
            again = yield from self._plan_job(request, stream=False)
            if again.spelling == job.spelling:
                raise
            return (yield from self._explained(openai_api.complete(again), again))

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        job = yield from self._plan_job(request, stream=True)
        try:
            yield from self._explained(openai_api.stream(job), job)
        except ConstraintViolationError:
            server.forget(self._endpoint)
            raise

    def _plan_model(self, wanted: str | None) -> Plan[str]:
        """The model to ask; what the server serves if none was named, remembered from then on."""
        if wanted or self.model:
            return wanted or self.model or ""
        found = yield from server.served(self._endpoint, None)
        self.model = found.id
        return found.id

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        model = yield from self._plan_model(request.model)
        job = yield from decide(self._endpoint, request, model, stream=stream)
        return replace(job, confirm=partial(adapters.confirm, self._adapters))

    def _explained(self, plan: Generator[Any, Any, T], job: Job | None = None) -> Generator[Any, Any, T]:
        """Runs a plan and adds to its errors what only this server can say."""
        try:
            return (yield from plan)
        except ModelNotFoundError as error:
            error = yield from server.explain_missing(self._endpoint, error)
            raise (yield from adapters.explain_lost(self._adapters, self._endpoint, error)) from error.__cause__
        except InvalidRequestError as error:
            if job is None:
                raise
            raise (
                yield from server.explain_refusal(self._endpoint, error, job.request, job.model)
            ) from error.__cause__
