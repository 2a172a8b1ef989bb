"""The vLLM provider: plans for one server, put together from dialect, guided decoding and the OpenAI protocol."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from msgspec.structs import replace

from ...errors import (
    ConstraintViolationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    RequestTimeoutError,
    StreamInterruptedError,
    TruncatedOutputError,
)
from ...settings import resolve
from ...transport.retry import RetryPolicy
from ...types import GenerateRequest, GenerateResponse, ModelInfo
from ...wire.call import Emit, Plan, StreamPlan
from .. import exchange, openai_api
from ..batch.controller import Load
from ..deadline import in_time
from ..endpoint import Endpoint
from ..exchange import Job
from ..request import GenerateDefaults, timeouts_of
from . import adapters, engine, guided, pooling, routing, server, tokens, tools
from .job import decide
from .load import ask_load
from .misplaced import warn_of_server_settings
from .replicas import Replicas, base_urls_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from ...transport import AsyncTransport, Transport

T = TypeVar("T")


class VLLMProvider(adapters.AdapterMethods, pooling.PoolingMethods, tokens.TokenMethods):
    """A vLLM server, reached over HTTP. Making one never touches the network.

    Args:
        model: A served model or adapter; what the server serves when left out.
        base_url: The server's address; else ``VLLM_BASE_URL``, else ``http://localhost:8000/v1``. Several, as a list or
            with commas, are replicas: each request goes to the least busy one that can be reached.
        api_key: The server's key; else ``VLLM_API_KEY``, else ``EMPTY``.
        retry: When a request is sent again.
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
        base_url: str | Sequence[str] | None = None,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        super().__init__(model, transport=transport, async_transport=async_transport, **defaults)
        wanted = base_url if base_url is None or isinstance(base_url, str) else ",".join(base_url)
        address, key = resolve("vllm.base_url", wanted), resolve("vllm.api_key", api_key)
        self.base_urls = base_urls_of(address.value or "")
        self.base_url = self.base_urls[0]
        self.api_key = key.value
        key_hint = f"the key came from {key.origin}; set VLLM_API_KEY to the server's --api-key, or pass api_key"
        down_hint = (
            f"vllm serve {model or 'MODEL'}    (without a GPU: abstractcore demo); "
            "if it still loads its model: wait_until_ready(600), or --wait 600"
        )
        headers = {"authorization": f"Bearer {self.api_key}"}
        again = retry or RetryPolicy()
        first = Endpoint(self.provider, self.base_url, headers, retry=again, down_hint=down_hint, key_hint=key_hint)
        # They share the first one's budget of repeats: it is the client's.
        self._replicas = Replicas([replace(first, base_url=url) for url in self.base_urls])
        self._endpoints = self._replicas.endpoints
        self._adapters = routing.Memory()
        warn_of_server_settings(os.environ)

    @property
    def _endpoint(self) -> Endpoint:
        """The server that was asked last."""
        return self._replicas.current

    @property
    def openai_endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints)

    def endpoints_at(self, path: str) -> tuple[Endpoint, ...]:
        return tuple(self._endpoints)

    def own_fields(self, model: str, endpoint: Endpoint) -> Mapping[str, Any]:
        return routing.salt(self._adapters, endpoint, model)

    def _plan_known_fields(self, path: str, endpoint: Endpoint) -> Plan[frozenset[str] | None]:
        dialect = yield from server.learn(endpoint)
        return dialect.fields_of(path)

    async def acache_salts(self, rows: Sequence[ModelInfo]) -> dict[str, str]:
        """The ``cache_salt`` that requests to adapters need, by name: for those who pass requests on.

        Some releases know an adapter's cached prefixes by its name only, also when another one has taken the name.
        """
        if not any(row.parent is not None and row.root for row in rows):
            return {}
        if not routing.needs_salt(await self._arun(server.learn(self._endpoint))):
            return {}
        return {row.id: row.root for row in rows if row.parent is not None and row.root}

    def server_version(self) -> str | None:
        """The server's version as it says it; ``None`` if it hides it."""
        return self._run(server.learn(self._endpoint)).version

    async def aserver_version(self) -> str | None:
        """Like ``server_version``."""
        return (await self._arun(server.learn(self._endpoint))).version

    def _plan_wait(self, seconds: float) -> Plan[None]:
        until = time.monotonic() + seconds
        for endpoint in self._endpoints:
            yield from server.wait_until_ready(endpoint, max(0.0, until - time.monotonic()))
            yield from engine.generates(endpoint, self.model, until)

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        return self._replicas.run(openai_api.models)

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        return self._replicas.run(lambda endpoint: server.served(endpoint, model or self.model))

    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]:
        reports = yield from adapters.on_each(self._endpoints, lambda endpoint: server.health(endpoint, timeout))
        first = next((report for report in reports if report["status"]), reports[0])
        if len(reports) == 1:
            return first
        return {**first, "replicas": {url: each["error"] for url, each in zip(self.base_urls, reports, strict=True)}}

    def _plan_server_load(self) -> Plan[Load | None]:
        return ask_load(self._endpoints)

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        return self._replicas.run(partial(self._plan_generate_at, request))

    def _plan_generate_at(self, request: GenerateRequest, endpoint: Endpoint) -> Plan[GenerateResponse]:
        try:
            return (yield from self._plan_proved(request, endpoint))
        except InvalidRequestError as error:
            yield from self._explain_tools(request, endpoint, error)
        return (yield from self._plan_proved(request, endpoint))

    def _explain_tools(self, request: GenerateRequest, endpoint: Endpoint, error: InvalidRequestError) -> Plan[None]:
        """Gives on a refusal, unless the request may be sent again in another form."""
        if not request.tools or isinstance(error, ContextLengthError):
            raise error
        yield from tools.explain_refusal(endpoint, error, (yield from self._plan_job(request, endpoint, stream=True)))

    def _plan_proved(self, request: GenerateRequest, endpoint: Endpoint) -> Plan[GenerateResponse]:
        job = yield from self._plan_job(request, endpoint, stream=False)
        try:
            return (yield from self._explained(endpoint, exchange.complete(job), job))
        except TruncatedOutputError:
            raise
        except ConstraintViolationError:
            # Another server may have taken this address since it was asked: ask again, and repeat only if so.
            server.forget(endpoint)
            again = yield from self._plan_job(request, endpoint, stream=False)
            if again.spelling == job.spelling:
                raise
            return (yield from self._explained(endpoint, exchange.complete(again), again))

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        return self._replicas.run(partial(self._plan_stream_at, request))

    def _plan_stream_at(self, request: GenerateRequest, endpoint: Endpoint) -> StreamPlan:
        try:
            yield from self._plan_proved_stream(request, endpoint)
        except InvalidRequestError as error:
            yield from self._explain_tools(request, endpoint, error)
        except StreamInterruptedError as error:
            if not tools.breaks_stream(request, error):
                raise
            yield Emit([tools.as_last_chunk((yield from self._plan_generate_at(request, endpoint)))])
            return
        else:
            return
        yield from self._plan_proved_stream(request, endpoint)

    def _plan_proved_stream(self, request: GenerateRequest, endpoint: Endpoint) -> StreamPlan:
        job = yield from self._plan_job(request, endpoint, stream=True)
        try:
            yield from self._explained(endpoint, exchange.stream(job), job)
        except ConstraintViolationError:
            server.forget(endpoint)
            raise

    def _plan_model(self, endpoint: Endpoint, wanted: str | None) -> Plan[str]:
        """The model to ask; what the server serves if none was named, remembered from then on."""
        if wanted or self.model:
            return wanted or self.model or ""
        found = yield from server.served(endpoint, None)
        self.model = found.id
        return found.id

    def _plan_job(self, request: GenerateRequest, endpoint: Endpoint, *, stream: bool) -> Plan[Job]:
        limits = timeouts_of(request, endpoint.timeouts)
        return in_time(request, limits, self._plan_decided(request, endpoint, stream=stream))

    def _plan_decided(self, request: GenerateRequest, endpoint: Endpoint, *, stream: bool) -> Plan[Job]:
        model = yield from self._plan_model(endpoint, request.model)
        job = yield from decide(endpoint, request, model, stream=stream)
        if request.check_length:
            yield from tokens.check_length(job)
        salt = {} if "cache_salt" in request.extra_body else routing.salt(self._adapters, endpoint, model)
        return replace(job, fields={**salt, **job.fields}, confirm=partial(routing.confirm, self._adapters))

    def _explained(
        self, endpoint: Endpoint, plan: Generator[Any, Any, T], job: Job | None = None
    ) -> Generator[Any, Any, T]:
        """Runs a plan and adds to its errors what only this server can say."""
        try:
            return (yield from plan)
        except ModelNotFoundError as error:
            error = yield from server.explain_missing(endpoint, error)
            raise (yield from routing.explain_lost(self._adapters, endpoint, error)) from error.__cause__
        except (StreamInterruptedError, RequestTimeoutError) as error:
            guided.suspect_engine(error, job.request.constraint if job else None)
            engine.explain_silence(endpoint, error)
            yield from engine.explain_failure(endpoint, error)
            raise
        except ProviderAPIError as error:
            guided.suspect_engine(error, job.request.constraint if job else None)
            yield from engine.explain_failure(endpoint, error)
            raise (yield from pooling.explain_no_chat(endpoint, error)) from error.__cause__
        except InvalidRequestError as error:
            if job is None:
                raise
            raise (yield from server.explain_refusal(endpoint, error, job.request, job.model)) from error.__cause__
