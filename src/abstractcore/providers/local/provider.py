"""What the backends in this process share: OpenAI's protocol, spoken with an engine in place of a server."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from msgspec.structs import replace

from ...capability import Capability, Support, support
from ...errors import ContextLengthError, RequestTimeoutError, ServerNotReadyError
from ...types import GenerateRequest
from ...wire.call import Plan, Timeouts
from ...wire.openai import read_embeddings
from ...wire.pooling import TokenCount, read_count, read_text
from .. import exchange
from ..base import Provider
from ..draft import Draft
from ..endpoint import Endpoint, checked
from ..http_provider import HttpProvider
from ..promises import refusal
from ..request import GenerateDefaults, GenerateOptions, build_request
from .engine import Engine
from .host import Lease
from .transport import EngineTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...transport import AsyncTransport, Transport
    from ...transport.aio import AsyncDriver
    from ..exchange import Job

T = TypeVar("T")


class LocalProvider(HttpProvider):
    """A model in this process. Making one touches nothing: it is loaded on first use.

    Providers of the same model with the same settings share one copy in memory. It is freed by ``unload`` (or
    ``close``, or the end of a ``with`` block) of the last of them, and loaded again when asked again.

    Args:
        model: The model; what that may be is the backend's affair.
        transport: Replaces the engine in sync calls, for tests.
        async_transport: Replaces the engine in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        TypeError: A default is no option of ``generate``.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        self._lease = Lease(self._engine_key, self._make_engine)
        Provider.__init__(
            self,
            model or self.default_model,
            transport=transport or EngineTransport(self._lease),
            async_transport=async_transport,
            **defaults,
        )
        self.base_url = f"local://{self.provider}/v1"
        self.api_key = None
        self._endpoint = Endpoint(self.provider, self.base_url)

    @property
    def openai_endpoints(self) -> tuple[Endpoint, ...]:
        return ()  # its address is a name within this process

    @abstractmethod
    def _make_engine(self) -> Engine:
        """The engine for this provider's model and settings, not loaded."""

    @abstractmethod
    def _engine_key(self) -> Hashable:
        """Providers whose keys are equal share an engine: the model and all settings that decide how it is loaded."""

    def _shape(self, draft: Draft) -> None:
        """Writes the constraint as engines read it."""
        constraint = draft.request.constraint
        if constraint is not None:
            value = {} if constraint.value is True else constraint.value
            draft.fields["structured_outputs"] = {constraint.kind: value}
            draft.spelling = f"structured_outputs.{constraint.kind}"

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        job = yield from super()._plan_job(request, stream=stream)
        if request.check_length:
            yield from self._plan_check_length(job)
        return job

    def _plan_check_length(self, job: Job) -> Plan[None]:
        found = yield from self._plan_counted(job)
        wanted = job.request.max_output_tokens or 1
        if found.max_model_len and found.count + wanted > found.max_model_len:
            raise ContextLengthError(
                f"{self.provider}: the request doesn't fit into the model's context",
                provider=self.provider,
                model=job.model,
                url=self.base_url,
                why=f"the prompt has {found.count} tokens, {wanted} are wanted for the answer, "
                f"and the context holds {found.max_model_len}",
                hint="shorten the prompt, or lower max_output_tokens",
            )

    def count_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """The tokens of the prompt that ``generate`` would make with these options, chat template and all.

        Raises:
            ProviderError: The model can't be loaded, or the request is refused.
        """
        return self._run(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    async def acount_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """Like ``count_tokens``."""
        return await self._arun(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, as the model reads it, without a chat template.

        Raises:
            ProviderError: The model can't be loaded.
        """
        return self._run(self._plan_tokenize(text))

    async def atokenize(self, text: str) -> list[int]:
        """Like ``tokenize``."""
        return await self._arun(self._plan_tokenize(text))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens.

        Raises:
            ProviderError: The model can't be loaded, or has no such tokens.
        """
        return self._run(self._plan_detokenize(tokens))

    async def adetokenize(self, tokens: Sequence[int]) -> str:
        """Like ``detokenize``."""
        return await self._arun(self._plan_detokenize(tokens))

    def _plan_count(self, request: GenerateRequest) -> Plan[int]:
        job = yield from self._plan_job(replace(request, check_length=False), stream=False)
        return (yield from self._plan_counted(job)).count

    def _plan_counted(self, job: Job) -> Plan[TokenCount]:
        return self._plan_asked(f"{self._endpoint.root}/tokenize", job.body(stream=False), read_count)

    def _plan_tokenize(self, text: str) -> Plan[list[int]]:
        body = {"model": (yield from self._plan_model(None)), "prompt": text}
        return (yield from self._plan_asked(f"{self._endpoint.root}/tokenize", body, read_count)).tokens

    def _plan_detokenize(self, tokens: Sequence[int]) -> Plan[str]:
        body = {"model": (yield from self._plan_model(None)), "tokens": list(tokens)}
        return (yield from self._plan_asked(f"{self._endpoint.root}/detokenize", body, read_text))

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        if support(self.engine or self.provider, Capability.EMBEDDINGS) is Support.UNSUPPORTED:
            raise refusal(self.provider, Capability.EMBEDDINGS)
        body = {"model": (yield from self._plan_model(model)), "input": texts}
        vectors, _ = yield from self._plan_asked(f"{self.base_url}/embeddings", body, read_embeddings)
        return vectors

    def _plan_asked(self, url: str, body: Mapping[str, Any], reader: Callable[[bytes], T]) -> Plan[T]:
        call = self._endpoint.post(url, body)
        answer = yield from checked(self._endpoint, call, model=str(body["model"]))
        return exchange.read(reader, self._endpoint, call, answer, model=str(body["model"]))

    def _plan_wait(self, seconds: float) -> Plan[None]:
        """Loads the model; waiting for it is all that there is to be ready for."""
        limits = Timeouts(first_byte=None, idle=None, total=seconds)
        try:
            yield from checked(self._endpoint, self._endpoint.get(f"{self._endpoint.root}/ready", timeouts=limits))
        except RequestTimeoutError as error:
            raise ServerNotReadyError(
                f"the model was not loaded within {seconds:g} s", provider=self.provider, url=self.base_url
            ) from error

    def close(self) -> None:
        """Frees the memory of the model, unless another provider uses it. The provider stays usable."""
        super().close()
        self._lease.release()

    unload = close

    @property
    def _async(self) -> AsyncDriver:
        if self._async_transport is None:
            from .async_transport import AsyncEngineTransport

            self._async_transport = AsyncEngineTransport(self._lease)
        return super()._async
