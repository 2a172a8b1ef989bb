"""What fuzzing has found, an input each: all of these raised something that is no error of ours, or took seconds."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from abstractcore.deploy.causes import explain
from abstractcore.providers.emulation import unwrap
from abstractcore.server.watch import Watch
from abstractcore.transport.retry import RetryPolicy
from abstractcore.wire.call import Answer
from tests.fuzz import TARGETS
from tests.fuzz.files import HEADER

DEEP = b"[" * 100_000
BAD_UTF8 = b'{"a":"\xff"}'


def _answer(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop", **choice}]}).encode()


def _header(document: Any) -> bytes:
    text = json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text


LOGPROBS = {"content": [{"token": "a", "logprob": "x"}]}
INSPECTED = {"Config": {"Labels": []}, "HostConfig": {"PortBindings": {"stop": [{}]}}}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "{}"}], "stop_reason": ""}
REPEAT = {"type": "repeat", "content": {"type": "const_string", "value": "a"}, "min": "x", "max": 2}
DEPTH = b"(" * 3000 + b")" * 3000

FOUND = [
    ("openai-answer", _answer(logprobs=LOGPROBS), "ProviderAPIError"),
    ("openai-answer", _answer(finish_reason=""), "ProviderAPIError"),
    ("anthropic-answer", json.dumps(MESSAGE).encode(), "ProviderAPIError"),
    ("failure", b"\x00" + '{"error":{"code":"\u00b2\u00b2\u00b2"}}'.encode(), "answered"),
    ("failure", b'\x00{"detail":[{"loc":5,"msg":"x"}]}', "answered"),
    ("tool-calls", DEEP, "answered"),
    ("tool-calls", b'{"name":"f","arguments":"x"}', "answered"),
    ("message-answers", BAD_UTF8, "ProviderAPIError"),
    ("message-answers", DEEP, "ProviderAPIError"),
    ("response-answers", BAD_UTF8, "ProviderAPIError"),
    ("response-answers", DEEP, "ProviderAPIError"),
    ("count-answers", DEEP, "ProviderAPIError"),
    ("vector-answers", b'{"data":' + DEEP, "ProviderAPIError"),
    ("check-requests", b'{"guided_regex":"a","text":"\xff"}', "answered"),
    ("check-requests", b'{"guided_json":' + DEEP, "answered"),
    ("structural-tag", json.dumps({"format": REPEAT}).encode(), "InvalidConstraintError"),
    ("structural-tag", b'{"format":{"type":""}}', "answered"),
    ("unfinished", DEEP, "answered"),
    ("settings", b"a = " + b"9" * 5000, "ConfigurationError"),
    ("settings", b"a = " + DEEP, "ConfigurationError"),
    ("gateway-config", b"port = " + b"9" * 5000, "ConfigurationError"),
    ("gateway-config", b'[backends.a]\nbase_url = "http://[:p@h"\n', "answered"),
    ("recording", DEEP, "ConfigurationError"),
    ("deployment", BAD_UTF8, "ConfigurationError"),
    ("deployment", DEEP, "ConfigurationError"),
    ("startup-log", b"Model loading took ... GiB", "ConfigurationError"),
    ("startup-log", b"Model loading took 1 GiB\nnon-default args: {'enable_lora': 1, 'max_loras': []}", "answered"),
    ("startup-log", b"Model loading took 1 GiB\nnon-default args: {" + DEPTH + b"}", "answered"),
    ("quant-config", b"{", "ConfigurationError"),
    ("quant-config", DEEP, "ConfigurationError"),
    ("weights-index", b'{"weight_map":{"a":5}}', "ConfigurationError"),
    ("weights-index", b'{"weight_map":{"a":"' + b"9" * 5000 + b'"}}', "ConfigurationError"),
    ("weights-index", b'{"weight_map":{"a":"../../../etc/passwd"}}', "ConfigurationError"),
    ("safetensors", struct.pack("<Q", 100_000) + DEEP, "ConfigurationError"),
    ("adapter", _header("x"), "EngineError"),
    ("adapter", struct.pack("<Q", 100_000) + DEEP, "EngineError"),
    ("adapter", _header(json.loads(HEADER.replace(b"[8, 64]", b"[]"))), "answered"),
    ("adapter-config", b'{"peft_type":"LORA","r":8,"lora_alpha":"x"}', "EngineError"),
    ("adapter-config", b'{"peft_type":"LORA","r":false}', "EngineError"),
    ("checkpoint", DEEP, "EngineError"),
    ("checkpoint", b'{"text_config":"x"}', "answered"),
    ("inspect", json.dumps(INSPECTED).encode(), "DeployError"),
    ("inspect", b"Error: x", "DeployError"),
    ("inspect-image", b"[[]]", "DeployError"),
    ("info", b'{"ServerErrors":3}', "DeployError"),
    ("info", b"[WARN] {\n{}", "answered"),
    ("canary", b'{"health":200}', "answered"),
    ("canary", b'[[]]\n{"health":200,"status":200,"seconds":1}', "answered"),
    ("nvidia-smi", b"0, L4, 8.9, " + b"1" * 400 + b", 5", "answered"),
    ("gpus", b"2xNEW@" + b"9" * 400 + b"GiB/9.0", "ConfigurationError"),
    ("proxy", b"http://[\nhttp://h", "ConfigurationError"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "outcome"), FOUND, ids=range(len(FOUND)))
def test_what_was_a_fault_is_read_or_refused(name: str, data: bytes, outcome: str) -> None:
    assert TARGETS[name].outcome(data) == outcome


def test_measured_terms_of_another_kind_are_measured_anew() -> None:
    seeds = TARGETS["measured"].seeds()
    [known] = seeds
    assert TARGETS["measured"].outcome(known.replace(b'"weights":5', b'"weights":"x"')) == "answered"


@pytest.mark.parametrize("asked", ["-5", "-inf", "nan"])
def test_a_server_can_not_ask_for_a_wait_that_there_is_not(asked: str) -> None:
    assert (RetryPolicy().after_answer(1, Answer(503, {"retry-after": asked}, b"")) or 0.0) >= 0.0


def test_one_line_end_is_no_blank_line() -> None:
    data = b'data: {"choices":[{"index":0,\r\ndata: "finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n\r\n'
    watch = Watch()
    assert (watch.feed(data), watch.failure, watch.done) == (data, None, True)


def test_a_long_line_of_a_log_takes_no_time() -> None:
    assert explain("x" * 200_000) is None  # it took 150 s


def test_json_that_is_too_deep_to_be_read_back_is_kept() -> None:
    from abstractcore.constraint import Choice
    from abstractcore.providers.emulation import as_schema

    form = as_schema(Choice(["a"]), objects_only=True)
    assert form is not None
    assert unwrap(DEEP.decode(), form) == DEEP.decode()
