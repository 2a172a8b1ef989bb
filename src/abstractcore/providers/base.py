"""What users hold: one interface for all backends, sync and async.

A provider implements the plans (methods that begin with ``_plan``); this class runs them over a transport. Every
method has an async twin that runs the very same plan.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from operator import attrgetter
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, Unpack, overload

from ..capability import Capability, Support, support
from ..errors import ProviderError, UnsupportedFeatureError
from ..types import GenerateRequest, GenerateResponse, ModelInfo
from ..wire.call import Plan, StreamPlan, Timeouts, limited
from . import structured_output
from .batch import BatchCalls
from .request import GenerateDefaults, GenerateOptions, build_request, check_names
from .tool_loop_calls import ToolLoopCalls

if TYPE_CHECKING:
    from types import TracebackType

    from ..transport import AsyncTransport, Transport
    from ..transport.aio import AsyncDriver, AsyncStream
    from ..transport.sync import Stream, SyncDriver
    from .endpoint import Endpoint

T = TypeVar("T")


class Provider(BatchCalls, ToolLoopCalls, ABC):
    """A backend that answers prompts. Making one never touches the network.

    Args:
        model: The model to ask; found out on first use when left out, if the backend serves just one.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        TypeError: A default is no option of ``generate``.
    """

    provider: ClassVar[str]
    """The backend's name."""
    engine: ClassVar[str | None] = None
    """The engine behind it, where what it can do departs from the provider's row in ``capability``."""
    default_model: ClassVar[str | None] = None
    """The model that is asked when none is named."""
    needs_key: ClassVar[bool] = False
    """Whether the backend answers nobody without a key."""

    def __init__(
        self,
        model: str | None = None,
        *,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        check_names(defaults)
        self.model = model
        self._defaults: Mapping[str, Any] = defaults
        self._transport = transport
        self._async_transport = async_transport
        self._driver: SyncDriver | None = None
        self._async_driver: AsyncDriver | None = None

    @property
    def openai_endpoints(self) -> tuple[Endpoint, ...]:
        """Where requests in OpenAI's protocol can be passed on as they are; none if it speaks another."""
        return ()

    def endpoints_at(self, path: str) -> tuple[Endpoint, ...]:
        """Where requests for a path, such as ``/v1/responses``, can be passed on as they are; none if nowhere."""
        return () if path.startswith("/v1/messages") else self.openai_endpoints

    async def aknown_fields(self, path: str, endpoint: Endpoint) -> frozenset[str] | None:
        """The fields that the backend reads in requests for a path; ``None`` if it has none such, or does not say."""
        return await self._arun(self._plan_known_fields(path, endpoint))

    def own_fields(self, model: str, endpoint: Endpoint) -> Mapping[str, Any]:
        """What this provider adds to each request for a model, for those who pass requests on."""
        return {}

    def _plan_known_fields(self, path: str, endpoint: Endpoint) -> Plan[frozenset[str] | None]:
        return None
        yield  # a plan, like the others; unreachable

    @abstractmethod
    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]: ...

    @abstractmethod
    def _plan_stream(self, request: GenerateRequest) -> StreamPlan: ...

    @abstractmethod
    def _plan_models(self) -> Plan[list[ModelInfo]]: ...

    @abstractmethod
    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]: ...

    def _plan_answer(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        """The plan for a whole answer, read by the response model if there is one."""
        if request.response_model is None:
            return self._plan_generate(request)
        return structured_output.complete(request, self._plan_generate)

    def _plan_chunks(self, request: GenerateRequest) -> StreamPlan:
        """The same for a stream."""
        plan = self._plan_stream(request)
        return plan if request.response_model is None else structured_output.stream(request, plan)

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: type[T],
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> T: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: object = None,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> Stream: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: UnionType,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> Any: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: bool,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse | Stream: ...

    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: Any = None,
        stream: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Any:
        """Answers a prompt or a conversation.

        Args:
            prompt: What the user says.
            response_model: A pydantic class, or any type that pydantic validates: give the answer as its instance.
            stream: Give an iterator of chunks; closing it, or leaving a ``with`` block, aborts the generation.
            options: ``GenerateOptions``.

        Returns:
            The answer, or an iterator of its parts whose last one carries usage and finish reason. With
            ``response_model`` its instance; in a stream each chunk has the data so far in ``partial``, the last one
            the instance in ``parsed``.

        Raises:
            UnsupportedFeatureError: A promise that this backend can't keep; nothing was sent.
            InvalidConstraintError: The constraint does not compile; nothing was sent.
            ConstraintViolationError: The answer does not satisfy the constraint, the response model or a tool's schema.
            ProviderError: The backend did not deliver.
        """
        if stream:
            request = self._request(prompt, {**options, "response_model": response_model})
            return self._sync.stream(self._plan_chunks(request))
        response = self.respond(prompt, response_model=response_model, **options)
        return response if response_model is None else response.parsed

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: type[T],
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> T: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: object = None,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> AsyncStream: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: UnionType,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> Any: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: bool,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse | AsyncStream: ...

    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: Any = None,
        stream: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Any:
        """Like ``generate``; a stream is an async iterator."""
        if stream:
            request = self._request(prompt, {**options, "response_model": response_model})
            return self._async.stream(self._plan_chunks(request))
        response = await self.arespond(prompt, response_model=response_model, **options)
        return response if response_model is None else response.parsed

    def respond(
        self, prompt: str | None = None, *, response_model: Any = None, **options: Unpack[GenerateOptions]
    ) -> GenerateResponse:
        """Like ``generate``, but gives the response also with ``response_model``: ``parsed`` is the instance."""
        return self._run(self._plan_answer(self._request(prompt, {**options, "response_model": response_model})))

    async def arespond(
        self, prompt: str | None = None, *, response_model: Any = None, **options: Unpack[GenerateOptions]
    ) -> GenerateResponse:
        """Like ``respond``."""
        return await self._arun(self._plan_answer(self._request(prompt, {**options, "response_model": response_model})))

    def _request(self, prompt: str | None, options: Mapping[str, Any]) -> GenerateRequest:
        return build_request(prompt, {**self._defaults, **options})

    def list_models(self, *, timeout: float | None = None) -> list[ModelInfo]:
        """What the backend says about the models that it serves, sorted by name.

        Args:
            timeout: Seconds for each request; the provider's own limits when left out.
        """
        return sorted(self._run(_within(self._plan_models(), timeout)), key=attrgetter("id"))

    async def alist_models(self, *, timeout: float | None = None) -> list[ModelInfo]:  # noqa: ASYNC109 - the twin
        """Like ``list_models``."""
        return sorted(await self._arun(_within(self._plan_models(), timeout)), key=attrgetter("id"))

    def list_available_models(self) -> list[str]:
        """Names of the models that the backend serves, sorted."""
        return [row.id for row in self.list_models()]

    async def alist_available_models(self) -> list[str]:
        """Like ``list_available_models``."""
        return [row.id for row in await self.alist_models()]

    def model_info(self, model: str | None = None) -> ModelInfo:
        """What the backend says about a model; by default about the one in use.

        Raises:
            ModelNotFoundError: It is not served.
        """
        return self._run(self._plan_model_info(model))

    async def amodel_info(self, model: str | None = None) -> ModelInfo:
        """Like ``model_info``."""
        return await self._arun(self._plan_model_info(model))

    @abstractmethod
    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]: ...

    def embed(self, text: str | Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """One vector for each text, in their order, of ``model`` or else of the provider's own.

        Raises:
            UnsupportedFeatureError: The model makes no embeddings.
        """
        return self._run(self._plan_embed([text] if isinstance(text, str) else list(text), model))

    async def aembed(self, text: str | Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """Like ``embed``."""
        return await self._arun(self._plan_embed([text] if isinstance(text, str) else list(text), model))

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        feature = Capability.EMBEDDINGS
        raise UnsupportedFeatureError(f"{self.provider} can't do {feature}", feature=feature, provider=self.provider)
        yield  # a plan, like the others; unreachable

    def health(self, timeout: float = 5.0) -> dict[str, Any]:
        """Whether the backend can answer. Never raises: what is wrong is in ``error``.

        Args:
            timeout: Seconds to wait.

        Returns:
            ``status`` (bool), ``provider``, ``models``, ``model_count``, ``error``, ``latency_ms``.
        """
        return self._run(self._plan_health(timeout))

    async def ahealth(self, timeout: float = 5.0) -> dict[str, Any]:  # noqa: ASYNC109 - the twin of health
        """Like ``health``."""
        return await self._arun(self._plan_health(timeout))

    def wait_until_ready(self, seconds: float) -> None:
        """Waits for a backend that is still starting.

        Raises:
            ServerNotReadyError: It was not ready within the time.
        """
        self._run(self._plan_wait(seconds))

    async def await_until_ready(self, seconds: float) -> None:
        """Like ``wait_until_ready``."""
        await self._arun(self._plan_wait(seconds))

    @abstractmethod
    def _plan_wait(self, seconds: float) -> Plan[None]: ...

    def validate_config(self) -> bool:
        """Whether the backend answers with these settings and serves the model."""
        try:
            self.model_info()
        except ProviderError:
            return False
        return True

    async def avalidate_config(self) -> bool:
        """Like ``validate_config``."""
        try:
            await self.amodel_info()
        except ProviderError:
            return False
        return True

    def capabilities(self) -> dict[Capability, Support]:
        """How this backend does each thing that a caller may rely on."""
        return {capability: support(self.engine or self.provider, capability) for capability in Capability}

    def get_capabilities(self) -> list[str]:
        """Names of what this backend can do."""
        return [str(name) for name, support in self.capabilities().items() if support is not Support.UNSUPPORTED]

    def close(self) -> None:
        """Closes idle connections. The provider stays usable."""
        if self._transport is not None:
            self._transport.close()
        if self._async_transport is not None:
            self._async_transport.close()

    unload = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(model={self.model!r})"

    @property
    def _sync(self) -> SyncDriver:
        if self._driver is None:
            from ..transport.sync import SyncDriver

            if self._transport is None:
                from ..transport.http_sync import HttpTransport

                self._transport = HttpTransport()
            self._driver = SyncDriver(self._transport)
        return self._driver

    @property
    def _async(self) -> AsyncDriver:
        if self._async_driver is None:
            from ..transport.aio import AsyncDriver

            if self._async_transport is None:
                from ..transport.http_async import AsyncHttpTransport

                self._async_transport = AsyncHttpTransport()
            self._async_driver = AsyncDriver(self._async_transport)
        return self._async_driver

    def _run(self, plan: Plan[T]) -> T:
        return self._sync.run(plan)

    async def _arun(self, plan: Plan[T]) -> T:
        return await self._async.run(plan)


def _within(plan: Plan[T], timeout: float | None) -> Plan[T]:
    return plan if timeout is None else limited(plan, Timeouts(timeout, timeout, timeout, timeout))


BaseProvider = Provider
"""Its name in earlier versions."""
