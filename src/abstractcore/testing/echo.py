"""A provider without a model: it answers from a script, or with what it was told, and keeps every promise.

Requests go through the same checks, and answers through the same proofs, as those of a real backend: a constraint that
the script breaks raises, a tool call that breaks its schema too, and so does an option that the backend whose place is
taken would refuse.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, Unpack

from msgspec.structs import replace

from ..capability import CAPABILITIES, Capability, Support
from ..constraint import JsonSchema
from ..errors import (
    ConfigurationError,
    ModelNotFoundError,
    ProviderError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from ..providers.base import Provider
from ..providers.draft import Draft
from ..providers.endpoint import Endpoint
from ..providers.exchange import Job, respond
from ..providers.promises import check_promises, settle_knobs
from ..providers.registry import get_provider_registry
from ..providers.request import GenerateDefaults
from ..tools import call_schema, read_emulated
from ..types import Alternative, GenerateRequest, GenerateResponse, ModelInfo, TokenLogprob, ToolCall, Usage
from ..wire.call import Emit, Plan, StreamPlan
from ..wire.openai import Completion
from .fake_server import FakeServer
from .specimen import specimen

Scripted: TypeAlias = str | ToolCall | Sequence[ToolCall] | GenerateResponse | ProviderError
"""One answer: a text, calls of tools, both and more in a response, or the error of a backend that fails. A stream gives
the ``partial`` text of a ``StreamInterruptedError`` before it breaks."""
Script: TypeAlias = Scripted | Callable[[GenerateRequest], Scripted]
"""An answer, or what decides it by the request."""
_PIECE: Final = re.compile(r"\s*\S+|\s+$")
_DIMENSIONS: Final = 8
_NEED_A_MODEL: Final = frozenset(
    {Capability.BEAM_SEARCH, Capability.BEST_OF, Capability.COUNT_TOKENS, Capability.MULTI_LORA, Capability.RERANKING}
)


class EchoProvider(Provider):
    """Answers without a model: from a script, else with the user's last words.

    Without a script a constrained answer is made from its constraint, and a call that is due from the tool's schema.
    A token is a word with the white space before it; ``max_output_tokens`` and ``stop`` cut an answer as a server does.

    Args:
        model: Any name.
        answers: What is answered, one after the other; the last one stays. A single answer, or a function of the
            request, may stand without a list.
        like: The backend whose place it takes: what that one can't do is refused.
        defaults: Default options of ``generate``.

    Raises:
        ConfigurationError: There is no backend of the name ``like``.
        TypeError: A default is no option of ``generate``.
    """

    provider = "echo"

    def __init__(
        self,
        model: str | None = "echo",
        answers: Script | Iterable[Script] = (),
        *,
        like: str = "vllm",
        **defaults: Unpack[GenerateDefaults],
    ) -> None:
        super().__init__(model or "echo", **FakeServer({}).transports, **defaults)
        if like not in CAPABILITIES:
            raise ConfigurationError(f"there is no backend {like!r}", why=f"there are: {', '.join(CAPABILITIES)}")
        self.like = like
        self._answers = _listed(answers)
        self._endpoint = Endpoint(self.provider, "echo:")
        self.requests: list[GenerateRequest] = []
        """What was asked, in order."""

    def capabilities(self) -> dict[Capability, Support]:
        """Those of the backend whose place it takes, but for what needs a model."""
        known = CAPABILITIES[self.like]
        return {
            capability: Support.UNSUPPORTED
            if capability in _NEED_A_MODEL
            else known.get(capability, Support.UNSUPPORTED)
            for capability in Capability
        }

    def _plan_generate(self, request: GenerateRequest) -> Plan[GenerateResponse]:
        started = time.perf_counter()
        return respond(*self._answered(request), started, None)
        yield  # a plan, like the others; unreachable

    def _plan_stream(self, request: GenerateRequest) -> StreamPlan:
        started = time.perf_counter()
        try:
            job, completion = self._answered(request)
        except StreamInterruptedError as error:
            yield Emit([GenerateResponse(content=piece, model=self.model) for piece in pieces_of(error.partial)])
            raise
        for answer in completion.answers:
            common: dict[str, Any] = {"model": completion.model, "index": answer.index}
            if answer.reasoning:
                yield Emit([GenerateResponse(reasoning=answer.reasoning, **common)])
            yield Emit([GenerateResponse(content=piece, **common) for piece in pieces_of(answer.content)])
        last = respond(job, completion, started, time.perf_counter())
        last.content, last.reasoning, last.logprobs = "", None, None
        yield Emit([last])

    def _answered(self, request: GenerateRequest) -> tuple[Job, Completion]:
        """What a server would send: not proved yet."""
        check_promises(self.like, request)
        if request.beam is not None or (request.best_of or 1) > 1:
            feature = str(Capability.BEAM_SEARCH if request.beam is not None else Capability.BEST_OF)
            why = "it has no likelihoods to compare"
            raise UnsupportedFeatureError(f"echo can't do {feature}", feature=feature, provider=self.provider, why=why)
        self.requests.append(request)
        draft = Draft(request, request.model or self.model or "echo", provider=self.like)
        settle_knobs(draft)
        draft.spelling = "echo"
        answers = [self._alternative(request, index) for index in range(request.n)]
        words = sum(len(pieces_of(text)) for text in _texts(request))
        told = sum(_tokens(answer) for answer in answers)
        completion = Completion(answers, draft.model, Usage(words, told), f"echo-{len(self.requests)}")
        return draft.job(self._endpoint), completion

    def _alternative(self, request: GenerateRequest, index: int) -> Alternative:
        scripted = self._next(request)
        if isinstance(scripted, ProviderError):
            raise scripted
        answer = _as_alternative(scripted, index)
        _cut(answer, request)
        if request.logprobs is not None:
            answer.logprobs = [TokenLogprob(piece, 0.0) for piece in pieces_of(answer.content)]
            answer.score = 0.0
        return answer

    def _next(self, request: GenerateRequest) -> Scripted:
        if not self._answers:
            return _unscripted(request)
        script = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return script(request) if callable(script) else script

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        return [ModelInfo(id=self.model or "echo")]
        yield  # a plan, like the others; unreachable

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        (known,) = yield from self._plan_models()
        if model not in (None, known.id):
            error = ModelNotFoundError(f"echo has no model {model!r}", provider=self.provider, model=model)
            error.available = (known.id,)
            raise error
        return known

    def _plan_health(self, timeout: float) -> Plan[dict[str, Any]]:
        rows = yield from self._plan_models()
        report = {"provider": self.provider, "models": [row.id for row in rows], "model_count": len(rows)}
        return {"status": True, "error": None, **report, "latency_ms": 0.0}

    def _plan_wait(self, seconds: float) -> Plan[None]:
        return
        yield  # a plan, like the others; unreachable

    def _plan_embed(self, texts: list[str], model: str | None = None) -> Plan[list[list[float]]]:
        return [_embedding(text) for text in texts]
        yield  # a plan, like the others; unreachable


def pieces_of(text: str) -> list[str]:
    """A text in its tokens; together they are the text."""
    return _PIECE.findall(text)


def _listed(answers: Script | Iterable[Script]) -> list[Script]:
    if isinstance(answers, str | ToolCall | GenerateResponse | ProviderError) or callable(answers):
        return [answers]
    return list(answers)


def _unscripted(request: GenerateRequest) -> Scripted:
    if request.constraint is not None:
        return specimen(request.constraint)
    if request.tools and request.tool_choice not in ("auto", "none"):
        wanted = [known for known in request.tools if request.tool_choice in ("required", known.name)]
        return read_emulated(specimen(JsonSchema(call_schema(wanted[:1], several=False))), "echo") or ""
    users = [message for message in request.messages if message.get("role") == "user"]
    return request.raw_prompt or (_text_of(users[-1]) if users else "")


def _as_alternative(scripted: str | ToolCall | Sequence[ToolCall] | GenerateResponse, index: int) -> Alternative:
    if isinstance(scripted, str):
        scripted = GenerateResponse(content=scripted)
    elif isinstance(scripted, ToolCall):
        scripted = GenerateResponse(tool_calls=[scripted])
    elif not isinstance(scripted, GenerateResponse):
        scripted = GenerateResponse(tool_calls=list(scripted))
    calls = [
        call if call.call_id else replace(call, call_id=f"call-{at}") for at, call in enumerate(scripted.tool_calls)
    ]
    return Alternative(
        index=index,
        content=scripted.content,
        reasoning=scripted.reasoning,
        tool_calls=calls,
        finish_reason=scripted.finish_reason or ("tool_calls" if calls else "stop"),
    )


def _cut(answer: Alternative, request: GenerateRequest) -> None:
    """Ends the answer where a server would."""
    stops = request.sampling.get("stop") or ()
    ends = [answer.content.find(stop) for stop in ([stops] if isinstance(stops, str) else stops)]
    found = [end for end in ends if end >= 0]
    if found:
        answer.content, answer.finish_reason = answer.content[: min(found)], "stop"
    pieces, limit = pieces_of(answer.content), request.max_output_tokens
    if limit is not None and len(pieces) > limit:
        answer.content, answer.finish_reason, answer.tool_calls = "".join(pieces[:limit]), "length", []


def _tokens(answer: Alternative) -> int:
    return len(pieces_of(answer.content)) + len(pieces_of(answer.reasoning or "")) + len(answer.tool_calls)


def _texts(request: GenerateRequest) -> list[str]:
    return [request.raw_prompt or "", *map(_text_of, request.messages)]


def _text_of(message: Any) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _embedding(text: str) -> list[float]:
    """A unit vector that depends on nothing but the text."""
    from hashlib import blake2b

    numbers = [byte - 127.5 for byte in blake2b(text.encode(), digest_size=_DIMENSIONS).digest()]
    length = sum(number * number for number in numbers) ** 0.5
    return [number / length for number in numbers]


@contextmanager
def substituted(llm: Provider) -> Iterator[list[tuple[str, str | None]]]:
    """Has ``create_llm`` give this provider, whatever it is asked for, while the block runs.

    For code that makes its provider itself.

    Args:
        llm: What is given.

    Yields:
        What was asked for: provider and model, in order.
    """
    from unittest.mock import patch

    asked: list[tuple[str, str | None]] = []

    def give(name: str, model: str | None = None, **_config: Any) -> Provider:
        asked.append((name, model))
        return llm

    with patch.object(get_provider_registry(), "create_provider_instance", give):
        yield asked
