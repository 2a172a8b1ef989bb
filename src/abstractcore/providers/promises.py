"""Holds a request against the capability table.

A promise that a backend can't keep raises; a knob that it lacks is left out, said and warned about once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from ..capability import CAPABILITIES, KNOBS, Capability, Support, support
from ..errors import UnsupportedFeatureError
from ..types import GenerateRequest
from .draft import Draft


class KnobWarning(UserWarning):
    """A sampling parameter was left out, since the backend has no such thing."""


def _guided(kind: str) -> Callable[[GenerateRequest], bool]:
    return lambda request: request.constraint is not None and request.constraint.kind == kind


def _has_images(request: GenerateRequest) -> bool:
    contents = (message.get("content") for message in request.messages)
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return any(isinstance(part, Mapping) and part.get("type") == "image_url" for part in parts)


_ASKS_FOR: Final[Mapping[Capability, Callable[[GenerateRequest], bool]]] = {
    Capability.COMPLETIONS: lambda request: request.raw_prompt is not None,
    Capability.GUIDED_JSON: _guided("json"),
    Capability.GUIDED_REGEX: _guided("regex"),
    Capability.GUIDED_CHOICE: _guided("choice"),
    Capability.GUIDED_GRAMMAR: _guided("grammar"),
    Capability.STRUCTURAL_TAG: _guided("structural_tag"),
    Capability.MULTIPLE_ANSWERS: lambda request: request.n > 1,
    Capability.LOGPROBS: lambda request: request.logprobs is not None,
    Capability.STOP: lambda request: "stop" in request.sampling,
    Capability.TOOLS: lambda request: bool(request.tools) and request.tool_choice != "none",
    Capability.BEAM_SEARCH: lambda request: request.beam is not None,
    Capability.BEST_OF: lambda request: (request.best_of or 1) > 1,
    Capability.THINKING: lambda request: request.thinking is not None,
    Capability.IMAGES: _has_images,
    Capability.COUNT_TOKENS: lambda request: request.check_length,
    Capability.CHAT_TEMPLATE: lambda request: bool(request.chat_template_kwargs),
}
"""The promises that a request may make, and how it is seen that it does."""
_OPTIONS: Final[Mapping[Capability, str]] = {
    Capability.COMPLETIONS: "raw_prompt",
    Capability.IMAGES: "media (images)",
    Capability.COUNT_TOKENS: "check_length",
    Capability.BEAM_SEARCH: "use_beam_search",
}
"""What callers call it, where it is not the capability's own name."""


def check_promises(provider: str, request: GenerateRequest, engine: str | None = None) -> None:
    """Refuses what this backend can't do.

    Args:
        provider: The backend.
        request: What is asked.
        engine: The engine behind it, where that has a row of its own.

    Raises:
        UnsupportedFeatureError: Names the feature, and the backends that have it.
    """
    _check_tools_alone(provider, request)
    for capability, asks_for in _ASKS_FOR.items():
        if asks_for(request) and support(engine or provider, capability) is Support.UNSUPPORTED:
            raise refusal(provider, capability)


def _check_tools_alone(provider: str, request: GenerateRequest) -> None:
    """Refuses a constraint beside tools that may be called: an answer is the one or the other."""
    if request.tools and request.tool_choice != "none" and request.constraint is not None:
        feature = f"tools beside guided_{request.constraint.kind}"
        raise UnsupportedFeatureError(
            f"{provider} can't do {feature}",
            feature=feature,
            provider=provider,
            why="a constrained answer has no room for a call, and a call keeps to no constraint",
            alternatives=["tool_choice='none'", "run_tools(), which holds the final answer to the constraint"],
        )


def refusal(provider: str, capability: Capability, *, why: str | None = None) -> UnsupportedFeatureError:
    """The error for something that a backend does not have."""
    name = _OPTIONS.get(capability, str(capability))
    able = [other for other in CAPABILITIES if support(other, capability) is not Support.UNSUPPORTED]
    return UnsupportedFeatureError(
        f"{provider} can't do {name}",
        feature=name,
        provider=provider,
        why=why or "its interface has nothing for it; what is sent all the same would be ignored",
        alternatives=[f"a provider that can: {', '.join(able)}"] if able else [],
    )


def settle_knobs(draft: Draft) -> None:
    """Leaves out the sampling parameters that the backend lacks, says so in the metadata, and warns once."""
    request, known = draft.request, KNOBS.get(draft.provider, frozenset())
    lacking = [name for name in request.sampling if name not in known and not _is_promise(draft.provider, name)]
    if request.priority is not None and "priority" not in known:
        lacking.append("priority")
    if not lacking:
        return
    sampling = {name: value for name, value in request.sampling.items() if name not in lacking}
    draft.request = replace(request, sampling=sampling, priority=None if "priority" in lacking else request.priority)
    for name in lacking:
        draft.knobs[name] = f"left out: {draft.provider} has no such parameter"
        _warn_once(draft.provider, name)


def _is_promise(provider: str, name: str) -> bool:
    """``stop`` and ``seed`` are promises where the backend has them; a seed that it lacks is a knob."""
    return name in ("stop", "seed") and support(provider, Capability(name)) is not Support.UNSUPPORTED


_warned: set[tuple[str, str]] = set()


def _warn_once(provider: str, name: str) -> None:
    if (provider, name) not in _warned:
        _warned.add((provider, name))
        warnings.warn(f"{provider} has no {name}; it is left out", KnobWarning, stacklevel=2)
