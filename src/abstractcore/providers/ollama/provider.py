"""The Ollama provider: its own protocol, and what has to be watched on a server that says 200 to nearly everything.

It drops constraints that it can't read, options that it does not know and messages that do not fit, each in silence.
So constraints are compiled and proved here, options are held to a list, and the server is told to refuse what is too
long; where it is too old to be told, the counts of its answer are held against the context it has loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from msgspec.structs import replace

from ...capability import Capability
from ...errors import (
    ConnectionFailedError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RequestTimeoutError,
)
from ...settings import resolve
from ...transport.retry import RetryPolicy
from ...types import GenerateRequest, GenerateResponse, ModelInfo
from ...wire import ollama as wire
from ...wire.call import Plan, StreamPlan
from ...wire.ollama_protocol import OLLAMA
from ...wire.openai import Completion, encode
from .. import readiness
from ..endpoint import checked
from ..exchange import Job, read
from ..http_provider import HttpProvider, with_nearest
from ..promises import KnobWarning, refusal
from .address import address_of
from .refusals import as_too_long, as_wrong_option, with_pull
from .request import check_fields, shape

if TYPE_CHECKING:
    from ...transport import AsyncTransport, Transport
    from ..draft import Draft
    from ..request import GenerateDefaults

T = TypeVar("T")

_REFUSES_SINCE: Final = (0, 12, 6)
"""The release that knows ``truncate`` and ``shift``."""
_SMALLEST_WINDOW: Final = 2048
"""No release loads a model with a shorter context, unless it is told to."""


class OllamaProvider(HttpProvider):
    """An Ollama server, by its own protocol. Making one never touches the network.

    Args:
        model: A model that it has, with or without ``:latest``; the only one it has when left out.
        base_url: The server's address; else ``OLLAMA_BASE_URL``, else ``OLLAMA_HOST``, else
            ``http://localhost:11434``.
        api_key: For servers behind a proxy that asks for one; else ``OLLAMA_API_KEY``.
        retry: When a request is sent again.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``; ``extra_body`` takes ``keep_alive`` and all options of a model, such
            as ``num_ctx``.

    Raises:
        ConfigurationError: The address is none.
        TypeError: A default is no option of ``generate``.
    """

    provider = "ollama"
    protocol = OLLAMA
    prefix = ""
    ready_path = "/api/version"
    known_fields = frozenset({"keep_alive", "options", "shift", "truncate", *wire.OPTIONS})
    down_hint = "ollama serve    (or start its app)"

    def __init__(
        self,
        model: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
        async_transport: AsyncTransport | None = None,
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        super().__init__(
            model,
            base_url=address_of(resolve("ollama.base_url", base_url).value or ""),
            api_key=api_key,
            retry=retry,
            transport=transport,
            async_transport=async_transport,
            **defaults,
        )
        self._version: str | None = None

    def server_version(self) -> str:
        """The server's version."""
        return self._run(self._plan_version())

    async def aserver_version(self) -> str:
        """Like ``server_version``."""
        return await self._arun(self._plan_version())

    def unload(self) -> None:
        """Has the server take the model out of its memory, and closes idle connections."""
        self._run(self._plan_unload())
        self.close()

    async def aunload(self) -> None:
        """Like ``unload``."""
        await self._arun(self._plan_unload())
        self.close()

    def _shape(self, draft: Draft) -> None:
        shape(draft)

    def _check_fields(self, draft: Draft) -> None:
        check_fields(draft)
        super()._check_fields(draft)

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        job = yield from super()._plan_job(request, stream=stream)
        job = replace(job, inspect=partial(self._plan_inspect, job))
        body = job.body(stream=stream)
        if body.get("truncate") or len(encode(body)) <= _SMALLEST_WINDOW or (yield from self._plan_refuses()):
            return job  # what has fewer bytes than there are tokens fits
        told = f"ollama {self._version or '(it hides its version)'} may leave out what does not fit, in silence"
        warnings.warn(f"{told}; from 0.12.6 on it refuses", KnobWarning, stacklevel=2)
        return replace(job, metadata={**job.metadata, "knobs": {**job.metadata.get("knobs", {}), "truncate": told}})

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        return (yield from self._explained(request, super()._plan_generate(request)))

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        yield from self._explained(request, super()._plan_stream(request))

    def _explained(self, request: GenerateRequest, plan: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Runs a plan and says of its errors what the status alone does not."""
        try:
            return (yield from plan)
        except ContextLengthError:
            raise
        except InvalidRequestError as error:
            raise (yield from self._plan_refusal(request, error)) from error.__cause__
        except ProviderAPIError as error:
            raise as_wrong_option(request, error) from error.__cause__

    def _plan_refusal(self, request: GenerateRequest, error: InvalidRequestError) -> Plan[Exception]:
        """The reason for a refusal: too long, or something that the model can't do by its own description."""
        too_long = as_too_long(error)
        if too_long is not None:
            return too_long
        wanted = {
            Capability.TOOLS: ("tools", bool(request.tools)),
            Capability.THINKING: ("thinking", request.thinking is not None),
            Capability.IMAGES: ("vision", any(isinstance(m.get("content"), list) for m in request.messages)),
            Capability.CHAT: ("completion", True),
        }
        try:
            shown = yield from self._plan_show(error.model or "")
        except ProviderError:
            return error
        for capability, (name, is_wanted) in wanted.items():
            if is_wanted and shown.capabilities is not None and name not in shown.capabilities:
                refused = refusal(self.provider, capability, why=error.server_message)
                refused.message = f"{refused.message} with {error.model}"
                refused.args = (refused.message,)
                refused.hint = f"a model that lists {name} among its capabilities in: ollama show MODEL"
                return refused
        return error

    def _plan_missing(self, error: ModelNotFoundError) -> Plan[ModelNotFoundError]:
        found = yield from super()._plan_missing(error)
        return with_pull(found)

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        return (yield from self._plan_get("/api/tags", wire.read_models))

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        """A model with the context that it has now, or was trained with if it is not loaded."""
        name = yield from self._plan_model(model)
        rows = yield from self._plan_models()
        row = next((row for row in rows if wire.full_name(row.id) == wire.full_name(name)), None)
        if row is None:
            error = ModelNotFoundError(f"ollama has no model {name!r}", provider=self.provider, model=name)
            raise with_pull(with_nearest(error, rows))
        windows = yield from self._plan_get("/api/ps", wire.read_windows)
        length = windows.get(wire.full_name(row.id)) or (yield from self._plan_show(row.id)).context_length
        return ModelInfo(id=row.id, context_length=length or row.context_length)

    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]:
        return readiness.health(self._endpoint, timeout, lambda endpoint: self._plan_models(), self.ready_path)

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        if not texts:
            return []
        model = yield from self._plan_model(model)
        call = self._endpoint.post(f"{self.base_url}/api/embed", {"model": model, "input": texts, "truncate": False})
        try:
            answer = yield from checked(self._endpoint, call, model=model)
        except ModelNotFoundError as error:
            raise (yield from self._plan_missing(error)) from error.__cause__
        except InvalidRequestError as error:
            raise as_too_long(error) or error from error.__cause__
        except ProviderAPIError as error:
            if error.status != 501:
                raise
            why = error.server_message
            raise refusal(self.provider, Capability.EMBEDDINGS, why=f"{model} makes none: {why}") from error
        return read(wire.read_embeddings, self._endpoint, call, answer, model=model, protocol=self.protocol.name)

    def _plan_unload(self) -> Plan[None]:
        model = yield from self._plan_model(None)
        body = {"model": model, "messages": [], "keep_alive": 0}
        yield from checked(self._endpoint, self._endpoint.post(f"{self.base_url}/api/chat", body), model=model)

    def _plan_show(self, model: str) -> Plan[wire.Shown]:
        call = self._endpoint.post(f"{self.base_url}/api/show", {"model": model})
        answer = yield from checked(self._endpoint, call, model=model)
        return read(wire.read_shown, self._endpoint, call, answer, protocol=self.protocol.name)

    def _plan_version(self) -> Plan[str]:
        if self._version is None:
            self._version = yield from self._plan_get("/api/version", wire.read_version)
        return self._version

    def _plan_get(self, path: str, reader: Callable[[bytes], T]) -> Plan[T]:
        call = self._endpoint.get(f"{self.base_url}{path}")
        answer = yield from checked(self._endpoint, call)
        return read(reader, self._endpoint, call, answer, protocol=self.protocol.name)

    def _plan_inspect(self, job: Job, completion: Completion) -> Plan[None]:
        """Refuses an answer that was made of a shortened prompt, as far as the counts show it.

        Raises:
            ContextLengthError: It was.
        """
        body, usage = job.body(stream=False), completion.usage
        if usage is None or body.get("truncate") or body.get("shift"):
            return
        window = body.get("options", {}).get("num_ctx")
        if window is None and usage.total_tokens >= _SMALLEST_WINDOW:
            window = (yield from self._plan_windows()).get(wire.full_name(job.model))
        if window is None or usage.total_tokens < window:
            return
        shifted = usage.total_tokens > window
        if not shifted and (usage.input_tokens < window - 1 or (yield from self._plan_refuses())):
            return
        raise ContextLengthError(
            f"ollama: the answer is not one to the whole prompt, which does not fit into {job.model}'s context",
            provider=self.provider,
            model=job.model,
            url=self.base_url,
            why=f"the context has {window} tokens; the server counts {usage.input_tokens} of prompt and "
            f"{usage.output_tokens} of answer" + (", so it dropped what came before" if shifted else ""),
            hint="extra_body={'num_ctx': ...} for a longer context, or extra_body={'truncate': True, 'shift': True}",
        )

    def _plan_windows(self) -> Plan[dict[str, int]]:
        try:
            return (yield from self._plan_get("/api/ps", wire.read_windows))
        except ProviderError:  # a proxy without it: the answer is there, and nothing speaks against it
            return {}

    def _plan_refuses(self) -> Plan[bool]:
        """Whether the server is new enough to refuse what is too long."""
        try:
            version = yield from self._plan_version()
        except (ConnectionFailedError, RequestTimeoutError):
            raise
        except ProviderError:  # a proxy that hides it
            return False
        numbers = [int(part) for part in version.partition("-")[0].split(".") if part.isdigit()]
        return tuple(numbers) >= _REFUSES_SINCE
