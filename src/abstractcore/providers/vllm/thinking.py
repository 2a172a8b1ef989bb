"""Whether, how long and how hard a model reasons before it answers.

``thinking=True`` or ``False`` goes to the chat template, which has the switch; a template without one would ignore it
in silence, so the server is first asked, by ``/tokenize``, whether both give different prompts. A number is a limit of
tokens, which servers from 0.19 on enforce (with a reasoning parser; else they refuse it). A text is an effort, which is
a wish that the model may follow or not.
"""

from __future__ import annotations

from typing import Any, Final

from ...errors import ConfigurationError, ProviderError
from ...wire.call import Plan
from ...wire.failure import UNREADABLE
from ...wire.pooling import read_count
from ..endpoint import Endpoint, send
from .draft import Draft

_known: dict[tuple[str, str, str], bool] = {}
"""Whether a template has the switch, by address, key and model, for all providers of this process."""
_PROBE: Final = [{"role": "user", "content": "?"}]


def switched(value: bool) -> dict[str, bool]:  # noqa: FBT001 - it is the value
    """The switch under the names that templates have for it."""
    return {"enable_thinking": value, "thinking": value}


def find_switch(endpoint: Endpoint, model: str) -> Plan[bool | None]:
    """Whether the model's chat template has a switch; ``None`` if the server does not say."""
    key = (endpoint.root, endpoint.headers.get("authorization", ""), model)
    if key not in _known:
        prompts = []
        for value in (True, False):
            body: dict[str, Any] = {"model": model, "messages": _PROBE, "chat_template_kwargs": switched(value)}
            try:
                answer = yield from send(endpoint, endpoint.post(f"{endpoint.root}/tokenize", body))
                prompts.append(read_count(answer.body).tokens)
            except (ProviderError, *UNREADABLE):
                return None
        _known[key] = prompts[0] != prompts[1]
    return _known[key]


def shape_thinking(draft: Draft) -> None:
    """Writes what was asked of the reasoning into the request."""
    wanted = draft.request.thinking
    if wanted is None:
        return
    if draft.surface != "chat":
        raise ConfigurationError("thinking works through the chat template, which raw_prompt leaves out")
    if isinstance(wanted, bool):
        _switch(draft, wanted)
    elif isinstance(wanted, int):
        _need(draft, "thinking_token_budget", "a limit", ["thinking=True or False", "a server of vLLM 0.19 or later"])
        draft.fields["thinking_token_budget"] = wanted
    else:
        _need(draft, "reasoning_effort", "an effort", ["thinking=True or False", "a server of vLLM 0.10.1 or later"])
        draft.fields["reasoning_effort"] = wanted
        draft.knobs["thinking"] = "reasoning_effort was sent; how hard it reasons is up to the model"


def _switch(draft: Draft, wanted: bool) -> None:  # noqa: FBT001
    if draft.has_switch is False:
        raise draft.refuse(
            f"thinking={wanted} with {draft.model}",
            why="its chat template gives the same prompt with reasoning on and off",
            alternatives=[
                "leave thinking out",
                "chat_template_kwargs={...} with the template's own name for it",
            ],
        )
    given = draft.fields.get("chat_template_kwargs", {})
    draft.fields["chat_template_kwargs"] = {**switched(wanted), **given}
    if draft.has_switch is None:
        draft.knobs["thinking"] = "the server did not say whether the chat template has such a switch"


def _need(draft: Draft, name: str, what: str, alternatives: list[str]) -> None:
    if draft.dialect.knows(draft.surface, name) is False:
        raise draft.refuse(
            f"thinking with {what}",
            why=f"its request schema doesn't list {name}: it would answer 200 and ignore it",
            alternatives=alternatives,
        )
