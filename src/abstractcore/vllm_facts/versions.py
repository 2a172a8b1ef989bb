"""What each release of vLLM does: one table.

Rows marked ``recorded`` were seen on a running server of that release, and the tests hold each of their cells against
what it answered. The rows between them come from the releases' source code and say only where a change between two
recorded rows took place.

A live server knows better: where its OpenAPI document lists a field or a path, believe that. The table is for what no
schema says (which fields are ignored in silence, how errors look) and for servers that hide their schema.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

Version: TypeAlias = tuple[int, int, int]
Spelling: TypeAlias = Literal["structured_outputs", "guided"]
Treatment: TypeAlias = Literal["honoured", "refused", "ignored"]
"""``refused``: an error comes back. ``ignored``: 200, and the answer is as if the field had not been sent."""
Match: TypeAlias = Literal["exact", "between", "newer", "older"]

# --- the same in all versions ----------------------------------------------------------------------------------------

DEFAULT_PORT: Final = 8000
KEEP_ALIVE_SECONDS: Final = 5.0
"""The server closes a connection that was idle for so long."""
MAX_LOGPROBS: Final = 20
"""Default of ``--max-logprobs``."""
MAX_BEAM_WIDTH: Final = MAX_LOGPROBS // 2
"""A beam of width n asks the engine for 2n logprobs. The width is the field ``n``, never ``best_of``."""
DEFAULT_COMPLETION_TOKENS: Final = 16
"""What ``/v1/completions`` generates when ``max_tokens`` is not sent."""

GUARDED_PREFIXES: Final = ("/v1", "/v2", "/inference", "/cohere")
"""All that ``--api-key`` guards; ``/invocations`` (a full completion) and ``/tokenize`` answer without a key."""

BEAM_IGNORES: Final = frozenset(
    {
        "allowed_token_ids", "bad_words", "frequency_penalty", "logit_bias", "min_p", "min_tokens", "presence_penalty",
        "repetition_penalty", "seed", "stop", "stop_token_ids", "top_k", "top_p",
    }
)  # fmt: skip
"""Fields that have no effect beside ``use_beam_search``; constraints of any spelling are dropped as well."""

RUNNING_METRIC: Final = "vllm:num_requests_running"
WAITING_METRIC: Final = "vllm:num_requests_waiting"
SIGNS_OF_LIFE: Final = (
    RUNNING_METRIC, WAITING_METRIC, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total", "vllm:iteration_tokens_total_count", "vllm:request_success_total",
)  # fmt: skip
"""Metrics that come from the engine: they move while it works, and stand still while it is frozen."""

# --- security --------------------------------------------------------------------------------------------------------

REFUSE_BELOW: Final[Version] = (0, 14, 1)
"""Releases before this one must not listen on an open network."""
WARN_BELOW: Final[Version] = (0, 31, 0)
"""Releases before this one have published security faults that were mended later."""


def exposure(version: Version) -> Literal["refuse", "warn", "fine"]:
    """Whether a server of this version may listen on an open network."""
    if version < REFUSE_BELOW:
        return "refuse"
    return "warn" if version < WARN_BELOW else "fine"


# --- version by version ----------------------------------------------------------------------------------------------


class VersionFacts(Struct, frozen=True, kw_only=True):
    """What one release does with what clients send."""

    version: Version
    recorded: bool
    """Seen on a running server; else read from the source of the release."""

    constraints: tuple[Spelling, ...]
    """Top-level spellings that constrain chats and text completions, the better one first; others are ignored.

    ``guided`` stands for ``guided_json|regex|choice|grammar``, ``structured_outputs`` for the object of that name.
    ``response_format`` with a JSON schema constrains chats in every version.
    """
    response_format_on_completions: bool
    """``response_format`` constrains text completions as well; else it is ignored there."""
    structural_tag: Treatment
    """``structural_tag`` inside ``structured_outputs``."""
    response_format_tags: tuple[Literal["format", "structures"], ...]
    """Forms of the ``response_format`` type ``structural_tag`` that are accepted: one ``format``, or ``structures``."""
    refuses_other_backend: bool
    """``guided_decoding_backend`` in a request is refused where it is not the server's own."""

    best_of: Treatment
    """``honoured`` by the V0 engine only; where such a release runs V1, it is refused."""
    beam_streams_completions: bool
    """A beam search streams on ``/v1/completions``, all in one event; else refused. Chats send one event a beam."""
    max_temperature: float | None
    chat_template: Treatment
    """A chat template in the request, on a server started without ``--trust-request-chat-template``."""
    priority: Treatment
    """``priority`` other than 0 on a server without priority scheduling."""
    logits_processors: Treatment
    thinking_token_budget: bool
    """The field is known (and refused without a reasoning parser); else it is ignored."""
    keeps_last_prompt_tokens: bool
    """``truncate_prompt_tokens: -1`` cuts a prompt to what fits; else it is refused."""

    load_inplace: bool
    """An adapter can be loaded over one of the same name; else that is refused."""
    protects_base_name: bool
    """An adapter with the name of the base model is refused; else it takes the base model's place."""

    reasoning_fields: tuple[Literal["reasoning", "reasoning_content"], ...]
    """Where answers carry the reasoning, the lasting name first."""
    sends_empty_tool_calls: bool
    """A message without tool calls has ``tool_calls: []``; else the key is missing."""
    cut_required_tool_call: Literal["error", "text"]
    """What comes of ``tool_choice: required`` when the length limit cuts the call."""
    error_body: Literal["top level", "nested"]
    """``{"object": "error", "message": ...}`` or ``{"error": {"message": ...}}``."""
    error_names_param: bool
    """Errors about a single value name its field in ``param``."""
    pooling_errors_in_200: bool
    """Embeddings, scores and reranking on a chat model answer 200 with an error as body; else 404."""

    endpoints: frozenset[str]
    """Which of `ENDPOINTS` a chat model's server has."""
    kv_usage_metric: str
    latency_metric: str
    """Histogram of the seconds between tokens."""


_BASIC_ENDPOINTS: Final = frozenset(
    {
        "/detokenize", "/health", "/invocations", "/load", "/metrics", "/ping", "/tokenize", "/v1/chat/completions",
        "/v1/completions", "/v1/models", "/version",
    }
)  # fmt: skip
_POOLING_ENDPOINTS: Final = frozenset({"/pooling", "/rerank", "/score", "/v1/embeddings", "/v1/rerank", "/v1/score"})
_RENDER_ENDPOINTS: Final = frozenset({"/v1/chat/completions/render", "/v1/completions/render"})


_V0_8_5 = VersionFacts(
    version=(0, 8, 5),
    recorded=True,
    constraints=("guided",),
    response_format_on_completions=False,
    structural_tag="ignored",
    response_format_tags=(),
    refuses_other_backend=False,
    best_of="honoured",
    beam_streams_completions=True,
    max_temperature=None,
    chat_template="honoured",
    priority="refused",
    logits_processors="refused",
    thinking_token_budget=False,
    keeps_last_prompt_tokens=False,
    load_inplace=False,
    protects_base_name=False,
    reasoning_fields=("reasoning_content",),
    sends_empty_tool_calls=True,
    cut_required_tool_call="error",
    error_body="top level",
    error_names_param=False,
    pooling_errors_in_200=True,
    endpoints=_BASIC_ENDPOINTS | _POOLING_ENDPOINTS,
    kv_usage_metric="vllm:gpu_cache_usage_perc",
    latency_metric="vllm:time_per_output_token_seconds",
)
_V0_9_2 = replace(_V0_8_5, version=(0, 9, 2), recorded=False, kv_usage_metric="vllm:kv_cache_usage_perc")
_V0_10_0 = replace(
    _V0_9_2,
    version=(0, 10, 0),
    best_of="refused",
    endpoints=_V0_9_2.endpoints | {"/classify", "/v1/responses"},
)
_V0_10_1 = replace(_V0_10_0, version=(0, 10, 1), error_body="nested")
_V0_10_2 = replace(
    _V0_10_1,
    version=(0, 10, 2),
    recorded=True,
    response_format_tags=("structures",),
    refuses_other_backend=True,
    priority="ignored",
    latency_metric="vllm:inter_token_latency_seconds",
)
_V0_11_0 = replace(
    _V0_10_2,
    version=(0, 11, 0),
    constraints=("structured_outputs", "guided"),
    structural_tag="refused",
    refuses_other_backend=False,
    chat_template="refused",
)
_V0_11_1 = replace(
    _V0_11_0,
    version=(0, 11, 1),
    recorded=False,
    response_format_on_completions=True,
    structural_tag="honoured",
    response_format_tags=("format", "structures"),
    reasoning_fields=("reasoning", "reasoning_content"),
    endpoints=_V0_11_0.endpoints | {"/inference/v1/generate", "/v1/messages"},
)
_V0_12_0 = replace(
    _V0_11_1,
    version=(0, 12, 0),
    recorded=True,
    constraints=("structured_outputs",),
    best_of="ignored",
    endpoints=_V0_11_1.endpoints | {"/adapters"},
)
_V0_13_0 = replace(_V0_12_0, version=(0, 13, 0))
_V0_15_0 = replace(
    _V0_13_0,
    version=(0, 15, 0),
    recorded=False,
    load_inplace=True,
    endpoints=_V0_13_0.endpoints | _RENDER_ENDPOINTS,
)
_V0_16_0 = replace(
    _V0_15_0,
    version=(0, 16, 0),
    recorded=True,
    keeps_last_prompt_tokens=True,
    reasoning_fields=("reasoning",),
    error_names_param=True,
    pooling_errors_in_200=False,
    endpoints=_V0_15_0.endpoints - _POOLING_ENDPOINTS - {"/classify"},
)
_V0_17_0 = replace(
    _V0_16_0,
    version=(0, 17, 0),
    recorded=False,
    logits_processors="ignored",
    endpoints=_V0_16_0.endpoints | {"/v1/messages/count_tokens"},
)
_V0_18_0 = replace(_V0_17_0, version=(0, 18, 0), beam_streams_completions=False)
_V0_19_0 = replace(
    _V0_18_0,
    version=(0, 19, 0),
    thinking_token_budget=True,
    endpoints=_V0_18_0.endpoints | {"/v1/chat/completions/batch"},
)
_V0_24_0 = replace(
    _V0_19_0,
    version=(0, 24, 0),
    recorded=True,
    max_temperature=2.0,
    sends_empty_tool_calls=False,
    cut_required_tool_call="text",
)
_V0_30_0 = replace(
    _V0_24_0,
    version=(0, 30, 0),
    recorded=False,
    endpoints=_V0_24_0.endpoints - _RENDER_ENDPOINTS - {"/inference/v1/generate"},  # behind --enable-scale-out
)
_V0_32_0 = replace(_V0_30_0, version=(0, 32, 0), recorded=True, protects_base_name=True)

FACTS: Final = (
    _V0_8_5, _V0_9_2, _V0_10_0, _V0_10_1, _V0_10_2, _V0_11_0, _V0_11_1, _V0_12_0, _V0_13_0, _V0_15_0, _V0_16_0,
    _V0_17_0, _V0_18_0, _V0_19_0, _V0_24_0, _V0_30_0, _V0_32_0,
)  # fmt: skip
"""Oldest first. A row holds until the next one."""
ENDPOINTS: Final = frozenset[str]().union(*(row.endpoints for row in FACTS))
"""The paths that the table keeps track of."""

_VERSION: Final = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", re.ASCII)
_UNTAGGED: Final = re.compile(r"v?0\.[01]\.dev", re.ASCII)
_PRERELEASE: Final = re.compile(r"(rc|dev|a\d|b\d)", re.ASCII)


def parse_version(text: str) -> Version | None:
    """Read what ``/version`` answers, such as ``0.11.0.post2`` or ``0.33.0rc1+cu130``.

    ``None`` if it is no version. ``0.1.dev1+g...`` is none either: a checkout without tags calls itself that, whatever
    it contains.
    """
    found = _VERSION.match(text.strip())
    if found is None or _UNTAGGED.match(text.strip()):
        return None
    major, minor, patch = found.groups(default="0")
    return int(major), int(minor), int(patch)


@lru_cache(maxsize=32)
def facts_for(version: str) -> tuple[VersionFacts, Match]:
    """The row that holds for a version, and how well it is known.

    ``exact`` is a release that was recorded; ``between`` one between recorded ones, or a pre-release; ``newer`` and
    ``older`` lie outside of the table and get its last or first row.

    Raises:
        ValueError: The text is no version; see `parse_version`.
    """
    parsed = parse_version(version)
    if parsed is None:
        raise ValueError(f"{version!r} is no version of vLLM")
    if parsed < FACTS[0].version:
        return FACTS[0], "older"
    row = next(row for row in reversed(FACTS) if row.version <= parsed)
    if parsed > FACTS[-1].version:
        return row, "newer"
    is_release = not _PRERELEASE.search(version.partition("+")[0])
    return row, "exact" if row.recorded and row.version == parsed and is_release else "between"
