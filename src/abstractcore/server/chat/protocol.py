"""What a client wants of a completion: read, held against what is known, and sorted. Pure.

A request with nothing to check goes to a backend of the same protocol as it came (``relay``). One that holds a promise,
or goes to a backend of another protocol, goes through the provider, which negotiates and proves.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from ...providers.vllm.guided import lift
from ..errors import GatewayError

GUIDED: Final = frozenset({"guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_structural_tag"})
PROMISES: Final = GUIDED | {
    "response_format", "structured_outputs", "tools", "tool_choice", "use_beam_search", "best_of",
    "thinking", "on_cut", "emulate",
}  # fmt: skip
"""Fields whose effect on the answer is checked."""
OURS: Final = GUIDED | {"best_of", "thinking", "on_cut", "emulate", "system_prompt"}
"""Fields that the gateway understands whatever the backend lists: it negotiates them."""


class Wanted(msgspec.Struct):
    """A request, each field still as the client wrote it."""

    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool
    n: int

    @property
    def promises(self) -> frozenset[str]:
        """The fields that hold a promise."""
        return PROMISES & self.fields.keys()

    def with_model(self, model: str | None) -> bytes:
        """The body as it is passed on: with the backend's own name of the model."""
        return msgspec.json.encode({**self.fields, "model": model})

    def plain(self) -> dict[str, Any]:
        """All fields as plain data."""
        return {name: msgspec.json.decode(raw) for name, raw in self.fields.items()}


_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Head(msgspec.Struct):
    model: str
    stream: bool | None = None
    n: int | None = None


_HEAD: Final = msgspec.json.Decoder(_Head)


def read(body: bytes) -> Wanted:
    """Reads a request.

    Raises:
        GatewayError: It is no JSON object, names no model, or a field has the wrong type; says where.
    """
    try:
        fields = _FIELDS.decode(body)
        head = _HEAD.decode(body)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$.")[2].rstrip("`") if "`$." in str(error) else None
        raise GatewayError(f"the request is not valid: {error}", code="invalid_type", param=where) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise GatewayError(f"the request's body is no JSON: {error}", code="invalid_json") from None
    return Wanted(fields, head.model, bool(head.stream), head.n if head.n is not None else 1)


def check_fields(names: Collection[str], known: Collection[str]) -> None:
    """Refuses fields that nobody would obey.

    Raises:
        GatewayError: Names the field and the nearest known one.
    """
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "leave it out"
        if name == "extra_body":
            hint = (
                "its fields belong at the top level: the OpenAI SDK merges extra_body there, on the wire it is nothing"
            )
        raise GatewayError(
            f"unknown field {name!r}: the backend would ignore it",
            code="unknown_field",
            param=name,
            hint=hint,
        )


def options_of(wanted: Wanted, model: str | None, *, chat: bool) -> tuple[str | None, dict[str, Any]]:
    """A request as prompt and options of ``generate``.

    Returns:
        The prompt of a text completion, else ``None``; and the options. What ``generate`` has no option for is in
        ``extra_body``, where the provider holds it against what the live server lists.
    """
    given = wanted.plain()
    for name in ("model", "stream", "stream_options", "user"):
        given.pop(name, None)
    prompt = None if chat else given.pop("prompt", None)
    options: dict[str, Any] = {"model": model}
    if chat:
        options["messages"] = given.pop("messages", None)
    else:
        options["raw_prompt"] = True
    limit = given.pop("max_completion_tokens", None) or given.pop("max_tokens", None)
    given.pop("max_tokens", None)
    options["max_output_tokens"] = limit
    _take_logprobs(given, options, chat=chat)
    constraint, given = lift(given)
    if constraint is not None:
        options[f"guided_{constraint.kind}"] = constraint.value
    for name in _SAME & given.keys():
        options[name] = given.pop(name)
    options["extra_body"] = given
    return prompt, options


def _take_logprobs(given: dict[str, Any], options: dict[str, Any], *, chat: bool) -> None:
    asked, top = given.pop("logprobs", None), given.pop("top_logprobs", None)
    if chat:
        options["logprobs"] = (top or 0) if asked else None
    else:
        options["logprobs"] = asked


_SAME: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
        "seed", "stop", "n", "tools", "tool_choice", "parallel_tool_calls", "use_beam_search", "best_of",
        "length_penalty", "emulate", "on_cut", "thinking", "chat_template_kwargs", "priority", "system_prompt",
    }
)  # fmt: skip
"""Fields that are options of ``generate`` under the same name."""


def extension(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says beyond OpenAI's protocol: how promises were kept."""
    return {
        name: metadata[name] for name in ("constraint", "emulated", "knobs", "server_version") if metadata.get(name)
    }
