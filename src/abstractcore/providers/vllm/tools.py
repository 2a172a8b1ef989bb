"""Tools on vLLM: sent, read back, emulated where the server reads no calls, refused where a promise can't be kept.

What the versions do, as recorded: beside ``auto`` a constraint leaves no room for calls, beside ``required`` or a named
tool it is dropped, beside ``none`` it binds. 0.32 holds arguments to the schema only of a tool that says ``strict``, a
field that is known from 0.24 on; 0.10.2 always does for required and named calls.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ...constraint import JsonSchema
from ...errors import InvalidRequestError, StreamInterruptedError, ToolCallError, TruncatedOutputError
from ...tools import CHOICES, call_schema, read_emulated
from ...types import Alternative, GenerateRequest, GenerateResponse
from ...vllm_facts.tool_parsers import TOOL_CALL_MARKS, tool_parser_for
from ...wire.call import Call, Plan
from ...wire.openai import Completion
from ..endpoint import Endpoint, send
from ..exchange import Job
from . import server
from .dialect import Dialect
from .draft import Draft
from .guided import write

_OK: Final = 200
_FLAGS: Final = "--enable-auto-tool-choice --tool-call-parser"
_STRICT_SINCE: Final = (0, 24, 0)


def shape_tools(draft: Draft) -> None:
    """Writes the tools, or what emulates them."""
    request = draft.request
    if not request.tools:
        return
    if request.constraint is not None and request.tool_choice != "none":
        raise draft.refuse(
            f"tools beside guided_{request.constraint.kind}",
            why="a constrained answer has no room for a call"
            if request.tool_choice == "auto"
            else "a call that is required takes the place of the constraint, which is dropped",
            alternatives=["tool_choice='none'", "run_tools(), which holds the final answer to the constraint"],
        )
    if request.beam is not None and request.tool_choice != "none":
        raise draft.refuse(
            "tools with use_beam_search",
            why="a beam search drops what holds the calls to their schemas",
            alternatives=["leave use_beam_search out"],
        )
    if draft.unparsed_model is not None and request.tool_choice != "none":
        _emulate(draft, draft.unparsed_model)
        return
    _write(draft, request.tool_choice)
    if request.parallel_tool_calls is not None:
        draft.fields["parallel_tool_calls"] = request.parallel_tool_calls
    if request.tool_choice == "auto":
        draft.revise.append(refuse_unread)


def _write(draft: Draft, choice: str) -> None:
    strict = knows_strict(draft.dialect)
    draft.fields["tools"] = [known.to_openai(strict=strict) for known in draft.request.tools]
    draft.fields["tool_choice"] = choice if choice in CHOICES else {"type": "function", "function": {"name": choice}}


def knows_strict(dialect: Dialect) -> bool:
    """Whether the server holds the arguments of a tool that says ``strict`` to its schema."""
    for name, fields in dialect.fields.items():
        if name.endswith("FunctionDefinition") and not name.startswith("openai"):
            return "strict" in fields
    return dialect.number is None or dialect.number >= _STRICT_SINCE


def _emulate(draft: Draft, model: str) -> None:
    """Asks for the call as constrained JSON, with the tools still in the prompt."""
    request = draft.request
    if request.tool_choice == "auto":
        parser = tool_parser_for(model)
        raise draft.refuse(
            "tool_choice='auto'",
            why="the server was started without a parser of tool calls",
            alternatives=[
                f"start it with {_FLAGS} {parser or 'PARSER'}"
                + ("" if parser else " (vllm serve --help=tool-call-parser lists them)"),
                "tool_choice='required' or the name of a tool, which are emulated",
            ],
        )
    _write(draft, "none")
    wanted = [known for known in request.tools if request.tool_choice in ("required", known.name)]
    several = request.parallel_tool_calls is True
    written = write(JsonSchema(call_schema(wanted, several=several)), draft.surface, draft.dialect)
    assert written is not None  # JSON on chats has a spelling on every server
    draft.fields.update(written.fields)
    draft.hold_text = True
    draft.revise.append(_read_emulated)
    draft.metadata.setdefault("emulated", {})["tool_choice"] = (
        f"{request.tool_choice}: the call was asked for as JSON in {written.spelling}, "
        f"since the server was started without {_FLAGS}"
    )


def _read_emulated(completion: Completion) -> Completion:
    """Makes tool calls of the JSON that stands for them; what is no such JSON stays text, and is refused later."""
    for answer in completion.answers:
        calls = read_emulated(answer.content, f"{completion.response_id}-{answer.index}")
        if calls is not None:
            answer.tool_calls, answer.content = calls, ""
            answer.finish_reason = "tool_calls" if answer.finish_reason == "stop" else answer.finish_reason
    return completion


def refuse_unread(completion: Completion) -> Completion:
    """Refuses text that is a tool call which the server's parser didn't read: broken, cut, or of another family.

    Raises:
        TruncatedOutputError: The length limit cut it.
        ToolCallError: It is broken, or the parser is not the model's.
    """
    for answer in completion.answers:
        mark = _mark(answer)
        if mark is None:
            continue
        if answer.finish_reason == "length":
            raise TruncatedOutputError(
                "the length limit cut the answer inside a tool call",
                text=answer.content,
                constraint=None,
                why=f"the text has {mark!r} and the finish reason is 'length'",
                hint="the partial text is in the error's .partial; give a higher limit",
            )
        parser = tool_parser_for(completion.model or "")
        raise ToolCallError(
            "the answer is a tool call that the server could not read",
            text=answer.content,
            constraint=None,
            why=f"the text begins with {mark!r}: {answer.content.strip()[:80]!r}",
            hint="is the server's --tool-call-parser the one for this model? "
            + (f"It should be {parser}" if parser else "vllm serve --help=tool-call-parser lists them"),
        )
    return completion


def _mark(answer: Alternative) -> str | None:
    if answer.tool_calls:
        return None
    if answer.finish_reason == "length":
        return next((mark for mark in TOOL_CALL_MARKS if mark in answer.content), None)
    return next((mark for mark in TOOL_CALL_MARKS if answer.content.lstrip().startswith(mark)), None)


def explain_refusal(endpoint: Endpoint, error: InvalidRequestError, job: Job) -> Plan[None]:
    """Finds out why a request with tools was refused, by what the server accepts and not by its words.

    Returns if the server turned out to read no tool calls: the request is then to be decided anew.

    Args:
        endpoint: The server.
        error: The refusal.
        job: The request, decided for a stream.

    Raises:
        TruncatedOutputError: The request is fine, but the call it led to was cut (up to 0.23 that is a 400).
        InvalidRequestError: Another reason.
    """
    if server.unparsed_model(endpoint) is not None or job.hold_text:
        raise error
    if job.request.tool_choice == "required" and (yield from _accepted(endpoint, job.call(stream=True))):
        raise TruncatedOutputError(
            "the length limit cut the answer before its tool call was complete",
            text="",
            constraint=job.request.tools,
            why=f"this version answers that with HTTP 400: {error.server_message}",
            hint="give a higher max_output_tokens",
        ) from error
    if (yield from _trial(endpoint, job, "none")) and not (yield from _trial(endpoint, job, job.request.tool_choice)):
        found = yield from server.served(endpoint, job.model)
        base = found if found.parent is None else (yield from server.served(endpoint, found.parent))
        server.remember_unparsed(endpoint, f"{base.root or ''} {base.id}")
        return
    raise error


def _trial(endpoint: Endpoint, job: Job, choice: str) -> Plan[bool]:
    """Whether the server takes the simplest request with this kind of choice; aborted as soon as that is known."""
    function = {"name": "trial", "parameters": {"type": "object", "properties": {}}}
    body: dict[str, Any] = {
        "model": job.model,
        "messages": [{"role": "user", "content": "trial"}],
        "max_completion_tokens": 1,
        "stream": True,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": choice if choice in CHOICES else {"type": "function", "function": {"name": "trial"}},
    }
    return (yield from _accepted(endpoint, endpoint.post(f"{endpoint.base_url}/chat/completions", body, stream=True)))


def _accepted(endpoint: Endpoint, call: Call) -> Plan[bool]:
    answer = yield from send(endpoint, call)
    return answer.status == _OK


def breaks_stream(request: GenerateRequest, error: StreamInterruptedError) -> bool:
    """Whether a stream broke because the server can't stream a required call (seen on 0.10.2)."""
    return request.tool_choice == "required" and error.status == 400 and not error.partial


def as_last_chunk(response: GenerateResponse) -> GenerateResponse:
    """A whole answer in place of a stream of it."""
    emulated = {**response.metadata.get("emulated", {}), "stream": "asked again without a stream, which broke"}
    return replace(response, metadata={**response.metadata, "emulated": emulated})
