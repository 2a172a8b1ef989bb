"""GGUF files: what is read and written around llama.cpp. The real thing runs in tests/live/test_gguf.py."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.constraint import Regex
from abstractcore.errors import ConfigurationError, MissingExtraError, ModelNotFoundError, ProviderAPIError
from abstractcore.providers.local import gguf_grammar, small_gguf
from abstractcore.providers.local.engine import EngineError
from abstractcore.providers.local.gguf import GGUFProvider, is_gguf
from abstractcore.providers.local.signals import kept_handlers


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(path: Path, **entries: Any) -> Path:
    """A file that has a header and no weights."""
    parts = []
    for name, value in entries.items():
        key = text(name.replace("__", "."))
        if isinstance(value, str):
            parts.append(key + struct.pack("<I", 8) + text(value))
        elif isinstance(value, list):
            parts.append(key + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value)))
        else:
            parts.append(key + struct.pack("<II", 4, value))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(parts)) + b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("model", "expected"),
    [("x.gguf", True), ("/m/X.GGUF", True), ("local", True), ("org/name", False), (None, False)],
)
def test_which_models_are_gguf_files(model: str | None, *, expected: bool) -> None:
    assert is_gguf(model) is expected


def test_the_context_is_known_before_the_model_is_loaded(tmp_path: Path) -> None:
    path = gguf(
        tmp_path / "m.gguf",
        general__architecture="llama",
        general__tags=["a", "b"],
        llama__context_length=2048,
        tokenizer__tokens=["never read"],
    )
    info = GGUFProvider(str(path)).model_info()
    assert (info.context_length, info.root) == (2048, str(path))
    assert GGUFProvider(str(path), context_length=100).model_info().context_length == 100


def test_a_long_context_is_not_taken_unasked(tmp_path: Path) -> None:
    path = gguf(tmp_path / "m.gguf", general__architecture="llama", llama__context_length=131072)
    assert GGUFProvider(str(path)).model_info().context_length == 8192


def test_a_missing_file_is_a_missing_model_and_its_neighbours_are_named(tmp_path: Path) -> None:
    gguf(tmp_path / "other.gguf")
    with pytest.raises(ModelNotFoundError, match=r"its folder has: other\.gguf"):
        GGUFProvider(str(tmp_path / "m.gguf")).model_info()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\3\4", "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version is 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 5) + b"ab", "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**40), "a text of 1099511627776 bytes"),
        (b"GGUF", "no whole GGUF file"),
    ],
)
def test_a_file_that_is_no_gguf_is_said_to_be_none(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(ProviderAPIError, match=why):
        GGUFProvider(str(path)).model_info()


@pytest.mark.parametrize("option", ["context_length", "threads", "parallel"])
def test_numbers_that_make_no_sense_are_refused(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} must be at least 1"):
        GGUFProvider("m.gguf", **{option: 0})  # type: ignore[arg-type]


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    path = gguf(tmp_path / "m.gguf", general__architecture="llama")
    with pytest.raises((MissingExtraError, ConfigurationError)) as caught:
        GGUFProvider(str(path)).generate("Hi")
    assert 'abstractcore[local]"' in (caught.value.hint or "")


def test_the_small_model_is_listed_before_it_is_there() -> None:
    assert GGUFProvider("local").list_available_models() == ["local"]


def test_the_small_model_is_not_fetched_without_a_way_that_was_agreed_to() -> None:
    with pytest.raises(ConfigurationError, match="is not on this machine yet") as caught:
        small_gguf.find(None)
    assert "--yes" in (caught.value.hint or "")
    assert small_gguf.find(lambda: Path("/fetched")) == Path("/fetched")


def accepts(structured: dict[str, Any], answer: str) -> bool:
    """Whether the grammar that llama.cpp gets takes a text, by the engine that is inside it."""
    from llguidance import LLMatcher, LLTokenizer

    lark = gguf_grammar.write(structured).removeprefix("%llguidance {}\n")
    matcher = LLMatcher(LLTokenizer("byte"), LLMatcher.grammar_from_lark(lark), log_level=0)
    return bool(matcher.consume_tokens(list(answer.encode())) and matcher.is_accepting())


@pytest.mark.parametrize(
    ("structured", "good", "bad"),
    [
        ({"regex": r"[a-z]+/\d{3}"}, "abc/123", "abc123"),
        ({"regex": r"a\/b"}, "a/b", r"a\/b"),
        ({"regex": "a\nb"}, "a\nb", "a b"),
        ({"regex": r"[/\\]"}, "\\", "a"),
        ({"regex": ""}, "", "a"),
        ({"choice": ['say "no"', "é\n"]}, 'say "no"', "say no"),
        ({"choice": ['say "no"', "é\n"]}, "é\n", "é"),
        ({"json": {"type": "array", "items": {"type": "integer"}}}, "[1, 2]", '["a"]'),
        ({"json": {}}, '{"a": null}', "{a}"),
        ({"grammar": 'root ::= "yes" | "no"'}, "yes", "maybe"),
        ({"grammar": 'start: "yes" | "no"'}, "no", "maybe"),
        ({"grammar": '%llguidance {}\nstart: "yes"'}, "yes", "no"),
    ],
)
def test_a_constraint_means_the_same_as_a_grammar(structured: dict[str, Any], good: str, bad: str) -> None:
    assert accepts(structured, good)
    assert not accepts(structured, bad)


@given(
    st.text(st.sampled_from("ab/\\n. \n"), min_size=1, max_size=8), st.text(st.sampled_from("ab/\\n \n"), max_size=6)
)
def test_a_regex_written_as_a_grammar_is_the_same_regex(pattern: str, sample: str) -> None:
    try:
        re.compile(pattern)
        Regex(pattern).check()
    except Exception:  # noqa: BLE001 - only patterns that compile matter here
        return
    assert accepts({"regex": pattern}, sample) == Regex(pattern).prove(sample).holds


@pytest.mark.parametrize(
    "structured",
    [
        {"grammar": 'start: "a'},
        {"grammar": "start: nowhere"},
        {"json": {"type": "string", "pattern": "(?=a)"}},
        {"regex": "a("},
        {"lark": "x"},
        {},
        {"regex": "a", "json": {}},
    ],
)
def test_what_llama_cpp_would_ignore_is_refused(structured: dict[str, Any]) -> None:
    with pytest.raises(EngineError) as caught:
        gguf_grammar.write(structured)
    assert caught.value.status == 400


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_signal_handlers_that_foreign_code_replaces_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def handler(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with kept_handlers(signal.SIGUSR1):
            ctypes.CDLL(None).signal(int(signal.SIGUSR1), 1)  # SIG_IGN, where Python does not see it
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]
