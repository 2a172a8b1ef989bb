"""The vLLM provider: plans for one server, put together from dialect, guided decoding and the OpenAI protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from msgspec.structs import replace

from ...errors import ConstraintViolationError, InvalidRequestError, ModelNotFoundError, TruncatedOutputError
from ...settings import resolve
from ...types import GenerateRequest, GenerateResponse, ModelInfo
from ...vllm_facts import hazard_in
from ...wire.call import Plan, StreamPlan
from ...wire.openai import request_body
from .. import openai_api
from ..base import Provider
from ..endpoint import Endpoint, base_url_of
from ..openai_api import Job
from ..request import GenerateDefaults
from . import server
from .dialect import Dialect, Surface, unknown_fields
from .guided import lift, write

if TYPE_CHECKING:
    from collections.abc import Generator

    from ...transport import AsyncTransport, Transport

T = TypeVar("T")

UNIVERSAL_FIELDS: Final = frozenset(
    {
        "model", "messages", "prompt", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "seed",
        "stop", "n", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "presence_penalty",
        "frequency_penalty", "repetition_penalty", "response_format",
    }
)  # fmt: skip
"""Fields in the schemas of all known versions: a request with no others needs no negotiation."""


class VLLMProvider(Provider):
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

    def server_version(self) -> str | None:
        """The server's version as it says it; ``None`` if it hides it."""
        return self._run(server.learn(self._endpoint)).version

    async def aserver_version(self) -> str | None:
        """Like ``server_version``."""
        return (await self._arun(server.learn(self._endpoint))).version

    def wait_until_ready(self, seconds: float) -> None:
        """Waits for a server that is still starting.

        Raises:
            ServerNotReadyError: It was not ready within the time.
        """
        self._run(server.wait_until_ready(self._endpoint, seconds))

    async def await_until_ready(self, seconds: float) -> None:
        """Like ``wait_until_ready``."""
        await self._arun(server.wait_until_ready(self._endpoint, seconds))

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
        job = yield from self._plan_job(request)
        try:
            return (yield from self._explained(openai_api.complete(job), job))
        except TruncatedOutputError:
            raise
        except ConstraintViolationError:
            # Another server may have taken this address since it was asked: ask again, and repeat only if so.
            server.forget(self._endpoint)
            again = yield from self._plan_job(request)
            if again.spelling == job.spelling:
                raise
            return (yield from self._explained(openai_api.complete(again), again))

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        job = yield from self._plan_job(request)
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

    def _plan_job(self, request: GenerateRequest) -> Plan[Job]:
        """Decides everything about a request; asks the server only where it matters."""
        lifted, extra = lift(request.extra_body)
        if lifted is not None:
            if request.constraint is not None:
                raise self._unsupported("two constraints in one request", why="one in extra_body, one as an option")
            request = replace(request, constraint=lifted)
        request = replace(request, extra_body=extra)
        model = yield from self._plan_model(request.model)
        surface: Surface = "chat" if request.raw_prompt is None else "completions"
        body = request_body(request, model, stream=False)
        if request.constraint is None and UNIVERSAL_FIELDS.issuperset(body):
            return Job(self._endpoint, request, model)
        dialect = yield from server.learn(self._endpoint)
        self._check_fields(dialect, surface, request, body)
        metadata = {"server_version": dialect.version, **({"note": dialect.note} if dialect.note else {})}
        if request.constraint is None:
            return Job(self._endpoint, request, model, metadata=metadata)
        written = write(request.constraint, surface, dialect)
        if written is None:
            raise self._unsupported(
                f"guided_{request.constraint.kind}",
                version=dialect.version,
                why="its request schema lists neither structured_outputs nor guided_*",
                alternatives=["guided_json on chats, which goes as response_format", "a vLLM server"],
            )
        hazard = hazard_in(dialect.number, f"/v1/{surface}", {**body, **written.fields})
        if hazard is not None:
            raise self._unsupported(
                hazard.name, version=dialect.version, why=hazard.effect, alternatives=[hazard.instead]
            )
        return Job(self._endpoint, request, model, written.fields, written.spelling, metadata)

    def _check_fields(self, dialect: Dialect, surface: Surface, request: GenerateRequest, body: dict[str, Any]) -> None:
        """Refuses fields that this server would ignore in silence."""
        if request.allow_unknown:
            return
        unknown = unknown_fields(dialect, surface, body)
        if unknown is None:
            unchecked = sorted(body.keys() - UNIVERSAL_FIELDS)
            if unchecked:
                raise self._unsupported(
                    ", ".join(unchecked),
                    version=dialect.version,
                    why="the server hides its request schema, so it can't be known whether it would obey them",
                    alternatives=["allow_unknown=True sends them all the same"],
                )
        elif unknown:
            guided = [name for name in unknown if name.startswith(("guided_", "structured_"))]
            raise self._unsupported(
                ", ".join(unknown),
                version=dialect.version,
                why="the server's request schema doesn't list it: it would answer 200 and ignore it",
                alternatives=[
                    f"pass {guided[0]}=... to generate(), which is negotiated" if guided else "leave it out",
                    "allow_unknown=True sends it all the same",
                ],
            )

    def _explained(self, plan: Generator[Any, Any, T], job: Job | None = None) -> Generator[Any, Any, T]:
        """Runs a plan and adds to its errors what only this server can say."""
        try:
            return (yield from plan)
        except ModelNotFoundError as error:
            raise (yield from server.explain_missing(self._endpoint, error)) from error.__cause__
        except InvalidRequestError as error:
            if job is None:
                raise
            raise (
                yield from server.explain_refusal(self._endpoint, error, job.request, job.model)
            ) from error.__cause__
