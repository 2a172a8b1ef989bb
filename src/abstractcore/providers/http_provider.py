"""A backend behind one HTTP address, in any protocol: the plans that all of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Unpack

from ..errors import AuthenticationError, ModelNotFoundError, ProviderError
from ..settings import TABLE, resolve
from ..transport.retry import RetryPolicy
from ..types import GenerateRequest, GenerateResponse, ModelInfo
from ..wire.call import Plan, StreamPlan
from ..wire.openai_protocol import OPENAI
from . import exchange, openai_api, readiness
from .base import Provider
from .deadline import in_time
from .documented import DOCUMENTED
from .draft import Draft
from .endpoint import Endpoint, base_url_of
from .exchange import Job
from .promises import check_promises, settle_knobs
from .request import timeouts_of

if TYPE_CHECKING:
    from ..transport import AsyncTransport, Transport
    from ..wire.protocol import WireProtocol
    from .request import GenerateDefaults


OPTION_FIELDS: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "seed", "stop", "n", "logprobs",
        "top_logprobs", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty",
        "response_format", "tools", "tool_choice", "parallel_tool_calls", "user",
    }
)  # fmt: skip
"""Fields of a chat that every backend with OpenAI's protocol reads."""


class HttpProvider(Provider):
    """A backend behind one HTTP address. Making one never touches the network.

    Args:
        model: The model to ask. When left out: the backend's default; at another address than the backend's own, what
            is served there.
        base_url: The server's address; else the setting ``PROVIDER.base_url``.
        api_key: The server's key; else the setting ``PROVIDER.api_key``.
        retry: When a request is sent again.
        transport: Replaces the network in sync calls, for tests.
        async_transport: Replaces the network in async calls, for tests.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: The address is none.
        TypeError: A default is no option of ``generate``.
    """

    protocol: ClassVar[WireProtocol] = OPENAI
    prefix: ClassVar[str] = "/v1"
    """What the paths of the protocol begin with."""
    ready_path: ClassVar[str] = "/v1/models"
    """Below the server's root: answers 200 when it is ready."""
    known_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of a request, beyond those that options write, that the protocol's documentation lists."""
    down_hint: ClassVar[str | None] = None
    """What to do when nothing answers."""
    at_home: bool
    """Whether the address is the backend's own, not that of another server that speaks its protocol."""

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
        setting = f"{self.provider}.base_url"
        address, key = resolve(setting, base_url), resolve(f"{self.provider}.api_key", api_key)
        self.base_url = base_url_of(address.value or "", self.prefix)
        self.at_home = self.base_url == base_url_of(TABLE[setting].default or "", self.prefix)
        own_model = self.default_model if self.at_home else None
        super().__init__(model or own_model, transport=transport, async_transport=async_transport, **defaults)
        self.api_key = key.value
        self._endpoint = Endpoint(
            self.provider,
            self.base_url,
            self._headers(key.value),
            retry=retry or RetryPolicy(),
            down_hint=self.down_hint,
            key_hint=f"the key came from {key.origin}; {self._where_keys_go()}" if key.value else self._where_keys_go(),
            prefix=self.prefix,
        )

    @property
    def openai_endpoints(self) -> tuple[Endpoint, ...]:
        return (self._endpoint,) if self.protocol is OPENAI else ()

    def _plan_known_fields(self, path: str, endpoint: Endpoint) -> Plan[frozenset[str] | None]:
        if path == "/v1/chat/completions":
            return self.known_fields | OPTION_FIELDS if self.protocol is OPENAI else None
        return DOCUMENTED.get(path)
        yield  # a plan, like the others; unreachable

    def _headers(self, key: str | None) -> Mapping[str, str]:
        """What goes with every request: the name of the caller, if there is a key."""
        return {"authorization": f"Bearer {key}"} if key else {}

    @abstractmethod
    def _shape(self, draft: Draft) -> None:
        """Writes into the draft what the protocol spells in a way of its own: constraints, tools, reasoning.

        Raises:
            UnsupportedFeatureError: A promise that this backend can't keep.
        """

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        self._check_key()
        check_promises(self.provider, request, self.engine)
        model = yield from self._plan_model(request.model)
        draft = Draft(request, model, stream, self.provider, self.protocol)
        settle_knobs(draft)
        self._shape(draft)
        self._check_fields(draft)
        return draft.job(self._endpoint)

    def _plan_job_in_time(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        return in_time(request, timeouts_of(request, self._endpoint.timeouts), self._plan_job(request, stream=stream))

    def _plan_model(self, wanted: str | None) -> Plan[str]:
        """The model to ask: the one named, else the only one that is loaded or served, remembered from then on."""
        name = wanted or self.model
        if name:
            return name
        rows = _able_to_chat((yield from self._plan_models()))
        if len(rows) != 1:
            error = ModelNotFoundError(
                f"no model was named, and {self.provider} has {'none' if not rows else 'several'}",
                provider=self.provider,
                url=self.base_url,
            )
            error.available = tuple(row.id for row in rows)
            error.hint = f"it has: {', '.join(error.available)}" if rows else self.down_hint
            raise error
        self.model = rows[0].id
        return rows[0].id

    def _check_key(self) -> None:
        if self.needs_key and self.at_home and not self.api_key:
            raise AuthenticationError(
                f"{self.provider} needs a key, and there is none",
                provider=self.provider,
                url=self.base_url,
                hint=self._where_keys_go(),
            )

    def _where_keys_go(self) -> str:
        name = f"{self.provider}.api_key"
        variable = "".join(f"set {variable}, or " for variable in TABLE[name].env[:1])
        return f"{variable}put {name} into ~/.config/abstractcore/config.toml, or pass api_key"

    def _check_fields(self, draft: Draft) -> None:
        """Refuses fields of ``extra_body`` that the protocol does not list: the server would drop them in silence."""
        if draft.request.allow_unknown:
            return
        for name in draft.request.extra_body:
            if name in self.known_fields:
                continue
            import difflib

            near = difflib.get_close_matches(name, self.known_fields, 1)
            raise draft.refuse(
                name,
                why="the protocol's documentation doesn't list this field of extra_body: it might be ignored",
                alternatives=[
                    f"pass {name}=... to generate()" if name.startswith("guided_") else "leave it out",
                    *([f"did you mean {near[0]!r}?"] if near else []),
                    "allow_unknown=True sends it all the same",
                ],
            )

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        job = yield from self._plan_job_in_time(request, stream=False)
        try:
            return (yield from exchange.complete(job))
        except ModelNotFoundError as error:
            raise (yield from self._plan_missing(error)) from error.__cause__

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        job = yield from self._plan_job_in_time(request, stream=True)
        try:
            yield from exchange.stream(job)
        except ModelNotFoundError as error:
            raise (yield from self._plan_missing(error)) from error.__cause__

    def _plan_missing(self, error: ModelNotFoundError) -> Plan[ModelNotFoundError]:
        """Adds to an error about a missing model the nearest names that there are."""
        try:
            rows = yield from self._plan_models()
        except ProviderError:
            return error
        return with_nearest(error, rows)

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        self._check_key()
        return (yield from openai_api.models(self._endpoint))

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        name = yield from self._plan_model(model)
        rows = yield from self._plan_models()
        found = next((row for row in rows if row.id == name), None)
        if found is None:
            error = ModelNotFoundError(
                f"{self.provider} has no model {name!r}", provider=self.provider, model=name, url=self.base_url
            )
            raise with_nearest(error, rows)
        return found

    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]:
        return readiness.health(self._endpoint, timeout, lambda endpoint: self._plan_models())

    def _plan_wait(self, seconds: float) -> Plan[None]:
        return readiness.wait_until_ready(self._endpoint, seconds, self.ready_path)


def _able_to_chat(rows: list[ModelInfo]) -> list[ModelInfo]:
    """The base models that answer prompts; those in memory, where the backend says which are."""
    rows = [row for row in rows if row.parent is None and "embeddings" not in row.capabilities]
    return [row for row in rows if row.loaded] or rows


def with_nearest(error: ModelNotFoundError, rows: list[ModelInfo]) -> ModelNotFoundError:
    """Adds what the backend does have, the nearest names first."""
    import difflib

    names = [row.id for row in rows]
    near = difflib.get_close_matches(error.model or "", names, 5, 0.4)
    error.available = (*near, *sorted(name for name in names if name not in near))
    shown = ", ".join(error.available[:8]) + (", ..." if len(names) > 8 else "")
    error.hint = f"it has: {shown}" if names else f"{error.provider} has no models at all"
    return error
