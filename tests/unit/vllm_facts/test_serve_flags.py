from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import ConfigurationError
from abstractcore.vllm_facts.serve_flags import REPLACED, check_flags, flag_names, flag_table, has_flag
from abstractcore.vllm_facts.sizing import SIZING

NEW = (0, 32, 0)
OLD = (0, 8, 5)


def refusal(version: tuple[int, int, int], *arguments: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        check_flags(version, arguments)
    return caught.value


def test_the_table_holds_what_vllm_was_seen_to_take() -> None:
    table = flag_table()
    assert table.releases[0] == OLD
    assert table.releases[-1] == NEW
    assert len(table.of(NEW)) > 400
    assert {"--model", "--host", "--port", "--dtype", "--enable-lora"} <= set.intersection(
        *(set(table.of(release)) for release in table.releases)
    )


@pytest.mark.parametrize(
    ("flag", "last", "way_on"),
    [
        ("--swap-space", "0.17.1", "--kv-offloading-size"),
        ("--guided-decoding-backend", "0.11.2", "--structured-outputs-config.backend"),
        ("--disable-log-requests", "0.16.0", "--enable-log-requests"),
        ("--device", "0.8.5", "leave it out"),
    ],
)
def test_a_removed_flag_is_refused_with_what_took_its_place(flag: str, last: str, way_on: str) -> None:
    error = refusal(NEW, flag, "4")
    assert error.message == f"vLLM 0.32.0 has no flag {flag}"
    assert error.why == f"the last release to have it was {last}"
    assert way_on in (error.hint or "")
    assert check_flags(OLD, [flag] if flag == "--disable-log-requests" else [flag, "4"]) == ()


@pytest.mark.parametrize("flag", REPLACED)
def test_what_is_said_to_be_gone_is_gone_and_what_is_advised_is_there(flag: str) -> None:
    table = flag_table()
    assert flag in table.flags
    assert flag not in table.of(NEW)
    for advised in re.findall(r"--[a-z-]+", REPLACED[flag]):
        assert advised in table.of(NEW), advised


def test_a_slip_of_the_pen_is_told_the_nearest_name() -> None:
    error = refusal(NEW, "--enable-auto-tool-choise")
    assert error.hint == "did you mean --enable-auto-tool-choice?"
    assert error.why == "no release that is known has it"


def test_a_flag_from_the_future_names_its_first_release() -> None:
    error = refusal(OLD, "--uds", "/x")
    assert error.why == "it came with 0.10.1"
    assert "later release" in (error.hint or "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max_model_len", "100"],  # underscores
        ["--max-model-len=100"],
        ["--compilation-config.level", "3"],  # a key inside of a JSON value
        ["--compilation-config", '{"level": 3}'],
        ["-tp", "2"],
        ["-O3"],
        ["-O", "3"],
        ["--seed", "-1"],
        ["--served-model-name", "a", "b", "c"],
        ["--no-enable-prefix-caching"],
        ["--enforce-eager", "--dtype", "half"],
        ["--chat-template", "{{ a }} -- $(touch x)"],
        [],
    ],
)
def test_what_vllm_reads_is_taken(arguments: list[str]) -> None:
    assert check_flags(NEW, arguments) == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--enforce-eager", "true"], "--enforce-eager takes no value"),
        (["--enforce-eager=true"], "--enforce-eager takes no value"),
        (["--dtype"], "--dtype needs a value"),
        (["--dtype", "--enforce-eager"], "--dtype needs a value"),
        (["--dtype", "half", "more"], "the argument 'more' belongs to no flag"),
        (["model"], "the argument 'model' belongs to no flag"),
        (["--"], "the argument '--' belongs to no flag"),
        (["--dtype;reboot", "half"], "vLLM 0.32.0 has no flag --dtype;reboot"),
    ],
)
def test_what_vllm_would_refuse_is_refused(arguments: list[str], message: str) -> None:
    assert refusal(NEW, *arguments).message == message


def test_between_two_releases_both_are_asked() -> None:
    assert check_flags((0, 12, 0), ["--dtype", "half"]) == ("the flags of 0.12.0 are taken from 0.11.2 and 0.13.0",)
    said = check_flags((0, 12, 0), ["--task", "generate"])
    assert said[1] == "--task is in 0.11.2, but not in its neighbour in the table"
    assert refusal((0, 12, 0), "--nonsense-at-all").message == "vLLM 0.12.0 has no flag --nonsense-at-all"
    assert not has_flag((0, 12, 0), "--task")


def test_a_newer_release_may_have_what_is_not_known() -> None:
    said = check_flags((0, 99, 0), ["--brand-new", "1"])
    assert said[0].startswith("the flags of 0.99.0 are not known")
    assert "--brand-new" in said[1]


def test_names_are_read_as_vllm_reads_them() -> None:
    assert flag_names(["--api_key=x", "--a.b_c", "-tp", "2", "-1", "word"]) == ["--api-key", "--a", "-tp"]


def test_each_release_that_is_planned_for_has_the_flags_of_a_plan() -> None:
    for row in SIZING:
        for flag in ("--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--tensor-parallel-size"):
            assert has_flag(row.version, flag)


@given(st.lists(st.text(max_size=12) | st.sampled_from(["--dtype", "--enforce-eager", "-O", "--model=x"]), max_size=5))
def test_any_words_are_taken_or_refused(words: list[str]) -> None:
    with suppress(ConfigurationError):
        check_flags(NEW, words)
