"""The tables are obeyed: what a row lacks is refused if it is a promise, left out and said if it is a knob."""

from __future__ import annotations

from typing import Any

import pytest

from abstractcore import UnsupportedFeatureError
from abstractcore.capability import CAPABILITIES, KNOBS, Capability, Support, support
from abstractcore.providers import promises
from abstractcore.providers.draft import Draft
from abstractcore.providers.promises import KnobWarning, check_promises, settle_knobs
from abstractcore.providers.request import SAMPLING, build_request

ASKING: dict[Capability, dict[str, Any]] = {
    Capability.COMPLETIONS: {"raw_prompt": True},
    Capability.GUIDED_JSON: {"guided_json": {"type": "object"}},
    Capability.GUIDED_REGEX: {"guided_regex": "a"},
    Capability.GUIDED_CHOICE: {"guided_choice": ["a"]},
    Capability.GUIDED_GRAMMAR: {"guided_grammar": 'root ::= "a"'},
    Capability.STRUCTURAL_TAG: {
        "guided_structural_tag": {"type": "structural_tag", "format": {"type": "const_string", "value": "a"}}
    },
    Capability.MULTIPLE_ANSWERS: {"n": 2},
    Capability.LOGPROBS: {"logprobs": True},
    Capability.STOP: {"stop": "a"},
    Capability.TOOLS: {"tools": [{"function": {"name": "f"}}]},
    Capability.BEAM_SEARCH: {"use_beam_search": True, "n": 2},
    Capability.BEST_OF: {"best_of": 2},
    Capability.THINKING: {"thinking": True},
    Capability.IMAGES: {"media": ["http://h.test/a.png"]},
    Capability.COUNT_TOKENS: {"check_length": True},
    Capability.CHAT_TEMPLATE: {"chat_template_kwargs": {"a": 1}},
}
"""What a caller writes to ask for each."""


@pytest.mark.parametrize("capability", ASKING)
@pytest.mark.parametrize("provider", CAPABILITIES)
def test_a_promise_is_refused_exactly_where_no_row_has_it(provider: str, capability: Capability) -> None:
    request = build_request("x", ASKING[capability])
    if capability is Capability.BEAM_SEARCH and support(provider, Capability.MULTIPLE_ANSWERS) is Support.UNSUPPORTED:
        capability = Capability.MULTIPLE_ANSWERS  # n says its width, and is what is seen first
    if support(provider, capability) is not Support.UNSUPPORTED:
        check_promises(provider, request)
        return
    with pytest.raises(UnsupportedFeatureError) as caught:
        check_promises(provider, request)
    assert caught.value.provider == provider
    able = [other for other in CAPABILITIES if support(other, capability) is not Support.UNSUPPORTED]
    assert all(name in (caught.value.hint or "") for name in able)


@pytest.mark.filterwarnings("ignore::abstractcore.providers.promises.KnobWarning")
@pytest.mark.parametrize("provider", KNOBS)
def test_a_knob_is_sent_exactly_where_the_table_has_it(provider: str) -> None:
    wanted = {name: 1 for name in SAMPLING if name not in ("seed", "stop")}
    draft = Draft(build_request("x", {**wanted, "priority": 1}), "m", provider=provider)
    settle_knobs(draft)
    assert draft.request.sampling.keys() == KNOBS[provider] & wanted.keys()
    assert draft.knobs.keys() == (wanted.keys() | {"priority"}) - KNOBS[provider]


@pytest.mark.parametrize("provider", CAPABILITIES)
def test_a_seed_is_a_knob_where_it_can_not_be_kept(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "_warned", set())
    draft = Draft(build_request("x", {"seed": 1}), "m", provider=provider)
    if support(provider, Capability.SEED) is Support.UNSUPPORTED:
        with pytest.warns(KnobWarning, match=f"{provider} has no seed"):
            settle_knobs(draft)
    else:
        settle_knobs(draft)
    assert ("seed" in draft.request.sampling) is (support(provider, Capability.SEED) is not Support.UNSUPPORTED)


def test_tools_that_may_not_be_called_stand_beside_a_constraint() -> None:
    tools = {"tools": [{"function": {"name": "f"}}], "guided_regex": "a"}
    check_promises("vllm", build_request("x", {**tools, "tool_choice": "none"}))
    with pytest.raises(UnsupportedFeatureError, match="tools beside guided_regex"):
        check_promises("vllm", build_request("x", tools))
