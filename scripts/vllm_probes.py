"""What `record_vllm.py` asks a server: one table of named requests, in the order in which they are sent.

The server must serve a chat model without a tool or reasoning parser of its own under the name of `MODEL`, with
`--enable-lora` and `--enable-auto-tool-choice --tool-call-parser hermes`; `ADAPTERS` are paths on the server's side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

MODEL: Final = "smollm2"
KEY: Final = "k1"
"""The key of the server for the probes about keys."""
ADAPTERS: Final = ("./loras/tl-a", "./loras/tl-b")

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"

REGEX: Final = r"[0-9]{3}-[A-Z]{2}"
BROKEN_REGEX: Final = "[0-9"
SCHEMA: Final = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}
ENUM_SCHEMA: Final = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2]}},
    "required": ["n"],
    "additionalProperties": False,
}
GRAMMAR: Final = 'root ::= "yes" | "no"'
CHOICE: Final = ["alpha", "beta"]
HELLO_TAG: Final = {"type": "structural_tag", "format": {"type": "const_string", "value": "hello"}}
ASK: Final = [{"role": "user", "content": "Give me a number."}]
TOO_LONG: Final = [{"role": "user", "content": "hello " * 3000}]
TOOLS: Final = [{"type": "function", "function": {"name": "get_n", "description": "x", "parameters": SCHEMA}}]

LEFT_OUT: Final = ...
"""As the value of a field: the request doesn't have it."""


POOLING: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "embeddings": ("/v1/embeddings", {"model": MODEL, "input": ["hello", "world"]}),
    "score": ("/v1/score", {"model": MODEL, "text_1": "hello", "text_2": ["other", "hello"]}),
    "rerank": ("/v1/rerank", {"model": MODEL, "query": "hello", "documents": ["other", "hello"]}),
    "rerank top 1": ("/v1/rerank", {"model": MODEL, "query": "hello", "documents": ["other", "hello"], "top_n": 1}),
    "tokenize prompt": ("/tokenize", {"model": MODEL, "prompt": "hello world"}),
    "bad model": ("/v1/embeddings", {"model": "nope", "input": "hello"}),
    "too long": ("/v1/embeddings", {"model": MODEL, "input": "hello " * 3000}),
    "chat": (CHAT, {"model": MODEL, "messages": ASK}),
}
"""What is asked of a server that was started with `--runner pooling --convert embed`."""


@dataclass(frozen=True)
class Probe:
    """One request, and under which circumstances it may be sent."""

    name: str
    method: str
    path: str
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    needs_key: bool = False
    """Says something only about a server with a key; such probes carry their own Authorization header, or none."""
    hazard: str | None = None
    """Name of the hazard in `abstractcore.vllm_facts` that can't be seen without a regex compiler."""


def chat(**changes: Any) -> dict[str, Any]:
    """A chat request of 16 greedy tokens, changed as given."""
    body = {"model": MODEL, "messages": ASK, "max_tokens": 16, "temperature": 0, "seed": 1, **changes}
    return {name: value for name, value in body.items() if value is not LEFT_OUT}


def completion(**changes: Any) -> dict[str, Any]:
    """A text completion of 16 greedy tokens, changed as given."""
    body = {"model": MODEL, "prompt": "Give me a number: ", "max_tokens": 16, "temperature": 0, "seed": 1, **changes}
    return {name: value for name, value in body.items() if value is not LEFT_OUT}


def short_chat(**changes: Any) -> dict[str, Any]:
    """A chat request of 12 greedy tokens, changed as given."""
    return chat(**{"max_tokens": 12, "seed": LEFT_OUT, **changes})


def schema_format(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The `response_format` of a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **more}}


def named_tool(name: str) -> dict[str, Any]:
    """The `tool_choice` of one tool."""
    return {"type": "function", "function": {"name": name}}


def structured(**constraint: Any) -> dict[str, Any]:
    """The field `structured_outputs`."""
    return {"structured_outputs": constraint}


SERVICE: Final = (
    "/version", "/health", "/ping", "/v1/models", "/metrics", "/load", "/is_sleeping", "/tokenizer_info", "/is_paused",
    "/v1/lora_adapters", f"/v1/models/{MODEL}",
)  # fmt: skip

CONSTRAINTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "chat": (CHAT, chat()),
    "completion": (COMPLETIONS, completion()),
    "guided_regex": (CHAT, chat(guided_regex=REGEX)),
    "guided_json": (CHAT, chat(guided_json=SCHEMA)),
    "guided_choice": (CHAT, chat(guided_choice=CHOICE)),
    "guided_grammar": (CHAT, chat(guided_grammar=GRAMMAR)),
    "guided_regex+backend": (CHAT, chat(guided_regex=REGEX, guided_decoding_backend="outlines")),
    "guided_regex completions": (COMPLETIONS, completion(guided_regex=REGEX)),
    "so_regex": (CHAT, chat(**structured(regex=REGEX))),
    "so_json": (CHAT, chat(**structured(json=SCHEMA))),
    "so_choice": (CHAT, chat(**structured(choice=CHOICE))),
    "so_grammar": (CHAT, chat(**structured(grammar=GRAMMAR))),
    "so_json_object": (CHAT, chat(**structured(json_object=True), max_tokens=48)),
    "so_two": (CHAT, chat(**structured(regex=REGEX, choice=CHOICE))),
    "so_regex completions": (COMPLETIONS, completion(**structured(regex=REGEX))),
    "so+guided both": (CHAT, chat(**structured(choice=CHOICE), guided_regex=REGEX)),
    "guided_two": (CHAT, chat(guided_choice=CHOICE, guided_regex=REGEX)),
    "rf_json_schema": (CHAT, chat(response_format=schema_format(SCHEMA, strict=True))),
    "rf_json_object": (CHAT, chat(response_format={"type": "json_object"}, max_tokens=48)),
    "rf_text": (CHAT, chat(response_format={"type": "text"})),
    "rf_bogus": (CHAT, chat(response_format={"type": "bogus"})),
    "rf_regex": (CHAT, chat(response_format={"type": "regex", "pattern": REGEX})),
    "rf_json_schema completions": (COMPLETIONS, completion(response_format=schema_format(SCHEMA))),
    "extra_body nested guided": (CHAT, chat(extra_body={"guided_regex": REGEX})),
    "extra_body nested so": (CHAT, chat(extra_body=structured(regex=REGEX))),
    "unknown_field": (CHAT, chat(totally_unknown_field=1)),
    "unknown_field completions": (COMPLETIONS, completion(totally_unknown_field=1)),
    "dual regex": (CHAT, short_chat(guided_regex=REGEX, **structured(regex=REGEX))),
    "dual choice": (CHAT, short_chat(guided_choice=CHOICE, **structured(choice=CHOICE))),
    "dual grammar": (CHAT, short_chat(guided_grammar=GRAMMAR, **structured(grammar=GRAMMAR))),
    "dual json": (
        CHAT,
        short_chat(guided_json=ENUM_SCHEMA, **structured(json=ENUM_SCHEMA, disable_any_whitespace=True)),
    ),
    "dual regex comp": (
        COMPLETIONS,
        completion(prompt="x", max_tokens=12, seed=LEFT_OUT, guided_regex=REGEX, **structured(regex=REGEX)),
    ),
    "rf+so same json": (CHAT, short_chat(response_format=schema_format(ENUM_SCHEMA), **structured(json=ENUM_SCHEMA))),
    "rf+so choice conflict": (
        CHAT,
        short_chat(response_format=schema_format(ENUM_SCHEMA), **structured(choice=CHOICE)),
    ),
    "rf+guided_regex": (CHAT, short_chat(response_format=schema_format(ENUM_SCHEMA), guided_regex=REGEX)),
    "type guided_regex=[1]": (CHAT, short_chat(guided_regex=[1])),
    "type so={regex:[1]}": (CHAT, short_chat(**structured(regex=[1]))),
    'type use_beam="x"': (CHAT, short_chat(use_beam_search="maybe")),
    'type best_of="x"': (CHAT, short_chat(best_of="x")),
}

SEARCH: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "beam": (CHAT, chat(use_beam_search=True, n=2)),
    "beam n=1": (CHAT, chat(use_beam_search=True)),
    "beam n=4 lp": (CHAT, chat(use_beam_search=True, n=4, length_penalty=0.5)),
    "beam stream": (CHAT, chat(use_beam_search=True, n=2, stream=True)),
    "beam completions": (COMPLETIONS, completion(use_beam_search=True, n=2)),
    "beam comp stream": (COMPLETIONS, completion(use_beam_search=True, n=2, stream=True)),
    "beam+regex": (CHAT, chat(use_beam_search=True, n=2, **structured(regex=REGEX), guided_regex=REGEX)),
    "beam temp none": (CHAT, chat(use_beam_search=True, n=2, temperature=LEFT_OUT)),
    "beam+best_of": (CHAT, chat(use_beam_search=True, best_of=3)),
    "beam n=20": (CHAT, chat(use_beam_search=True, n=20)),
    "beam+logprobs": (CHAT, chat(use_beam_search=True, n=2, logprobs=True, top_logprobs=1)),
    "beam+stop": (CHAT, short_chat(use_beam_search=True, n=2, stop=["-"])),
    "beam+rf": (CHAT, short_chat(use_beam_search=True, n=2, response_format=schema_format(ENUM_SCHEMA))),
    "best_of": (CHAT, chat(best_of=3, temperature=0.8)),
    "best_of completions": (COMPLETIONS, completion(best_of=3, n=1, temperature=0.8)),
    "best_of<n completions": (COMPLETIONS, completion(best_of=1, n=2, temperature=0.8)),
    "n=2": (CHAT, chat(n=2, temperature=0.8)),
    "n=2 greedy": (CHAT, chat(n=2)),
    "n=0": (CHAT, chat(n=0)),
    "n=2 stream": (CHAT, short_chat(n=2, temperature=1.0, stream=True, max_tokens=2)),
}

LOAD: Final = "/v1/load_lora_adapter"
UNLOAD: Final = "/v1/unload_lora_adapter"
ADAPTER: Final = {"lora_name": "sqlx", "lora_path": ADAPTERS[0]}
OTHER_PATH: Final = {"lora_name": "sqlx", "lora_path": ADAPTERS[1]}
LORA: Final[dict[str, tuple[str, dict[str, Any] | None]]] = {
    "lora load": (LOAD, ADAPTER),
    "lora models": ("/v1/models", None),
    "lora chat": (CHAT, chat(model="sqlx")),
    "lora load dup": (LOAD, ADAPTER),
    "lora load_inplace": (LOAD, {**OTHER_PATH, "load_inplace": True}),
    "lora load nopath": (LOAD, {"lora_name": "x"}),
    "lora load badpath": (LOAD, {"lora_name": "x", "lora_path": "/nope"}),
    "lora list after": ("/v1/models", None),
    "lora unload": (UNLOAD, {"lora_name": "sqlx"}),
    "lora unload again": (UNLOAD, {"lora_name": "sqlx"}),
    "lora unload base": (UNLOAD, {"lora_name": MODEL}),
    "lora chat after": (CHAT, chat(model="sqlx")),
}

ENDPOINTS: Final[dict[str, tuple[str, dict[str, Any] | None]]] = {
    "tokenize prompt": ("/tokenize", {"model": MODEL, "prompt": "hello world"}),
    "tokenize chat": ("/tokenize", {"model": MODEL, "messages": ASK}),
    "tokenize strs": ("/tokenize", {"model": MODEL, "prompt": "hello", "return_token_strs": True}),
    "detokenize": ("/detokenize", {"model": MODEL, "tokens": [28120, 905]}),
    "v1 tokenize": ("/v1/tokenize", {"model": MODEL, "prompt": "x"}),
    "embeddings": ("/v1/embeddings", {"model": MODEL, "input": "x"}),
    "score": ("/v1/score", {"model": MODEL, "text_1": "a", "text_2": "b"}),
    "score0": ("/score", {"model": MODEL, "text_1": "a", "text_2": "b"}),
    "rerank": ("/rerank", {"model": MODEL, "query": "a", "documents": ["b"]}),
    "v1 rerank": ("/v1/rerank", {"model": MODEL, "query": "a", "documents": ["b"]}),
    "pooling": ("/pooling", {"model": MODEL, "input": "x"}),
    "classify": ("/classify", {"model": MODEL, "input": "x"}),
    "responses": ("/v1/responses", {"model": MODEL, "input": "hi", "max_output_tokens": 8}),
    "responses stream": ("/v1/responses", {"model": MODEL, "input": "hi", "max_output_tokens": 4, "stream": True}),
    "responses json_schema": (
        "/v1/responses",
        {
            "model": MODEL,
            "input": "hi",
            "max_output_tokens": 16,
            "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        },
    ),
    "messages": ("/v1/messages", {"model": MODEL, "max_tokens": 8, "messages": ASK}),
    "messages count": ("/v1/messages/count_tokens", {"model": MODEL, "messages": ASK}),
    "chat batch": (f"{CHAT}/batch", {"model": MODEL, "messages": [ASK, ASK], "max_tokens": 4}),
    "chat render": (f"{CHAT}/render", chat()),
    "comp render": (f"{COMPLETIONS}/render", completion()),
    "generate tokens": (
        "/inference/v1/generate",
        {"model": MODEL, "token_ids": [1, 2, 3], "sampling_params": {"max_tokens": 2}},
    ),
    "invocations": ("/invocations", chat(max_tokens=2)),
    "abort_requests": ("/abort_requests", {"request_ids": ["x"]}),
    "reset_prefix_cache": ("/reset_prefix_cache", None),
}

USAGE: Final = {"include_usage": True}
STREAMS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "stream plain": (CHAT, chat(stream=True, max_tokens=3)),
    "stream include_usage": (CHAT, chat(stream=True, max_tokens=3, stream_options=USAGE)),
    "stream continuous": (
        CHAT,
        chat(stream=True, max_tokens=3, stream_options={**USAGE, "continuous_usage_stats": True}),
    ),
    "stream_options w/o stream": (CHAT, chat(stream_options=USAGE)),
    "stream completions usage": (COMPLETIONS, completion(stream=True, max_tokens=3, stream_options=USAGE)),
    "stream bad model": (CHAT, short_chat(model="zz", stream=True)),
    "stream too long": (CHAT, short_chat(messages=TOO_LONG, stream=True)),
}

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "max_completion_tokens": {"max_tokens": LEFT_OUT, "max_completion_tokens": 3},
    "both max": {"max_tokens": 7, "max_completion_tokens": 3},
    "max_tokens too big": {"max_tokens": 100000},
    "max_tokens 0": {"max_tokens": 0},
    "max_tokens -1": {"max_tokens": -1},
    "prompt too long chat": {"messages": TOO_LONG},
    "truncate_prompt_tokens": {"messages": TOO_LONG, "truncate_prompt_tokens": 20},
    "truncate_prompt_tokens -1": {"messages": TOO_LONG, "truncate_prompt_tokens": -1},
    "chat_template_kwargs": {"chat_template_kwargs": {"enable_thinking": False}},
    "chat_template": {"chat_template": "{{ messages[0].content }}"},
    "priority": {"priority": 5},
    "priority0": {"priority": 0},
    "logprobs": {"logprobs": True, "top_logprobs": 2, "max_tokens": 2},
    "top_logprobs only": {"top_logprobs": 2, "max_tokens": 2},
    "top_logprobs 50": {"logprobs": True, "top_logprobs": 50, "max_tokens": 2},
    "prompt_logprobs": {"prompt_logprobs": 1, "max_tokens": 2},
    "echo chat": {"echo": True, "max_tokens": 2},
    "min_tokens": {"min_tokens": 5, "max_tokens": 8, "stop_token_ids": [905]},
    "min>max": {"min_tokens": 20, "max_tokens": 8},
    "stop_token_ids": {"stop_token_ids": [28, 198], "include_stop_str_in_output": True},
    "stop": {"stop": ["the"]},
    "temperature -1": {"temperature": -1},
    "temperature 5": {"temperature": 5, "max_tokens": 2},
    "top_p 0": {"top_p": 0},
    "top_k": {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "temperature": 0.5, "max_tokens": 2},
    "bad_words": {"bad_words": ["I"]},
    "logit_bias": {"logit_bias": {"28": -100}, "max_tokens": 3},
    "allowed_token_ids": {"allowed_token_ids": [28, 198], "max_tokens": 3},
    "seed": {"seed": 5, "temperature": 1.0},
    "user": {"user": "u", "max_tokens": 2},
    "return_token_ids": {"return_token_ids": True, "max_tokens": 2},
    "return_tokens_as_token_ids": {"return_tokens_as_token_ids": True, "logprobs": True, "max_tokens": 2},
    "ignore_eos": {"ignore_eos": True, "max_tokens": 2},
    "cache_salt": {"cache_salt": "abc", "max_tokens": 2},
    "add_generation_prompt+continue_final": {
        "continue_final_message": True,
        "add_generation_prompt": False,
        "messages": [*ASK, {"role": "assistant", "content": "The number is"}],
        "max_tokens": 3,
    },
    "reasoning_effort": {"reasoning_effort": "low", "max_tokens": 2},
    "include_reasoning": {"include_reasoning": False, "max_tokens": 2},
    "thinking_token_budget": {"thinking_token_budget": 5, "max_tokens": 2},
    "vllm_xargs": {"vllm_xargs": {"a": 1}, "max_tokens": 2},
    "kv_transfer_params": {"kv_transfer_params": {}, "max_tokens": 2},
    "mm_processor_kwargs": {"mm_processor_kwargs": {}, "max_tokens": 2},
    "documents": {"documents": [{"title": "a", "text": "b"}], "max_tokens": 2},
    "service_tier": {"service_tier": "auto", "max_tokens": 2},
    "store/metadata": {"store": True, "metadata": {"a": "b"}, "max_tokens": 2},
    "repetition_detection": {
        "repetition_detection": {"max_pattern_size": 4, "min_pattern_size": 1, "min_count": 3},
        "max_tokens": 2,
    },
    "logits_processors": {"logits_processors": ["x.y"], "max_tokens": 2},
}

TOOL_CALLS: Final[dict[str, dict[str, Any]]] = {
    "tool_choice auto": {"tools": TOOLS, "tool_choice": "auto", "max_tokens": 64},
    "tool_choice required": {"tools": TOOLS, "tool_choice": "required", "max_tokens": 64},
    "tool_choice none": {"tools": TOOLS, "tool_choice": "none", "max_tokens": 64},
    "tool_choice get_n": {"tools": TOOLS, "tool_choice": named_tool("get_n"), "max_tokens": 64},
    "tool_choice nope": {"tools": TOOLS, "tool_choice": named_tool("nope"), "max_tokens": 64},
    "tool_choice required stream": {"tools": TOOLS, "tool_choice": "required", "max_tokens": 64, "stream": True},
    "tool_choice named stream": {"tools": TOOLS, "tool_choice": named_tool("get_n"), "max_tokens": 64, "stream": True},
    "tools no choice": {"tools": TOOLS, "max_tokens": 8},
    "tool_choice w/o tools": {"tool_choice": "auto", "max_tokens": 4},
    "tool_choice req w/o tools": {"tool_choice": "required", "max_tokens": 4},
    "parallel_tool_calls": {
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 64,
    },
    "tools empty": {"tools": [], "max_tokens": 4},
    "tools+so": {
        "tools": TOOLS,
        "tool_choice": "auto",
        **structured(choice=CHOICE),
        "guided_choice": CHOICE,
        "max_tokens": 8,
    },
}

CALL: Final = {"id": "c1", "type": "function", "function": {"name": "get_n", "arguments": '{"n":1}'}}
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
HI: Final = {"type": "text", "text": "hi"}
MESSAGES: Final[dict[str, list[dict[str, Any]]]] = {
    "tool msg": [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ],
    "assistant reasoning_content in": [
        *ASK,
        {"role": "assistant", "content": "a", "reasoning_content": "b", "reasoning": "c"},
        *ASK,
    ],
    "developer role": [{"role": "developer", "content": "x"}, *ASK],
    "content parts": [{"role": "user", "content": [HI]}],
    "image part": [{"role": "user", "content": [HI, PICTURE]}],
}

TEXT_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "max_tokens none": {"prompt": "hi", "max_tokens": LEFT_OUT, "seed": LEFT_OUT},
    "prompt too long": {"prompt": "hello " * 3000},
    "echo comp": {"echo": True, "max_tokens": 2},
    "comp logprobs": {"logprobs": 2, "max_tokens": 2},
    "prompt ids": {"prompt": [1, 2, 3], "max_tokens": 2},
    "prompt list": {"prompt": ["a", "b"], "max_tokens": 2},
    "suffix": {"suffix": "x"},
}

ERRORS: Final[dict[str, dict[str, Any]]] = {
    "no model": {"messages": ASK, "max_tokens": 2},
    "bad model": chat(model="nope"),
    "no messages": {"model": MODEL},
    "empty messages": chat(messages=[]),
    "bad type": chat(temperature="hot"),
    "request_id body": chat(max_tokens=2, request_id="rid7"),
    "dup request id": chat(max_tokens=2, request_id="rid7"),
}

RISKY: Final[dict[str, dict[str, Any]]] = {
    "so_structural_tag": structured(structural_tag=json.dumps(HELLO_TAG)),
    "so_empty": {"structured_outputs": {}},
    "so_unknown_key": structured(bogus=1),
    "so_bad_regex": structured(regex=BROKEN_REGEX),
    "so_bad_grammar": structured(grammar="root ::= ("),
    "so_bad_json": structured(json={"type": "bogus"}),
    "so_string_value": {"structured_outputs": "x"},
    "guided_bad_regex": {"guided_regex": BROKEN_REGEX},
    "rf_structural_tag_new": {"response_format": HELLO_TAG},
    "rf_structural_tag_old": {
        "response_format": {
            "type": "structural_tag",
            "structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}],
            "triggers": ["<f>"],
        }
    },
}
"""Chat requests that some server might not survive: they come near the end."""

TAKEOVER: Final[dict[str, tuple[str, dict[str, Any] | None]]] = {
    "base chat": (CHAT, short_chat()),
    "lora load basename": (LOAD, {"lora_name": MODEL, "lora_path": ADAPTERS[0]}),
    "chat after base-named": (CHAT, short_chat()),
    "models": ("/v1/models", None),
    "unload base-named": (UNLOAD, {"lora_name": MODEL}),
    "chat after unload": (CHAT, short_chat()),
}
"""An adapter with the name of the base model; where it is taken, all later answers are the adapter's: last of all."""


def probes() -> Iterator[Probe]:
    """All probes, in the order in which they are sent."""
    for path in SERVICE:
        yield Probe(f"GET {path}", "GET", path)
    yield Probe("POST /ping", "POST", "/ping")
    for table in (CONSTRAINTS, SEARCH, LORA, ENDPOINTS, STREAMS):
        yield from _posts(table)
    yield from _posts({name: (CHAT, chat(**fields)) for name, fields in (FIELDS | TOOL_CALLS).items()})
    yield from _posts({name: (COMPLETIONS, completion(**fields)) for name, fields in TEXT_FIELDS.items()})
    yield from _posts({name: (CHAT, chat(messages=messages, max_tokens=3)) for name, messages in MESSAGES.items()})
    yield from _posts({name: (CHAT, body) for name, body in ERRORS.items()})
    yield Probe("404", "GET", "/v1/nope")
    yield Probe("405", "GET", CHAT)
    yield Probe("bad json", "POST", CHAT, "{bad json")
    yield Probe("x-request-id", "POST", CHAT, json.dumps(chat(max_tokens=2)), {"x-request-id": "my-id-1"})
    yield from _key_probes()
    yield from _sleep_probes()
    yield from _posts({name: (CHAT, chat(**fields)) for name, fields in RISKY.items()})
    yield from _posts(TAKEOVER)


def _posts(table: dict[str, Any]) -> Iterator[Probe]:
    for name, (path, body) in table.items():
        method = "GET" if path == "/v1/models" else "POST"
        hazard = "broken regex" if name == "guided_bad_regex" else None
        yield Probe(name, method, path, None if body is None else json.dumps(body), hazard=hazard)


def _key_probes() -> Iterator[Probe]:
    for path in ("/version", "/health", "/v1/models", "/is_sleeping"):
        yield Probe(f"nokey {path}", "GET", path, needs_key=True)
    asked = json.dumps(short_chat())
    yield Probe("nokey chat", "POST", CHAT, asked, needs_key=True)
    yield Probe("badkey chat", "POST", CHAT, asked, {"authorization": "Bearer zz"}, needs_key=True)
    yield Probe("nokey tokenize", "POST", "/tokenize", json.dumps({"model": MODEL, "prompt": "a"}), needs_key=True)
    yield Probe("nokey invocations", "POST", "/invocations", json.dumps(short_chat(max_tokens=1)), needs_key=True)


def _sleep_probes() -> Iterator[Probe]:
    yield Probe("S /sleep?level=1", "POST", "/sleep?level=1")
    yield Probe("S /is_sleeping", "GET", "/is_sleeping")
    yield Probe("S /wake_up", "POST", "/wake_up")
    yield Probe("S /is_sleeping 2", "GET", "/is_sleeping")
    yield Probe("chat after", "POST", CHAT, json.dumps(chat(max_tokens=2)))
    yield Probe("GET /metrics 2", "GET", "/metrics")
    yield Probe("GET /health 2", "GET", "/health")
