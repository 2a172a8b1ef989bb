"""The Anthropic provider: its cloud, and any server that speaks its protocol, such as vLLM on ``/v1/messages``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Unpack
from urllib.parse import quote

from msgspec.structs import replace

from ..errors import ConfigurationError, ContextLengthError, InvalidRequestError, ModelNotFoundError, ProviderError
from ..types import GenerateRequest, GenerateResponse, ModelInfo
from ..wire.anthropic import (
    COUNTED,
    DEFAULT_LIMIT,
    LEAST_BUDGET,
    VERSION,
    read_count,
    read_model,
    read_models,
    to_tool_choice,
    to_tools,
)
from ..wire.anthropic_protocol import ANTHROPIC
from ..wire.call import Plan, StreamPlan
from ..wire.closed_schema import closed
from ..wire.openai import Completion
from .draft import Draft
from .emulation import as_schema, ask_by_schema
from .endpoint import Endpoint, checked
from .exchange import Job, read
from .http_provider import HttpProvider
from .request import GenerateOptions, build_request

_ROOM: Final = "room"
"""The option of a request that holds its length limit, where that was measured and not given."""


class AnthropicProvider(HttpProvider):
    """Anthropic's cloud, or another server that speaks its protocol.

    The protocol demands a length limit: without ``max_output_tokens`` it is 4096, or half of what the model holds where
    that is less; ``metadata["max_output_tokens"]`` says so.
    """

    provider = "anthropic"
    protocol = ANTHROPIC
    default_model = "claude-haiku-5-5"
    needs_key = True
    known_fields = frozenset(
        {
            "cache_control", "container", "diagnostics", "inference_geo", "metadata", "output_config", "service_tier",
            "speed", "stop_sequences", "system", "thinking", "user_profile_id",
        }
    )  # fmt: skip
    down_hint = "curl https://api.anthropic.com    (another server: set ANTHROPIC_BASE_URL, or pass base_url)"

    def endpoints_at(self, path: str) -> tuple[Endpoint, ...]:
        return (self._endpoint,) if path.startswith("/v1/messages") else ()

    def _headers(self, key: str | None) -> Mapping[str, str]:
        headers = {"anthropic-version": VERSION}
        if key:
            headers["x-api-key"] = key
            if not self.at_home:  # vLLM looks for the key there
                headers["authorization"] = f"Bearer {key}"
        return headers

    def _shape(self, draft: Draft) -> None:
        _shape_limit(draft, self._contexts.get(draft.model))
        _shape_thinking(draft)
        _shape_constraint(draft)
        _shape_tools(draft)

    @cached_property
    def _contexts(self) -> dict[str, int]:
        """How many tokens each model holds, as far as that had to be found out."""
        return {}

    def count_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """The tokens of the prompt that ``generate`` would send with these options, counted by the server.

        Raises:
            ContextLengthError: The server refuses to count so many.
            ProviderError: The server can't count, or refuses.
        """
        return self._run(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    async def acount_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """Like ``count_tokens``."""
        return await self._arun(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        try:
            return (yield from super()._plan_generate(request))
        except InvalidRequestError as error:
            again = yield from self._plan_fitting(request, error)
        return (yield from super()._plan_generate(again))

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        try:
            yield from super()._plan_stream(request)
        except InvalidRequestError as error:
            again = yield from self._plan_fitting(request, error)
        else:
            return
        yield from super()._plan_stream(again)

    def _plan_job(self, request: GenerateRequest, *, stream: bool) -> Plan[Job]:
        job = yield from super()._plan_job(request, stream=stream)
        if request.check_length:
            count, context = (yield from self._plan_asked_count(job)), (yield from self._plan_context(job.model))
            if context is None:
                raise Draft(request, job.model, provider=self.provider).refuse(
                    "check_length", why=f"the server doesn't say how many tokens {job.model} holds"
                )
            wanted = request.max_output_tokens or 1
            if count + wanted > context:
                raise _too_long(job, context, count, wanted)
        return job

    def _plan_fitting(self, request: GenerateRequest, error: InvalidRequestError) -> Plan[GenerateRequest]:
        """Finds out whether a request was refused for its length.

        Returns:
            If only the limit was too high, and nobody had given it: the request with a limit that fits.

        Raises:
            ContextLengthError: It doesn't fit.
            InvalidRequestError: It was refused for another reason.
        """
        if isinstance(error, ContextLengthError) or _ROOM in request.options:
            raise error
        job = yield from self._plan_job(replace(request, check_length=False), stream=False)
        wanted = job.request.max_output_tokens or 1
        try:
            count = yield from self._plan_asked_count(job)
            context = yield from self._plan_context(job.model)
        except ContextLengthError:
            raise
        except ProviderError:
            raise error from error.__cause__
        if context is None or count + wanted <= context:
            raise error
        room = context - count
        if request.max_output_tokens is None and room > 0:
            return replace(request, options={_ROOM: min(room, DEFAULT_LIMIT)})
        raise _too_long(job, context, count, wanted, error)

    def _plan_count(self, request: GenerateRequest) -> Plan[int]:
        job = yield from self._plan_job(replace(request, check_length=False), stream=False)
        return (yield from self._plan_asked_count(job))

    def _plan_asked_count(self, job: Job) -> Plan[int]:
        body = job.body(stream=False)
        counted: dict[str, Any] = {name: body[name] for name in COUNTED if name in body}
        try:
            return (yield from self._plan_counted(job, counted))
        except InvalidRequestError as error:
            # A server that can't count a long prompt refuses it: it is its length if the same prompt, cut, is counted.
            try:
                yield from self._plan_counted(job, _cut(counted))
            except ProviderError:
                raise error from error.__cause__
            context = yield from self._plan_context(job.model)
            raise _too_long(job, context, None, job.request.max_output_tokens or 1, error) from error

    def _plan_counted(self, job: Job, body: Mapping[str, Any]) -> Plan[int]:
        call = job.endpoint.post(f"{job.endpoint.base_url}/messages/count_tokens", body)
        answer = yield from checked(job.endpoint, call, model=job.model)
        return read(read_count, job.endpoint, call, answer, model=job.model, protocol=ANTHROPIC.name)

    def _plan_context(self, model: str) -> Plan[int | None]:
        """How many tokens a model holds, if the server says; asked once."""
        if model not in self._contexts:
            try:
                context = (yield from self._plan_model_info(model)).context_length
            except ProviderError:
                return None
            if context is None:
                return None
            self._contexts[model] = context
        return self._contexts[model]

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        self._check_key()
        rows: list[ModelInfo] = []
        after: str | None = None
        while True:
            query = "?limit=1000" + (f"&after_id={quote(after, safe='')}" if after else "")
            call = self._endpoint.get(f"{self._endpoint.base_url}/models{query}")
            answer = yield from checked(self._endpoint, call)
            page = read(read_models, self._endpoint, call, answer, protocol=ANTHROPIC.name)
            rows += page.rows()
            if not page.has_more or page.last_id in (None, after):
                return rows
            after = page.last_id

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        try:
            return (yield from super()._plan_model_info(model))
        except ModelNotFoundError as error:
            if not error.model:
                raise
            # Aliases are not on the list, but the cloud knows what they stand for.
            call = self._endpoint.get(f"{self._endpoint.base_url}/models/{quote(error.model, safe='')}")
            try:
                answer = yield from checked(self._endpoint, call, model=error.model)
                return read(read_model, self._endpoint, call, answer, protocol=ANTHROPIC.name)
            except ProviderError:
                raise error from None


def _shape_limit(draft: Draft, context: int | None) -> None:
    """Names a length limit, since the protocol demands one."""
    request = draft.request
    if request.max_output_tokens is not None:
        return
    budget = request.thinking if isinstance(request.thinking, int) and not isinstance(request.thinking, bool) else 0
    limit = request.options.get(_ROOM) or budget + min(DEFAULT_LIMIT, context // 2 if context else DEFAULT_LIMIT)
    draft.request = replace(request, max_output_tokens=limit)
    draft.metadata["max_output_tokens"] = f"{limit}: the protocol demands a limit, and none was given"


def _shape_thinking(draft: Draft) -> None:
    """Writes what was asked of the reasoning."""
    wanted, limit = draft.request.thinking, draft.request.max_output_tokens or DEFAULT_LIMIT
    if wanted is None:
        return
    if wanted is False:
        draft.fields["thinking"] = {"type": "disabled"}
        draft.revise.append(lambda completion: _note_reasoning(draft, completion))
    elif isinstance(wanted, str) or wanted is True:
        draft.fields["thinking"] = {"type": "adaptive"}
        if isinstance(wanted, str):
            _configure(draft, "effort", wanted)
        draft.knobs["thinking"] = "whether and how much it reasons is up to the model"
    else:
        if wanted < LEAST_BUDGET:
            raise draft.refuse(
                f"thinking={wanted}",
                why=f"the protocol's smallest budget is {LEAST_BUDGET} tokens",
                alternatives=[f"thinking={LEAST_BUDGET} or more", "thinking=False", "thinking='low'"],
            )
        if wanted >= limit:
            raise ConfigurationError(
                f"thinking={wanted} leaves nothing for the answer",
                why=f"reasoning counts toward max_output_tokens, which is {limit}",
                hint=f"give max_output_tokens={wanted + DEFAULT_LIMIT}",
            )
        draft.fields["thinking"] = {"type": "enabled", "budget_tokens": wanted}


def _note_reasoning(draft: Draft, completion: Completion) -> Completion:
    if any(answer.reasoning for answer in completion.answers):
        draft.knobs["thinking"] = "the model was told not to reason, and did so all the same"
    return completion


def _shape_constraint(draft: Draft) -> None:
    """Writes the constraint as the schema of the answer."""
    constraint = draft.request.constraint
    given = draft.request.extra_body.get("output_config") or {}
    if "format" in given:
        raise draft.refuse(
            "output_config.format in extra_body",
            why="an answer to a format that is not known here can't be proved",
            alternatives=["guided_json={...}, which is sent as output_config.format and proved"],
        )
    if constraint is None:
        return
    form = as_schema(constraint, objects_only=True)
    if form is None:
        raise draft.refuse(
            f"guided_{constraint.kind} with this value",
            why="the protocol takes JSON schemas of objects only",
            alternatives=["guided_json with an object schema"],
        )
    _configure(draft, "format", {"type": "json_schema", "schema": closed(form.schema) or form.schema})
    ask_by_schema(draft, form, "output_config.format")


def _configure(draft: Draft, name: str, value: Any) -> None:
    given = draft.request.extra_body.get("output_config") or {}
    draft.fields["output_config"] = {**given, **draft.fields.get("output_config", {}), name: value}


def _shape_tools(draft: Draft) -> None:
    """Writes the tools, and whether one must be called."""
    request = draft.request
    if not request.tools:
        return
    if request.constraint is not None and request.tool_choice != "none":
        raise draft.refuse(
            f"tools beside guided_{request.constraint.kind}",
            why="a constrained answer has no room for a call",
            alternatives=["tool_choice='none'", "run_tools(), which holds the final answer to the constraint"],
        )
    draft.fields["tools"] = to_tools(request.tools)
    draft.fields["tool_choice"] = to_tool_choice(request.tool_choice, parallel=request.parallel_tool_calls)


def _cut(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same prompt with its texts cut to a few characters."""

    def cut(part: Any, key: str = "") -> Any:
        if isinstance(part, str):
            return part[:8] if key in ("content", "system", "text") else part
        if isinstance(part, Mapping):
            return {name: cut(value, name) for name, value in part.items()}
        return [cut(item, key) for item in part] if isinstance(part, list) else part

    return {name: cut(value, name) if name in ("messages", "system") else value for name, value in body.items()}


def _too_long(
    job: Job, context: int | None, count: int | None, wanted: int, error: InvalidRequestError | None = None
) -> ContextLengthError:
    """The error for a request that does not fit into the model.

    Args:
        job: The request.
        context: What the model holds, if known.
        count: Tokens of the prompt, if the server could count them.
        wanted: Tokens of the answer.
        error: The server's refusal, if it was sent.
    """
    holds = f"{job.model} holds {context} in all" if context else f"{job.model} holds fewer"
    hint = "shorten the prompt"
    if count is not None and context is not None:
        room = context - count
        hint = f"give max_output_tokens={room} or less" if room > 0 else f"shorten the prompt by {1 - room} tokens"
    return ContextLengthError(
        f"the prompt has {count} tokens and the answer may take {wanted}, but {holds}"
        if count is not None
        else f"the prompt has more tokens than fit: {holds}",
        provider=job.endpoint.provider,
        model=job.model,
        url=error.url if error else job.endpoint.base_url,
        status=error.status if error else None,
        server_message=error.server_message if error else None,
        code=error.code if error else None,
        hint=hint,
    )
