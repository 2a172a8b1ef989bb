"""From the options of ``generate`` to a ``GenerateRequest``: every option named, checked and in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypedDict

from msgspec import UNSET

from ..constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from ..errors import ConfigurationError, InvalidConstraintError
from ..structural_tag import StructuralTag
from ..structured import ResponseModel
from ..tools import Tool, read_choice, read_tools
from ..types import BeamSearch, GenerateRequest, Message, OnCut, Thinking
from ..wire.call import Timeouts
from ..wire.openai import wire_messages
from .attachments import Media, attach


class GenerateDefaults(TypedDict, total=False):
    """Options of ``generate`` that make sense for all calls; ``create_llm`` takes them as defaults."""

    system_prompt: str | None
    temperature: float | None
    max_output_tokens: int | None
    max_tokens: int | None
    """The same as ``max_output_tokens``."""
    top_p: float | None
    top_k: int | None
    min_p: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    n: int | None
    use_beam_search: bool | None
    """Search for the likeliest answers; ``best_of`` or ``n`` gives the width."""
    best_of: int | None
    """With ``use_beam_search`` its width; else how many candidates are sampled: the ``n`` likeliest are given."""
    length_penalty: float | None
    """Of a beam search: scores are divided by the length to this power, 1.0 by default."""
    emulate: bool | None
    """Where a beam search would drop a constraint, ``stop`` or a sampling parameter: sample candidates that obey them
    and rank them by likelihood. Else such a call is refused."""
    logprobs: bool | int | None
    """``True`` for the chosen tokens only, a number for that many of the likeliest at each place."""
    guided_json: Any
    """JSON Schema as dict or JSON string, or a pydantic model class."""
    guided_regex: str | None
    guided_grammar: str | None
    guided_choice: Sequence[str] | None
    guided_structural_tag: Mapping[str, Any] | str | None
    """Free text with tagged pieces that follow a schema, regex or grammar, in xgrammar's form."""
    on_cut: OnCut | None
    """What becomes of a constrained answer that the length limit cut. ``raise`` it, or ``trim`` it to the longest
    prefix that satisfies the constraint (regex, grammar). By default it is trimmed if the limit was the model's
    context, and raised if it was one that the caller gave."""
    thinking: Thinking | None
    """``True`` or ``False`` switches a model's reasoning, a number limits its tokens, a text such as ``low`` names the
    effort."""
    chat_template_kwargs: Mapping[str, Any] | None
    """Variables of the model's chat template."""
    priority: int | None
    """Lower numbers are served earlier, by servers that were started with ``--scheduling-policy priority``."""
    check_length: bool | None
    """Have the server count the prompt first, and raise ``ContextLengthError`` before anything is generated. It costs
    one more short request; without it a prompt that is too long gives the same error after the server's refusal."""
    max_retries: int | None
    """How often an answer that ``response_model``'s own validators refuse is asked for again; 2 by default."""
    tools: Iterable[Tool] | None
    """What the model may call: functions, ``ToolDefinition`` or mappings in OpenAI's form."""
    tool_choice: Any
    """``auto`` (by default), ``required``, ``none``, or the name of the tool to call."""
    parallel_tool_calls: bool | None
    """Whether the model may make several calls at once; ``False`` is checked."""
    raw_prompt: bool | None
    """Send the prompt as it is to the completions endpoint, without a chat template."""
    timeout: float | Timeouts | None
    """Seconds for the whole call, or all limits one by one."""
    extra_body: Mapping[str, Any] | None
    """Fields merged into the top level of the request; the live server's schema must list them."""
    allow_unknown: bool | None
    """Send fields of ``extra_body`` that the server's schema doesn't list."""


class GenerateOptions(GenerateDefaults, total=False):
    """Options of ``generate`` and ``agenerate``."""

    messages: Sequence[Message | Mapping[str, Any]] | None
    """The conversation so far; the prompt, if any, is added as the user's last message."""
    model: str | None
    """Overrides the provider's model for this call; on vLLM also the name of an adapter."""
    media: Sequence[Media] | None
    """Images for the user's last message: paths, bytes (PNG, JPEG, GIF, WebP) or URLs."""


SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "stop",
)
"""Options that go to the server under their own names."""
GUIDED: Final[Mapping[str, Callable[[Any], Constraint]]] = {
    "guided_json": JsonSchema,
    "guided_regex": Regex,
    "guided_grammar": Grammar,
    "guided_choice": Choice,
    "guided_structural_tag": StructuralTag,
}


def check_names(options: Mapping[str, Any]) -> None:
    """Refuses options that nobody knows.

    Raises:
        TypeError: Names the option and the nearest known one.
    """
    for name in options:
        if name not in GenerateOptions.__annotations__ and name != "response_model":
            import difflib

            near = difflib.get_close_matches(name, GenerateOptions.__annotations__, 1)
            tip = f"; did you mean {near[0]!r}?" if near else "; server fields go into extra_body={...}"
            raise TypeError(f"unknown option {name!r}{tip}")


def build_request(prompt: str | None, options: Mapping[str, Any]) -> GenerateRequest:
    """Makes the request of a call.

    Args:
        prompt: The user's prompt.
        options: ``GenerateOptions``, with the provider's defaults already in it.

    Raises:
        TypeError: An option is unknown.
        ConfigurationError: Options contradict each other, or there is nothing to answer.
        InvalidConstraintError: The constraint does not compile.
    """
    check_names(options)
    given = {name: value for name, value in options.items() if value is not None}
    raw = bool(given.get("raw_prompt"))
    messages = wire_messages(None if raw else prompt, given.get("messages"), given.get("system_prompt"))
    if raw and (messages or prompt is None):
        raise ConfigurationError("raw_prompt takes a prompt and nothing else: no messages, no system_prompt")
    if not raw and not messages:
        raise ConfigurationError("there is nothing to answer", hint="give a prompt or messages")
    if given.get("media"):
        messages = attach(messages, given["media"])
    beam = beam_of(given)
    response_model = given.get("response_model")
    if response_model is not None and not isinstance(response_model, ResponseModel):
        response_model = ResponseModel(response_model)
    extra_body = dict(given.get("extra_body", {}))
    request = GenerateRequest(
        messages=messages,
        raw_prompt=prompt if raw else None,
        model=given.get("model"),
        sampling={name: given[name] for name in SAMPLING if name in given},
        max_output_tokens=_limit(given),
        n=given.get("n", beam.width if beam else 1),
        beam=beam,
        best_of=None if beam else given.get("best_of"),
        emulate=bool(given.get("emulate")),
        logprobs=_logprobs(given.get("logprobs")),
        constraint=_constraint(given, response_model),
        on_cut=given.get("on_cut"),
        thinking=given.get("thinking"),
        chat_template_kwargs=dict(given.get("chat_template_kwargs", {})),
        priority=given.get("priority"),
        check_length=bool(given.get("check_length")),
        response_model=response_model,
        max_retries=given.get("max_retries", 2),
        **_tools(given, extra_body),
        extra_body=extra_body,
        allow_unknown=bool(given.get("allow_unknown")),
        timeout=given.get("timeout", UNSET),
    )
    check_request(request)
    return request


def timeouts_of(request: GenerateRequest, default: Timeouts) -> Timeouts:
    """The time limits of a request."""
    if isinstance(request.timeout, Timeouts):
        return request.timeout
    if isinstance(request.timeout, int | float):
        return Timeouts(default.connect, default.first_byte, default.idle, float(request.timeout))
    return default


def limit_of(request: GenerateRequest) -> str:
    """What ends the answers of a request, in words."""
    return f"max_output_tokens={request.max_output_tokens}" if request.max_output_tokens else "the model's context"


def _limit(given: Mapping[str, Any]) -> int | None:
    limits = {given[name] for name in ("max_output_tokens", "max_tokens") if name in given}
    if len(limits) > 1:
        raise ConfigurationError(f"max_output_tokens and max_tokens are the same limit, but differ: {sorted(limits)}")
    return limits.pop() if limits else None


def _logprobs(value: int | None) -> int | None:
    return None if value is None or value is False else 0 if value is True else value


@lru_cache(maxsize=128)
def _check_once(constraint: Constraint) -> None:
    """Compiles a constraint, unless an equal one is known to compile: it takes milliseconds, in a batch each time."""
    constraint.check()


def _tools(given: Mapping[str, Any], extra_body: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request about tools; those that were written into ``extra_body`` are taken out of it."""
    options = {name: given.get(name, extra_body.pop(name, None)) for name in _TOOL_OPTIONS}
    tools = read_tools(options["tools"] or ())
    if not tools and any(options[name] not in (None, "none") for name in _TOOL_OPTIONS[1:]):
        raise ConfigurationError("tool_choice and parallel_tool_calls need tools", hint="give tools=[...] as well")
    return {
        "tools": tools,
        "tool_choice": read_choice(options["tool_choice"] or "auto", tools),
        "parallel_tool_calls": options["parallel_tool_calls"],
    }


_TOOL_OPTIONS: Final = ("tools", "tool_choice", "parallel_tool_calls")


def _constraint(given: Mapping[str, Any], response_model: ResponseModel | None) -> Constraint | None:
    names = [name for name in (*GUIDED, "response_model") if name in given]
    if not names:
        return None
    if len(names) > 1:
        raise InvalidConstraintError(
            f"an answer can be held to one constraint, but {' and '.join(names)} were given",
            hint="put all of it into one JSON schema, regex or grammar",
        )
    constraint = response_model.constraint if response_model else GUIDED[names[0]](given[names[0]])
    _check_once(constraint)
    return constraint


def beam_of(given: Mapping[str, Any]) -> BeamSearch | None:
    """The beam search that options ask for.

    Raises:
        ConfigurationError: It has no width, or a width of 1, or it is not asked for but has a length penalty.
    """
    if not given.get("use_beam_search"):
        if "length_penalty" in given:
            raise ConfigurationError(
                "length_penalty belongs to a beam search", hint="give use_beam_search=True as well"
            )
        return None
    width = given.get("best_of", given.get("n"))
    if width is None:
        raise ConfigurationError("a beam search needs a width", hint="give best_of=3, or n=3")
    if width < 2:
        raise ConfigurationError(
            f"a beam of width {width} is no search: it takes the likeliest token at each step",
            hint="give best_of=2 or more, or temperature=0 without use_beam_search",
        )
    return BeamSearch(width, float(given.get("length_penalty", 1.0)))


def check_request(request: GenerateRequest) -> None:
    """Refuses options that contradict each other.

    Raises:
        ConfigurationError: They do.
    """
    if request.n < 1:
        raise ConfigurationError(f"n must be at least 1; it is {request.n}")
    candidates = request.beam.width if request.beam else request.best_of
    if candidates is not None and candidates < request.n:
        raise ConfigurationError(f"best_of={candidates} can't give n={request.n} answers")
    if (request.best_of or 1) > 1 and request.sampling.get("temperature") == 0:
        raise ConfigurationError(
            f"best_of={request.best_of} with temperature 0 would choose among {request.best_of} equal answers",
            hint="give a temperature above 0, or use_beam_search=True",
        )
    if request.n > 1 and not request.beam and request.sampling.get("temperature") == 0:
        raise ConfigurationError(
            f"n={request.n} with temperature 0 would give the same answer {request.n} times; servers refuse it",
            hint="give a temperature above 0, or n=1",
        )
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise ConfigurationError(f"max_output_tokens must be at least 1; it is {request.max_output_tokens}")
    if request.response_model is not None and request.n != 1:
        raise ConfigurationError("response_model gives one instance", hint="leave n out, or use guided_json with n")
    if request.tools and request.raw_prompt is not None:
        raise ConfigurationError("raw_prompt goes to the model as it is, so tools can't be told to it")
    if request.on_cut not in (None, "raise", "trim"):
        raise ConfigurationError(f"on_cut is 'raise' or 'trim'; it is {request.on_cut!r}")
