"""A request as options of ``generate``, for all that has to be checked or spoken in another protocol. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from ...providers.vllm.guided import lift
from ..errors import GatewayError
from ..fields import CHAT
from .protocol import Wanted, decoded


class _Named(Struct):
    name: str


class _NamedTool(Struct):
    function: _Named
    type: Literal["function"] = "function"


class _JsonSchema(Struct):
    schema: dict[str, Any] | bool


class _Format(Struct):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: _JsonSchema | None = None


_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(kind)
    for name, kind in {
        "tool_choice": Literal["auto", "required", "none"] | _NamedTool | None,
        "response_format": _Format | None,
        "guided_json": dict[str, Any] | str | bool | None,
        "guided_structural_tag": dict[str, Any] | str | None,
        "guided_json_object": bool | None,
        "on_cut": Literal["raise", "trim"] | None,
        "thinking": bool | int | str | None,
        "system_prompt": str | None,
    }.items()
}
"""Types of what is not only read but acted upon, where ``types`` leaves more open."""
_PLAIN: Final = msgspec.json.Decoder()
_SAME: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
        "seed", "stop", "n", "tools", "tool_choice", "parallel_tool_calls", "use_beam_search", "best_of",
        "length_penalty", "emulate", "on_cut", "thinking", "chat_template_kwargs", "priority", "system_prompt",
    }
)  # fmt: skip
"""Fields that are options of ``generate`` under the same name."""
_UNSHOWN: Final = (
    "echo", "logprob_token_ids", "prompt_logprobs", "return_prompt_text", "return_token_ids",
    "return_tokens_as_token_ids",
)  # fmt: skip
"""Fields that add to an answer what a proved one has no place for."""


class Asked(NamedTuple):
    """A request for ``generate``."""

    prompt: str | None
    """Of a text completion."""
    options: dict[str, Any]
    include_usage: bool
    """Whether the end of a stream tells the token counts."""


def asked_of(wanted: Wanted, model: str | None) -> Asked:
    """A request as prompt and options of ``generate``.

    What ``generate`` has no option for is in ``extra_body``, where the provider holds it against what the backend
    lists.

    Args:
        wanted: The request.
        model: The backend's name of the model.

    Raises:
        GatewayError: A field has the wrong type, or asks for what a proved answer can't hold.
        InvalidConstraintError: There are several constraints, or one that does not compile.
    """
    chat = wanted.path == CHAT
    given = {name: _value(name, raw) for name, raw in wanted.fields.items()}
    include_usage = _stream_options(given.pop("stream_options", None), stream=wanted.stream)
    for name in ("model", "stream", "user"):
        given.pop(name, None)
    given = {name: value for name, value in given.items() if value is not None}
    for name in _UNSHOWN:
        if given.get(name):
            raise _unable(name, "a proved answer has no place for it", "leave it out, or what is to be proved")
    options: dict[str, Any] = {"model": model}
    if chat:
        prompt = None
        options["messages"] = given.pop("messages", None)
    else:
        prompt = _prompt(given.pop("prompt", None))
        options["raw_prompt"] = True
    total, answer = given.pop("max_tokens", None), given.pop("max_completion_tokens", None)
    options["max_output_tokens"] = total if answer is None else answer
    options["logprobs"] = _logprobs(given, chat=chat)
    _check_format(given)
    constraint, given = lift(given)
    if constraint is not None:
        options[f"guided_{constraint.kind}"] = constraint.value
    for name in _SAME & given.keys():
        options[name] = given.pop(name)
    options["extra_body"] = given
    return Asked(prompt, options, include_usage)


def _value(name: str, raw: msgspec.Raw) -> Any:
    """A field as plain data, held to its type; fields that only the backend knows are its affair."""
    if name in _DECODERS:
        decoded(name, raw, _DECODERS[name])
    return decoded(name, raw, _PLAIN)


def _stream_options(given: Any, *, stream: bool) -> bool:
    if not given:
        return False
    if not stream:
        raise GatewayError("stream_options belongs to a stream", code="invalid_value", param="stream_options")
    if given.get("continuous_usage_stats"):
        raise _unable(
            "stream_options.continuous_usage_stats",
            "a proved stream tells its usage once, when all of it is proved",
            "include_usage alone",
        )
    return bool(given.get("include_usage"))


def _prompt(given: Any) -> str:
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        return given[0]
    if isinstance(given, str):
        return given
    if given is None:
        raise GatewayError("the request has no prompt", code="missing_field", param="prompt")
    raise _unable(
        "prompt",
        "several prompts, or token ids, can be passed on to a vLLM server as they are, but not proved or translated",
        "one request for each prompt, as text",
    )


def _logprobs(given: dict[str, Any], *, chat: bool) -> int | None:
    asked, top = given.pop("logprobs", None), given.pop("top_logprobs", None)
    if not chat:
        if isinstance(asked, bool):
            raise GatewayError("logprobs of a text completion is a number", code="invalid_type", param="logprobs")
        number: int | None = asked
        return number
    if asked is not None and not isinstance(asked, bool):
        raise GatewayError(
            "logprobs of a chat is true or false",
            code="invalid_type",
            param="logprobs",
            hint="top_logprobs has the number",
        )
    if top and not asked:
        raise GatewayError("top_logprobs needs logprobs: true", code="invalid_value", param="top_logprobs")
    return (top or 0) if asked else None


def _check_format(given: dict[str, Any]) -> None:
    wanted = given.get("response_format") or {}
    if wanted.get("type") == "json_schema" and not wanted.get("json_schema"):
        where = "response_format.json_schema"
        raise GatewayError(f"{where} is missing", code="missing_field", param=where)


def _unable(name: str, why: str, hint: str) -> GatewayError:
    return GatewayError(
        f"{name} can't be used in this request", code="unsupported_feature", param=name, why=why, hint=hint
    )
