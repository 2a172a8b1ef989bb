"""Tokens, counted by the server that will read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, Unpack

from msgspec.structs import replace

from ...errors import UnsupportedFeatureError
from ...types import GenerateRequest
from ...wire.call import Plan
from ...wire.pooling import TokenCount, read_count, read_text
from .. import exchange
from ..endpoint import Endpoint, checked
from ..exchange import Job
from ..request import GenerateOptions, build_request
from . import server
from .methods import ServerMethods

T = TypeVar("T")
_COUNTED: Final = (
    "model", "prompt", "messages", "tools", "chat_template", "chat_template_kwargs", "add_generation_prompt",
    "continue_final_message", "add_special_tokens", "mm_processor_kwargs",
)  # fmt: skip
"""The fields of a request that decide what the prompt is."""


class TokenMethods(ServerMethods):
    """The part of the vLLM provider that asks the server's tokenizer."""

    def tokenize(self, text: str, *, model: str | None = None, special_tokens: bool = True) -> list[int]:
        """The tokens of a text, as the model reads it.

        Args:
            text: A text, without a chat template.
            model: A served model or adapter; by default the one in use.
            special_tokens: Add what the tokenizer adds to a prompt by itself, such as a beginning-of-text token.

        Raises:
            ProviderError: The server has no tokenizer endpoint, or refuses.
        """
        return self._run(self._plan_tokenize(text, model, special_tokens=special_tokens))

    async def atokenize(self, text: str, *, model: str | None = None, special_tokens: bool = True) -> list[int]:
        """Like ``tokenize``."""
        return await self._arun(self._plan_tokenize(text, model, special_tokens=special_tokens))

    def detokenize(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        """The text of tokens.

        Raises:
            ProviderError: The server has no tokenizer endpoint, or refuses.
        """
        return self._run(self._plan_detokenize(tokens, model))

    async def adetokenize(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        """Like ``detokenize``."""
        return await self._arun(self._plan_detokenize(tokens, model))

    def count_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """The tokens of the prompt that ``generate`` would send with these options: chat template, tools and all.

        It is ``usage.input_tokens`` before the fact, counted by the server; nothing is generated.

        Raises:
            UnsupportedFeatureError: The options make a promise that this server can't keep, or its tokenizer can't
                count them.
            ProviderError: The server has no tokenizer endpoint, or refuses.
        """
        return self._run(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    async def acount_tokens(self, prompt: str | None = None, **options: Unpack[GenerateOptions]) -> int:
        """Like ``count_tokens``."""
        return await self._arun(self._plan_count(build_request(prompt, {**self._defaults, **options})))

    def _plan_tokenize(self, text: str, model: str | None, *, special_tokens: bool) -> Plan[list[int]]:
        body = {"prompt": text, "add_special_tokens": special_tokens}
        return (yield from self._plan_asked("/tokenize", model, body, read_count)).tokens

    def _plan_detokenize(self, tokens: Sequence[int], model: str | None) -> Plan[str]:
        return (yield from self._plan_asked("/detokenize", model, {"tokens": list(tokens)}, read_text))

    def _plan_asked(
        self, path: str, model: str | None, body: Mapping[str, Any], reader: Callable[[bytes], T]
    ) -> Plan[T]:
        def at(endpoint: Endpoint) -> Plan[T]:
            name = yield from self._plan_model(endpoint, model)
            return (yield from self._explained(endpoint, _ask(endpoint, path, {"model": name, **body}, reader)))

        return self._replicas.run(at)

    def _plan_count(self, request: GenerateRequest) -> Plan[int]:
        def at(endpoint: Endpoint) -> Plan[int]:
            job = yield from self._plan_job(replace(request, check_length=False), endpoint, stream=False)
            return (yield from self._explained(endpoint, count(job))).count

        return self._replicas.run(at)


def count(job: Job) -> Plan[TokenCount]:
    """Has the server count the prompt of a decided request.

    Raises:
        UnsupportedFeatureError: Its tokenizer doesn't take all that makes the prompt.
        ProviderError: It has no tokenizer endpoint, or refuses.
    """
    body = counted(job.body(stream=False))
    dialect = yield from server.learn(job.endpoint)
    schema = "TokenizeChatRequest" if "messages" in body else "TokenizeCompletionRequest"
    unknown = [name for name in body if dialect.lists(schema, name) is False]
    if unknown:
        raise UnsupportedFeatureError(
            f"vllm can't count tokens with {', '.join(unknown)} (server version {dialect.version})",
            feature="count_tokens",
            provider=job.endpoint.provider,
            server_version=dialect.version,
            why=f"its {schema} doesn't list {', '.join(unknown)}: it would answer 200 with a count that is too low",
        )
    return (yield from _ask(job.endpoint, "/tokenize", body, read_count))


def counted(body: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request ``/tokenize`` needs to make the same prompt."""
    return {name: body[name] for name in _COUNTED if name in body}


def check_length(job: Job) -> Plan[None]:
    """Raises if the prompt and the answer's limit don't fit into the model, before anything is generated.

    Raises:
        ContextLengthError: They don't.
    """
    found = yield from count(job)
    wanted = job.request.max_output_tokens or 1
    if found.count + wanted > found.max_model_len:
        raise server.too_long(job.endpoint, job.model, found, wanted)


def _ask(endpoint: Endpoint, path: str, body: Mapping[str, Any], reader: Callable[[bytes], T]) -> Plan[T]:
    call = endpoint.post(endpoint.root + path, body)
    answer = yield from checked(endpoint, call, model=str(body["model"]))
    return exchange.read(reader, endpoint, call, answer, model=str(body["model"]))
