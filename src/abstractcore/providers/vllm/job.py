"""Decides a request for one server: what is sent, and what the answer must then fulfil.

Each feature is a *shaper*: a function that reads the draft and adds its part, or refuses. They run in the order of
``SHAPERS``; none does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from ...errors import InvalidConstraintError
from ...types import GenerateRequest
from ...vllm_facts import hazard_in
from ...wire.call import Plan
from ..endpoint import Endpoint
from ..exchange import Job
from . import beam, probe, server, thinking
from .dialect import unknown_fields
from .draft import Draft
from .guided import is_spelled, lift, write
from .server_options import shape_options
from .tools import shape_tools

UNIVERSAL_FIELDS: Final = frozenset(
    {
        "model", "messages", "prompt", "stream", "stream_options", "temperature", "top_p", "top_k", "min_p", "seed",
        "stop", "n", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "presence_penalty",
        "frequency_penalty", "repetition_penalty", "response_format", "use_beam_search", "length_penalty",
        "include_stop_str_in_output", "priority", "chat_template_kwargs",
        "tools", "tool_choice", "parallel_tool_calls",
    }
)  # fmt: skip
"""Fields in the schemas of all known versions: a request with no others needs no negotiation."""


def shape_constraint(draft: Draft) -> None:
    """Writes the constraint in the server's spelling."""
    if draft.request.constraint is None:
        return
    written = write(draft.request.constraint, draft.surface, draft.dialect)
    if written is None and draft.request.constraint.kind == "structural_tag":
        raise draft.refuse(
            "guided_structural_tag",
            why="vLLM obeys structural tags from 0.11.1 on; 0.10.2 and 0.11.0 take the older form, with structures and"
            " triggers, on chats",
            alternatives=["guided_regex, guided_grammar or guided_json", "a newer server"],
        )
    if written is None:
        raise draft.refuse(
            f"guided_{draft.request.constraint.kind}",
            why="one token asked for in either spelling came back unbound"
            if draft.dialect.probed
            else "its request schema lists neither structured_outputs nor guided_*",
            alternatives=["guided_json on chats, which goes as response_format", "a vLLM server"],
        )
    draft.fields.update(written.fields)
    draft.spelling = written.spelling


def shape_safety(draft: Draft) -> None:
    """Refuses what the server would ignore in silence, and what would take it down."""
    body = draft.body()
    if not draft.request.allow_unknown:
        _check_fields(draft, body)
    hazard = hazard_in(draft.dialect.number, f"/v1/{draft.surface}", body)
    if hazard is not None:
        raise draft.refuse(hazard.name, why=hazard.effect, alternatives=[hazard.instead])


SHAPERS: Final[Sequence[Callable[[Draft], None]]] = (
    shape_constraint,
    shape_options,
    thinking.shape_thinking,
    beam.shape_candidates,
    shape_tools,
    shape_safety,
)


def decide(endpoint: Endpoint, request: GenerateRequest, model: str, *, stream: bool) -> Plan[Job]:
    """Decides everything about a request; asks the server about itself only where it matters.

    Raises:
        UnsupportedFeatureError: The server can't keep a promise that the request makes.
        InvalidConstraintError: There are two constraints, or one that does not compile.
    """
    draft = Draft(beam.lift(_lifted(request)), model, stream=stream)
    if _needs_dialect(draft):
        draft.dialect = yield from server.learn(endpoint)
        if draft.request.constraint is not None and is_spelled(draft.request.constraint, draft.surface):
            draft.dialect = yield from probe.settle(endpoint, draft.dialect, draft.surface, model)
        draft.unparsed_model = server.unparsed_model(endpoint)
        draft.metadata["server_version"] = draft.dialect.version
        if draft.dialect.note:
            draft.metadata["note"] = draft.dialect.note
    if isinstance(request.thinking, bool) and draft.surface == "chat":
        draft.has_switch = yield from thinking.find_switch(endpoint, model)
    for shape in SHAPERS:
        shape(draft)
    return draft.job(endpoint)


def _needs_dialect(draft: Draft) -> bool:
    """Whether the decision depends on what this server understands."""
    request = draft.request
    promises = (
        request.constraint,
        request.beam,
        request.best_of,
        request.thinking,
        request.priority,
        request.tools or None,
    )
    return any(promise is not None for promise in promises) or not UNIVERSAL_FIELDS.issuperset(draft.body())


def _lifted(request: GenerateRequest) -> GenerateRequest:
    """Makes a constraint in ``extra_body`` one like any other."""
    lifted, rest = lift(request.extra_body)
    if lifted is not None and request.constraint is not None:
        raise InvalidConstraintError(
            "an answer can be held to one constraint, but one is in extra_body and one is an option"
        )
    return replace(request, constraint=lifted or request.constraint, extra_body=rest)


def _check_fields(draft: Draft, body: Mapping[str, Any]) -> None:
    unknown = unknown_fields(draft.dialect, draft.surface, body)
    if unknown is None:
        unchecked = sorted(body.keys() - UNIVERSAL_FIELDS - {"structured_outputs"} - _GUIDED)
        if unchecked:
            raise draft.refuse(
                ", ".join(unchecked),
                why="the server hides its request schema, so it can't be known whether it would obey",
                alternatives=["allow_unknown=True sends it all the same"],
            )
    elif unknown:
        guided = [name for name in unknown if name in _GUIDED or name == "structured_outputs"]
        raise draft.refuse(
            ", ".join(unknown),
            why="the server's request schema doesn't list it: it would answer 200 and ignore it",
            alternatives=[
                f"pass {guided[0]}=... to generate(), which is negotiated" if guided else "leave it out",
                "allow_unknown=True sends it all the same",
            ],
        )


_GUIDED: Final = frozenset(f"guided_{kind}" for kind in ("json", "regex", "choice", "grammar"))
