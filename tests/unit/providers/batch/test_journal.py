"""A batch goes on where it ended: nothing is asked twice, lost, or mixed with another batch."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import RootModel, model_validator

from abstractcore.constraint import Regex
from abstractcore.errors import ConfigurationError
from abstractcore.providers import VLLMProvider
from abstractcore.providers.batch.journal import Journal, digest
from abstractcore.types import GenerateRequest
from tests.unit.providers.batch.conftest import FakeServer, until

PROMPTS = [f"p{i}" for i in range(20)]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def run(llm: VLLMProvider, file: Path, prompts: Any = PROMPTS, **options: Any) -> Any:
    return llm.generate_batch(prompts, resume=file, progress=False, concurrency=4, **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "batch.jsonl"


def test_each_item_gets_one_line(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    server.fail = lambda prompt: 400 if prompt == "p7" else None
    run(llm, file)
    found = {line["index"]: line for line in lines(file)}
    assert sorted(found) == list(range(20))
    assert len(lines(file)) == 20
    assert found[3]["response"]["content"] == "P3"
    assert found[3]["model"] == "m"
    assert found[7]["error"]["type"] == "InvalidRequestError"
    assert found[7]["error"]["status"] == 400
    assert "response" not in found[7]


def test_finished_items_are_not_asked_again_and_failed_ones_are(
    llm: VLLMProvider, server: FakeServer, file: Path
) -> None:
    server.fail = lambda prompt: 400 if prompt in ("p3", "p7") else None
    run(llm, file)
    server.prompts.clear()
    server.fail = lambda prompt: None
    result = run(llm, file)
    assert server.prompts == {"p3": 1, "p7": 1}
    assert [item.response.content for item in result] == [prompt.upper() for prompt in PROMPTS]
    assert [item.index for item in result if not item.resumed] == [3, 7]
    assert sorted(line["index"] for line in lines(file)) == list(range(20))
    assert result[0].response.usage.output_tokens == 3
    assert result.output_tokens == 6  # of this run


def test_a_finished_batch_asks_nothing(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    run(llm, file)
    before = file.read_bytes()
    server.prompts.clear()
    assert all(item.resumed for item in run(llm, file))
    assert not server.prompts
    assert file.read_bytes() == before


@settings(max_examples=30)
@given(cut=st.integers(min_value=0))
def test_cut_anywhere_it_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    server = FakeServer()
    llm = VLLMProvider("m", base_url="http://server.test/v1", async_transport=server)
    file = tmp_path_factory.mktemp("cut") / "batch.jsonl"
    run(llm, file, PROMPTS[:5])
    whole = file.read_bytes()
    file.write_bytes(whole[: cut % len(whole)])
    server.prompts.clear()
    result = run(llm, file, PROMPTS[:5])
    assert not result.failures
    assert sorted(line["index"] for line in lines(file)) == list(range(5))
    assert server.prompts.total() == 5 - sum(item.resumed for item in result)
    intact = whole[: cut % len(whole)].count(b"\n")
    assert sum(item.resumed for item in result) in (intact, intact + 1)  # without its line feed a line is still whole


async def test_interrupted_it_keeps_what_was_finished(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    server.hold.clear()
    for prompt in ("p1", "p2"):
        server.gates[prompt] = asyncio.Event()
        server.gates[prompt].set()
    running = asyncio.create_task(llm.agenerate_batch(PROMPTS, resume=file, progress=False, concurrency=4))
    await until(lambda: server.prompts.total() == 6)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(line["index"] for line in lines(file)) == [1, 2]
    server.hold.set()
    result = await llm.agenerate_batch(PROMPTS, resume=file, progress=False)
    assert [item.index for item in result if item.resumed] == [1, 2]
    assert not result.failures
    assert server.prompts["p1"] == server.prompts["p2"] == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"prompts": ["other", *PROMPTS[1:]]}, "item 0 had another prompt or other options"),
        ({"temperature": 0.5}, "item 0 had another prompt or other options"),
        ({"guided_regex": "P.*"}, "item 0 had another prompt or other options"),
        ({"model": "other"}, "item 0 had another prompt or other options"),
        ({"prompts": PROMPTS[:18]}, "it answers item 18, but there are fewer prompts"),
    ],
)
def test_the_file_of_another_batch_is_refused_and_left_as_it_is(
    llm: VLLMProvider, server: FakeServer, file: Path, change: dict[str, Any], why: str
) -> None:
    run(llm, file, PROMPTS[:19])
    with file.open("ab") as out:
        out.write(b'{"index":19,"dig')
    before = file.read_bytes()
    server.prompts.clear()
    with pytest.raises(ConfigurationError, match="is the file of another batch") as caught:
        run(llm, file, **change)
    assert caught.value.why == why
    assert not server.prompts
    assert file.read_bytes() == before


def test_another_model_of_the_provider_is_refused(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    run(llm, file)
    other = VLLMProvider("other", base_url="http://server.test/v1", async_transport=server)
    with pytest.raises(ConfigurationError) as caught:
        run(other, file)
    assert caught.value.why == "item 0 was asked of 'm', not of 'other'"


def test_more_prompts_than_before_are_just_more_to_do(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    run(llm, file, PROMPTS[:5])
    server.prompts.clear()
    assert len(run(llm, file)) == 20
    assert server.prompts.total() == 15


def test_a_time_limit_may_change_between_runs(llm: VLLMProvider, file: Path) -> None:
    run(llm, file, timeout=5)
    assert all(item.resumed for item in run(llm, file, timeout=50))


def test_instances_are_made_anew(llm: VLLMProvider, server: FakeServer, file: Path) -> None:
    class Word(RootModel[str]):
        pass

    class Picky(RootModel[str]):
        @model_validator(mode="after")
        def _picky(self) -> Picky:
            if self.root == "B":
                raise ValueError("not this one")
            return self

    prompts = ['"a"', '"b"', '"c"']
    first = run(llm, file, prompts, response_model=Word)
    assert [item.response.parsed for item in first] == [Word("A"), Word("B"), Word("C")]
    server.prompts.clear()
    again = run(llm, file, prompts, response_model=Word)
    assert [item.response.parsed for item in again] == [Word("A"), Word("B"), Word("C")]
    assert not server.prompts
    Picky.__name__ = Picky.__qualname__ = "Word"  # the same schema, which has the name in it
    third = run(llm, file, prompts, response_model=Picky, max_retries=0)
    assert [item.index for item in third if item.resumed] == [0, 2]
    assert [item.index for item in third.failures] == [1]


@pytest.mark.parametrize("content", [b"not json\n", b'{"a": 1}\n', b"notes", b'{"index":0,"digest":"x"}{}\n'])
def test_a_file_that_is_no_batch_is_refused(llm: VLLMProvider, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="line 1 is none of a batch's"):
        run(llm, file)
    assert file.read_bytes() == content


def test_a_file_in_use_is_refused(llm: VLLMProvider, file: Path) -> None:
    journal = Journal(file)
    with pytest.raises(ConfigurationError, match="another process is running the batch"):
        run(llm, file)
    journal.close()
    run(llm, file)


def test_a_place_that_can_t_be_written_is_refused(llm: VLLMProvider, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't open"):
        run(llm, tmp_path / "missing" / "file.jsonl")
    with pytest.raises(ConfigurationError, match="no regular file"):
        run(llm, Path("/dev/null"))


def test_equal_requests_have_equal_digests_and_others_do_not() -> None:
    def request(**options: Any) -> GenerateRequest:
        return GenerateRequest(messages=[{"role": "user", "content": "a"}], **options)

    assert digest(request(timeout=3.0)) == digest(request())
    assert digest(request(constraint=Regex("a"))) == digest(request(constraint=Regex("a")))
    different: list[dict[str, Any]] = [
        {},
        {"n": 2},
        {"constraint": Regex("a")},
        {"constraint": Regex("b")},
        {"sampling": {"seed": 1}},
    ]
    assert len({digest(request(**options)) for options in different}) == len(different)
    with pytest.raises(ConfigurationError, match="can't be resumed"):
        digest(request(options={"callback": object()}))
