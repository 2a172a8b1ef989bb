"""Each cell of the version table against what a server of that release has answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from abstractcore.vllm_facts import (
    BEAM_IGNORES,
    DEFAULT_COMPLETION_TOKENS,
    ENDPOINTS,
    FACTS,
    GUARDED_PREFIXES,
    MAX_BEAM_WIDTH,
    MAX_LOGPROBS,
    RUNNING_METRIC,
    WAITING_METRIC,
    VersionFacts,
    facts_for,
)
from tests.recordings import VERSIONS, openapi, probe_names, recorded, schema_properties


def status(version: str, probe: str) -> int:
    return recorded(version, probe).status


def texts(version: str, probe: str) -> list[str]:
    choices = recorded(version, probe).json()["choices"]
    return [choice["message"]["content"] if "message" in choice else choice["text"] for choice in choices]


def text(version: str, probe: str) -> str:
    [only] = texts(version, probe)
    return only


def message(version: str, probe: str) -> dict[str, Any]:
    return dict(recorded(version, probe).json()["choices"][0]["message"])


def error(version: str, probe: str) -> dict[str, Any]:
    body = recorded(version, probe).json()
    return dict(body if body.get("object") == "error" else body["error"])


def refusal(version: str, probe: str) -> str:
    return "refused" if status(version, probe) >= 400 else "ignored"


def follows(constraint: str, answer: str) -> bool:
    if constraint == "json":  # 16 tokens end inside the document
        return answer.startswith("{")
    return bool(
        re.fullmatch({"regex": "[0-9]{3}-[A-Z]{2}", "choice": "alpha|beta", "grammar": "yes|no"}[constraint], answer)
    )


def is_enforced(version: str, prefix: str) -> bool:
    """Whether a spelling constrains; True and False in one would need a finer table."""
    seen = {follows(kind, text(version, f"{prefix}_{kind}")) for kind in ("regex", "json", "choice", "grammar")}
    seen.add(follows("regex", text(version, f"{prefix}_regex completions")))
    [answer] = seen
    return answer


def constraints(version: str) -> tuple[str, ...]:
    found = [
        name for name, prefix in (("structured_outputs", "so"), ("guided", "guided")) if is_enforced(version, prefix)
    ]
    if len(found) == 2:  # the better one is the one that wins: it was sent a choice, the other one a regex
        assert follows("choice", text(version, "so+guided both"))
    return tuple(found)


def structural_tag(version: str) -> str:
    if status(version, "so_structural_tag") >= 400:
        return "refused"
    return "honoured" if text(version, "so_structural_tag") == "hello" else "ignored"


def response_format_tags(version: str) -> tuple[str, ...]:
    forms = {"format": "rf_structural_tag_new", "structures": "rf_structural_tag_old"}
    accepted = tuple(form for form, probe in forms.items() if status(version, probe) == 200)
    assert "format" not in accepted or text(version, "rf_structural_tag_new") == "hello"
    return accepted


def best_of(version: str) -> str:
    if status(version, "best_of") == 400 and status(version, "best_of completions") == 400:
        return "refused"
    return "honoured" if "best_of must be" in recorded(version, "best_of<n completions").body.decode() else "ignored"


def max_temperature(version: str) -> float | None:
    if status(version, "temperature 5") == 200:
        return None
    found = re.search(r"must be in \[0, (\d+)\]", error(version, "temperature 5")["message"])
    assert found
    return float(found[1])


def chat_template(version: str) -> str:
    if status(version, "chat_template") == 400:
        return "refused"
    changed = [recorded(version, probe).json()["usage"]["prompt_tokens"] for probe in ("chat", "chat_template")]
    return "honoured" if changed[0] != changed[1] else "ignored"


def thinking_token_budget(version: str) -> bool:
    is_known = "thinking_token_budget" in schema_properties(version, "ChatCompletionRequest")
    assert is_known == (status(version, "thinking_token_budget") == 400)
    return is_known


def load_inplace(version: str) -> bool:
    is_known = "load_inplace" in schema_properties(version, "LoadLoRAAdapterRequest")
    assert is_known == (status(version, "lora load_inplace") == 200)
    return is_known


def cut_required_tool_call(version: str) -> str:
    if status(version, "tool_choice required") >= 400:
        return "error"
    answer = message(version, "tool_choice required")
    assert answer["content"]
    assert not answer.get("tool_calls")
    return "text"


def error_body(version: str) -> str:
    bodies = [recorded(version, probe).json() for probe in ("bad model", "bad type", "bad json", "max_tokens too big")]
    if all(body.get("object") == "error" and isinstance(body["message"], str) for body in bodies):
        return "top level"
    assert all(isinstance(body["error"]["message"], str) for body in bodies)
    return "nested"


def pooling_errors_in_200(version: str) -> bool:
    [code] = {status(version, probe) for probe in ("embeddings", "score", "rerank")}
    assert code == 404 or "does not support" in error(version, "embeddings")["message"]
    return code == 200


def metric(*names: str) -> Callable[[str], str]:
    """The first of several metrics that a server has."""

    def of(version: str) -> str:
        metrics = recorded(version, "GET /metrics").body.decode()
        return next(name for name in names if f"# TYPE {name} " in metrics)

    return of


OBSERVED: Final[dict[str, Callable[[str], object]]] = {
    "constraints": constraints,
    "response_format_on_completions": lambda v: follows("json", text(v, "rf_json_schema completions")),
    "structural_tag": structural_tag,
    "response_format_tags": response_format_tags,
    "refuses_other_backend": lambda v: status(v, "guided_regex+backend") == 400,
    "best_of": best_of,
    "beam_streams_completions": lambda v: status(v, "beam comp stream") == 200,
    "max_temperature": max_temperature,
    "chat_template": chat_template,
    "priority": lambda v: refusal(v, "priority"),
    "logits_processors": lambda v: refusal(v, "logits_processors"),
    "thinking_token_budget": thinking_token_budget,
    "keeps_last_prompt_tokens": lambda v: status(v, "truncate_prompt_tokens -1") == 200,
    "load_inplace": load_inplace,
    "protects_base_name": lambda v: status(v, "lora load basename") == 400,
    "reasoning_fields": lambda v: tuple(sorted(key for key in message(v, "chat") if key.startswith("reasoning"))),
    "sends_empty_tool_calls": lambda v: message(v, "chat").get("tool_calls") == [],
    "cut_required_tool_call": cut_required_tool_call,
    "error_body": error_body,
    "error_names_param": lambda v: error(v, "max_tokens too big")["param"] == "max_tokens",
    "pooling_errors_in_200": pooling_errors_in_200,
    "endpoints": lambda v: frozenset(openapi(v)["paths"]) & ENDPOINTS,
    "kv_usage_metric": metric("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "latency_metric": metric("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
}

NOT_SEEN: Final = {
    ("0.8.5", "structural_tag"): "the engine was dead already",
    ("0.8.5", "cut_required_tool_call"): "the tokenizer has no tool tokens, so every tool probe is refused",
    ("0.8.5", "kv_usage_metric"): "its engine process exports no metrics here",
    ("0.8.5", "latency_metric"): "its engine process exports no metrics here",
    ("0.10.2", "logits_processors"): "an adapter had taken the base model's name",
}

CELLS: Final = [(version, cell) for version in VERSIONS for cell in OBSERVED if (version, cell) not in NOT_SEEN]


@pytest.mark.parametrize(("version", "cell"), CELLS)
def test_cell_is_what_the_server_did(version: str, cell: str) -> None:
    row, match = facts_for(version)
    assert match == "exact"
    assert getattr(row, cell) == OBSERVED[cell](version)


def test_every_cell_is_looked_at() -> None:
    assert set(VersionFacts.__struct_fields__) - {"version", "recorded"} == set(OBSERVED)


def test_the_recorded_rows_are_the_recorded_releases() -> None:
    assert tuple(".".join(map(str, row.version)) for row in FACTS if row.recorded) == VERSIONS


@pytest.mark.parametrize("cell", OBSERVED)
def test_rows_without_a_recording_only_place_a_change_between_two(cell: str) -> None:
    for index, row in enumerate(FACTS):
        if not row.recorded:
            before = next(earlier for earlier in reversed(FACTS[:index]) if earlier.recorded)
            after = next(later for later in FACTS[index:] if later.recorded)
            if cell == "endpoints":
                assert before.endpoints & after.endpoints <= row.endpoints, row.version
            else:
                assert getattr(row, cell) in {getattr(before, cell), getattr(after, cell)}, row.version


PROBED_ENDPOINTS: Final = {
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages count",
    "/v1/chat/completions/batch": "chat batch",
    "/v1/chat/completions/render": "chat render",
    "/v1/completions/render": "comp render",
    "/inference/v1/generate": "generate tokens",
    "/invocations": "invocations",
    "/tokenize": "tokenize prompt",
    "/detokenize": "detokenize",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_listed_endpoints_answer_and_others_do_not(version: str) -> None:
    answers = {path for path, probe in PROBED_ENDPOINTS.items() if status(version, probe) == 200}
    assert facts_for(version)[0].endpoints & set(PROBED_ENDPOINTS) == answers


# --- the same in all versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_json_schema_constrains_chats_everywhere(version: str) -> None:
    assert follows("json", text(version, "rf_json_schema"))


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_unknown_or_nested_is_ignored_everywhere(version: str) -> None:
    plain = text(version, "chat")
    for probe in ("unknown_field", "extra_body nested guided", "extra_body nested so"):
        assert text(version, probe) == plain


@pytest.mark.parametrize("version", VERSIONS)
def test_the_width_of_a_beam_is_n(version: str) -> None:
    assert text(version, "beam n=1") == text(version, "beam+best_of") == text(version, "chat")
    assert len(texts(version, "beam n=4 lp")) == 4
    assert status(version, "beam n=20") == 400
    assert str(2 * MAX_BEAM_WIDTH) in error(version, "beam n=20")["message"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_beam_drops_its_constraint(version: str) -> None:
    assert texts(version, "beam+regex") == texts(version, "beam temp none")
    assert not any(follows("regex", answer) for answer in texts(version, "beam+regex"))


@pytest.mark.parametrize("version", ["0.10.2", "0.32.0"])
def test_a_beam_ignores_stop_and_response_format(version: str) -> None:
    assert "stop" in BEAM_IGNORES
    assert texts(version, "beam+stop") == texts(version, "beam+rf")
    assert all("-" in answer for answer in texts(version, "beam+stop"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_beam_streams_one_text_a_choice(version: str) -> None:
    lines = recorded(version, "beam stream").body.decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    with_text = [event["choices"][0] for event in events if event["choices"][0]["delta"].get("content")]
    assert [choice["index"] for choice in with_text] == [0, 1]
    assert [choice["finish_reason"] for choice in with_text] == ["length", "length"]


@pytest.mark.parametrize("version", VERSIONS)
def test_limits_are_the_same_everywhere(version: str) -> None:
    assert recorded(version, "max_tokens none").json()["usage"]["completion_tokens"] == DEFAULT_COMPLETION_TOKENS
    assert str(MAX_LOGPROBS) in error(version, "top_logprobs 50")["message"]
    assert status(version, "n=2 greedy") == 400


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_load_is_told_by_the_same_metrics(version: str) -> None:
    metrics = recorded(version, "GET /metrics").body.decode()
    assert f"\n{RUNNING_METRIC}{{" in metrics
    assert f"\n{WAITING_METRIC}{{" in metrics


@pytest.mark.parametrize("version", ["0.10.2", "0.32.0"])
def test_the_key_guards_its_prefixes_only(version: str) -> None:
    without_key = [probe for probe in probe_names(version) if probe.startswith("nokey ")]
    guarded = {probe for probe in without_key if recorded(version, probe).request.path.startswith(GUARDED_PREFIXES)}
    assert {probe for probe in without_key if status(version, probe) == 401} == guarded
    assert {"nokey chat", "nokey /v1/models"} <= guarded
    assert {"nokey tokenize", "nokey invocations"} <= set(without_key) - guarded


@pytest.mark.parametrize("version", ["0.10.2", "0.32.0"])
def test_the_same_constraint_in_both_spellings_is_enforced(version: str) -> None:
    for kind, probe in (("regex", "dual regex"), ("choice", "dual choice"), ("grammar", "dual grammar")):
        assert follows(kind, text(version, probe))
    assert follows("regex", text(version, "dual regex comp"))
    assert follows("json", text(version, "dual json"))
