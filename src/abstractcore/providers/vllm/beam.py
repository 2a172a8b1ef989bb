"""Beam search, and ``best_of``: the likeliest of several answers. Pure.

A beam search runs on the server. Every known version drops constraints, ``stop`` and sampling parameters from one and
answers 200, so such a call is refused here, or, with ``emulate=True``, answered by ranked samples.

Scores are the server's own, computed anew from the log probabilities of the tokens, because no version sends them: the
sum over the answer (end token included), divided by the length to the power of the length penalty. vLLM counts the
prompt's tokens as length too, but not the end token. In a stream scores are known only if ``logprobs`` was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from ...errors import ConfigurationError, ProviderAPIError, UnsupportedFeatureError
from ...types import Alternative, BeamSearch, GenerateRequest
from ...vllm_facts import BEAM_IGNORES, MAX_BEAM_WIDTH
from ...wire.openai import Completion
from ..request import beam_of, check_request
from .draft import Draft

_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "frequency_penalty": (0,),
    "min_p": (0,),
    "min_tokens": (0,),
    "presence_penalty": (0,),
    "priority": (0,),
    "repetition_penalty": (1,),
    "temperature": (0,),
    "top_k": (0, -1),
    "top_p": (1,),
}
"""Values that change nothing, so that it makes no difference whether they are dropped."""
_CONSTRAINING: Final = (
    "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
)  # fmt: skip
_IGNORED: Final = BEAM_IGNORES | {"priority", "prompt_logprobs", "temperature", "thinking_token_budget"}
_OPTIONS: Final = ("use_beam_search", "best_of", "length_penalty", "n")


def lift(request: GenerateRequest) -> GenerateRequest:
    """Makes a beam search or ``best_of`` in ``extra_body`` one like any other.

    Raises:
        ConfigurationError: Its numbers make no sense.
    """
    extra = request.extra_body
    if not extra.get("use_beam_search") and extra.get("best_of") is None:
        return request
    given: dict[str, Any] = {"n": request.n} if request.n > 1 else {}
    given |= {name: extra[name] for name in _OPTIONS if extra.get(name) is not None}
    found = beam_of(given)
    lifted = replace(
        request,
        beam=found,
        best_of=None if found else given.get("best_of"),
        n=given.get("n", found.width if found else 1),
        extra_body={name: value for name, value in extra.items() if name not in _OPTIONS},
    )
    check_request(lifted)
    return lifted


def shape_candidates(draft: Draft) -> None:
    """Asks for a beam search, or for candidates to choose from."""
    if draft.request.beam is not None:
        if draft.request.emulate and _dropped(draft):
            _emulate_beam(draft, draft.request.beam)
        else:
            _search(draft, draft.request.beam)
    elif draft.request.best_of is not None:
        _best_of(draft, draft.request.best_of)


def _search(draft: Draft, beam: BeamSearch) -> None:
    request = draft.request
    dropped = _dropped(draft)
    if dropped:
        raise draft.refuse(
            f"use_beam_search with {', '.join(dropped)}",
            why=f"every version of vLLM drops {', '.join(dropped)} from a beam search and answers 200",
            alternatives=["emulate=True samples candidates that obey them and ranks them", "leave them out"],
        )
    if beam.width > MAX_BEAM_WIDTH and not request.allow_unknown:
        raise draft.refuse(
            f"use_beam_search with width {beam.width}",
            why=f"the width is at most {MAX_BEAM_WIDTH}: the server needs twice as many logprobs, and gives 20",
            alternatives=[f"best_of={MAX_BEAM_WIDTH}", "allow_unknown=True for a server with a higher --max-logprobs"],
        )
    facts = draft.dialect.facts
    if draft.stream and draft.surface == "completions" and facts and not facts[0].beam_streams_completions:
        raise draft.refuse(
            "use_beam_search with stream and raw_prompt",
            why="since 0.18 the completions endpoint refuses it",
            alternatives=["stream=False", "a chat, which sends each beam in one chunk at the end"],
        )
    unasked = request.logprobs is None and not draft.stream
    draft.request = replace(
        request,
        n=beam.width,
        sampling={**request.sampling, "temperature": 0},
        logprobs=0 if unasked else request.logprobs,
    )
    # The end token then comes with its log probability; the text is the same.
    draft.fields |= {"use_beam_search": True, "include_stop_str_in_output": True}
    if beam.length_penalty != 1.0:
        draft.fields["length_penalty"] = beam.length_penalty
    draft.metadata["beam_search"] = {"width": beam.width, "length_penalty": beam.length_penalty}
    draft.revise.append(partial(read_beams, beam=beam, keep=request.n, strip=unasked))


def read_beams(completion: Completion, *, beam: BeamSearch, keep: int, strip: bool) -> Completion:
    """Checks that there is an answer for each beam, and scores them as the server did.

    Args:
        completion: The server's answers, best first.
        beam: The search that was asked for.
        keep: How many answers are wanted.
        strip: Take the log probabilities out again: the caller did not ask for them.

    Raises:
        ProviderAPIError: Beams are missing or unfinished.
    """
    ends = [answer.finish_reason for answer in completion.answers]
    if len(ends) != beam.width or not {"stop", "length", "tool_calls"}.issuperset(ends):
        raise ProviderAPIError(
            f"vllm: a beam search of width {beam.width} gave {len(ends)} answers",
            why=f"their finish reasons are {', '.join(map(str, ends)) or 'none'}",
            hint="does something between here and the server drop use_beam_search?",
        )
    prompt = completion.usage.input_tokens if completion.usage else None
    for answer in completion.answers:
        answer.score = _beam_score(answer, prompt, beam.length_penalty)
        if strip:
            answer.logprobs = None
    return replace(completion, answers=completion.answers[:keep])


def _dropped(draft: Draft) -> list[str]:
    """What the request asks for and a beam search would drop in silence, in the caller's words."""
    request, body = draft.request, draft.body()
    found = [] if request.constraint is None else [f"guided_{request.constraint.kind}"]
    if not found:
        found += [name for name in _CONSTRAINING if body.get(name) is not None]
    for name in sorted(_IGNORED & body.keys()):
        if body[name] not in (None, [], {}, *_NEUTRAL.get(name, ())):
            found.append(name)
    if body.get("tool_choice") not in (None, "auto", "none"):
        found.append("tool_choice")
    return found


def _no_stream(draft: Draft, feature: str) -> UnsupportedFeatureError:
    return draft.refuse(
        f"{feature} with stream",
        why="which answer is the best is known only when all are there",
        alternatives=["stream=False"],
    )


def _beam_score(answer: Alternative, prompt_tokens: int | None, length_penalty: float) -> float | None:
    if answer.logprobs is None or prompt_tokens is None:
        return None
    ended = answer.finish_reason != "length"
    length = max(prompt_tokens + len(answer.logprobs) - ended, 1)
    total: float = sum(token.logprob for token in answer.logprobs)
    return total / float(length**length_penalty)


def _emulate_beam(draft: Draft, beam: BeamSearch) -> None:
    power = f"{beam.length_penalty:g}"
    keep = None if draft.request.n == beam.width else draft.request.n
    _sample(draft, beam.width, keep=keep, length_penalty=beam.length_penalty, feature="use_beam_search")
    draft.metadata.setdefault("emulated", {})["use_beam_search"] = (
        f"{beam.width} sampled candidates, the likeliest first: their token log probabilities are"
        f" summed and divided by their length to the power of {power}; equal ones are given once, cut ones come last"
    )


def _best_of(draft: Draft, candidates: int) -> None:
    if draft.stream:
        raise _no_stream(draft, "best_of")
    if candidates == draft.request.n == 1:
        return
    facts = draft.dialect.facts
    if facts and facts[0].best_of == "honoured" and not draft.request.emulate:
        draft.fields["best_of"] = candidates
        return
    _sample(draft, candidates, keep=draft.request.n, length_penalty=0.0, feature="best_of")
    draft.metadata.setdefault("emulated", {})["best_of"] = (
        f"{candidates} candidates were asked for as n; the likeliest by summed log probability were kept"
    )


def _sample(draft: Draft, candidates: int, *, keep: int | None, length_penalty: float, feature: str) -> None:
    """Asks for candidates in place of what the server can't do, to be ranked when they are there."""
    request = draft.request
    if draft.stream:
        raise _no_stream(draft, feature)
    if request.sampling.get("temperature") == 0:
        raise ConfigurationError(
            f"{feature} is emulated by sampling, and with temperature 0 all {candidates} samples would be the same",
            hint="give a temperature above 0",
        )
    rank = partial(
        rank_candidates,
        wanted=candidates,
        keep=keep,
        length_penalty=length_penalty,
        whole=None if request.constraint is None else request.constraint.complete,
        distinct=request.beam is not None,
        strip=request.logprobs is None,
    )
    draft.request = replace(request, n=candidates, logprobs=request.logprobs or 0)
    draft.revise.append(rank)


def rank_candidates(
    completion: Completion,
    *,
    wanted: int,
    keep: int | None,
    length_penalty: float,
    whole: Callable[[str], bool] | None,
    distinct: bool,
    strip: bool,
) -> Completion:
    """Keeps the likeliest of sampled candidates, best first.

    Args:
        completion: The candidates.
        wanted: How many were asked for.
        keep: How many to keep; ``None`` for all that are complete.
        length_penalty: Power of the length by which sums are divided; 0 leaves them as they are.
        whole: Tells whether a text that the length limit cut is complete all the same; cut ones come last.
        distinct: Keep only the first of equal texts, as a beam search does.
        strip: Take the log probabilities out again: the caller did not ask for them.

    Raises:
        ProviderAPIError: Candidates or their log probabilities are missing.
    """
    answers = completion.answers
    if len(answers) != wanted or any(answer.logprobs is None for answer in answers):
        scored = sum(answer.logprobs is not None for answer in answers)
        raise ProviderAPIError(
            f"vllm: {wanted} candidates with log probabilities were asked for, but {len(answers)} came",
            why=f"{scored} of them have log probabilities",
            hint="does something between here and the server drop n or logprobs?",
        )
    for answer in answers:
        tokens = answer.logprobs or []
        answer.score = sum(token.logprob for token in tokens) / float(max(len(tokens), 1) ** length_penalty)
    cut = {
        answer.index
        for answer in answers
        if whole is not None and answer.finish_reason == "length" and not whole(answer.content)
    }
    ranked = sorted(answers, key=lambda answer: (answer.index in cut, -(answer.score or 0.0)))
    if distinct:
        ranked = list({answer.content: answer for answer in reversed(ranked)}.values())[::-1]
    complete = [answer for answer in ranked if answer.index not in cut]
    kept = ranked[:keep] if keep else complete or ranked
    if strip:
        for answer in kept:
            answer.logprobs = None
    return replace(completion, answers=kept)
