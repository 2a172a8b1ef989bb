"""GGUF files by a real llama.cpp in this process."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from abstractcore import (
    ContextLengthError,
    ModelNotFoundError,
    ProviderAPIError,
    UnsupportedFeatureError,
    create_llm,
)
from abstractcore.capability import Capability, Support, support
from abstractcore.deploy import small_model
from abstractcore.providers.local.async_transport import AsyncEngineTransport
from abstractcore.providers.local.gguf import GGUFProvider
from abstractcore.providers.local.transport import EngineTransport
from abstractcore.settings import cache_dir
from tests.contract.cases import CASES
from tests.contract.target import Target
from tests.live import in_process
from tests.live.conftest import Shown

SEEDS_REGEX = r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+"


@pytest.fixture(scope="module")
def gguf(show: Shown) -> Path:
    with show() as report:
        return small_model.ensure_gguf(small_model.SMOLLM2, cache_dir(), report)


@pytest.fixture(scope="module")
def llm(gguf: Path) -> Iterator[GGUFProvider]:
    with create_llm("huggingface", model=str(gguf), context_length=2048, temperature=0) as provider:
        assert isinstance(provider, GGUFProvider)
        yield provider


class GgufTarget(Target):
    """Can what the row of this engine says."""

    def can(self, capability: Capability) -> bool:
        return support("gguf", capability) is not Support.UNSUPPORTED


@pytest.fixture(scope="module")
def engine(gguf: Path) -> Iterator[GGUFProvider]:
    """Holds the model in memory from one case to the next."""
    with GGUFProvider(str(gguf), context_length=512) as provider:
        provider.wait_until_ready(120)
        yield provider


@pytest.fixture
def target(engine: GGUFProvider) -> Target:
    def make(model: str, **options: Any) -> GGUFProvider:
        return GGUFProvider(model, context_length=512, **options)

    def transports() -> Mapping[str, Any]:
        lease = make(name)._lease
        return {"transport": EngineTransport(lease), "async_transport": AsyncEngineTransport(lease)}

    name = str(engine.model)
    return GgufTarget("huggingface", name, make, transports, name, 512, bad={"temperature": "hot"})


LACKS = {
    "nothing_answers": "a model in this process is always reached",
    "response_model": "its schema leaves the object open, and the small model adds to it for ever; see below",
}


@pytest.mark.parametrize("case", [case for case in CASES if case not in LACKS])
def test_contract(case: str, target: Target) -> None:
    outcome = CASES[case](target)
    if inspect.isawaitable(outcome):
        asyncio.run(_awaited(outcome))


async def _awaited(outcome: Any) -> None:
    await outcome


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_local_is_the_small_model(gguf: Path) -> None:
    with create_llm("huggingface", model="local", max_output_tokens=8) as llm:
        assert llm.model_info().root == str(gguf)
        assert llm.generate("What is the capital of France?").content.strip()


def test_the_context_that_is_named_is_the_one_in_force(llm: GGUFProvider) -> None:
    assert llm.model_info().context_length == 2048
    with pytest.raises(ContextLengthError, match=r"exceeds the available context size \(2048 tokens\)"):
        llm.generate("word " * 2100)


@pytest.mark.parametrize(
    "constraint",
    [
        {"guided_json": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3}},
        {"guided_regex": r"[a-z]{3,8}/\d{2}"},
        {"guided_choice": ['say "no"', "é"]},
        {"guided_grammar": 'root ::= "yes" | "no"'},
        {"guided_grammar": 'start: "maybe" | "never"'},
        {"guided_regex": SEEDS_REGEX, "on_cut": "trim", "raw_prompt": True, "max_output_tokens": 100},
    ],
    ids=["json", "regex", "choice", "gbnf", "lark", "seed's regex"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_kind_of_constraint_is_kept(llm: GGUFProvider, constraint: dict[str, Any], *, stream: bool) -> None:
    asked = {"max_output_tokens": 80, **constraint}
    prompt = "Some Python:\n\n" if constraint.get("raw_prompt") else "Name a colour."
    last = list(llm.generate(prompt, stream=True, **asked))[-1] if stream else llm.generate(prompt, **asked)
    assert last.metadata["constraint"]["proved"] is True


def test_a_schema_that_the_engine_can_not_hold_to_is_refused(llm: GGUFProvider) -> None:
    with pytest.raises(UnsupportedFeatureError, match="look-around"):
        llm.generate("x", guided_json={"type": "string", "pattern": "^(?=a)"})


def test_a_response_model_gives_its_instance(llm: GGUFProvider) -> None:
    class Person(BaseModel):
        name: str
        age: int

    assert isinstance(llm.generate("Ada is 36 years old.", response_model=Person, max_output_tokens=120), Person)


def test_a_seed_gives_the_same_answer_with_and_without_a_prompt_in_the_cache(llm: GGUFProvider) -> None:
    asked: dict[str, Any] = {"seed": 7, "temperature": 1.2, "max_output_tokens": 24}
    first = llm.generate("Tell a story.", **asked).content
    assert llm.generate("Tell a story.", **asked).content == first
    assert llm.generate("Tell a story.", **{**asked, "seed": 8}).content != first


def test_several_answers_differ_and_are_counted(llm: GGUFProvider) -> None:
    answer = llm.generate("Tell a story.", n=3, temperature=1.2, seed=1, max_output_tokens=12)
    texts = {answer.content, *(other.content for other in answer.alternatives)}
    assert len(texts) == 3
    assert answer.output_tokens == 36


def test_logprobs_of_chats_and_of_raw_prompts(llm: GGUFProvider) -> None:
    for raw in (False, True):
        answer = llm.generate("The capital of France is", raw_prompt=raw, logprobs=2, max_output_tokens=3)
        assert answer.logprobs is not None
        assert "".join(token.token for token in answer.logprobs) == answer.content
        assert all(len(token.top) == 2 and token.logprob <= 0 for token in answer.logprobs)


def test_tokens_are_counted_as_they_are_read(llm: GGUFProvider) -> None:
    asked = {"system_prompt": "Be brief.", "messages": [{"role": "user", "content": "I am Ada."}]}
    counted = llm.count_tokens("Who am I?", **asked)  # type: ignore[arg-type]
    assert llm.generate("Who am I?", max_output_tokens=1, **asked).input_tokens == counted  # type: ignore[call-overload]
    assert llm.detokenize(llm.tokenize("Grüße, Ada!")) == "Grüße, Ada!"


def test_embeddings_of_near_texts_are_nearer(llm: GGUFProvider) -> None:
    cat, kitten, physics = llm.embed(["a cat", "a kitten", "quantum physics"])
    near = sum(a * b for a, b in zip(cat, kitten, strict=True))
    far = sum(a * b for a, b in zip(cat, physics, strict=True))
    assert near > far


def test_tools_are_refused_since_nothing_holds_the_model_to_them(llm: GGUFProvider) -> None:
    def weather(city: str) -> str:
        """The weather in a city."""
        return city

    with pytest.raises(UnsupportedFeatureError, match="tools"):
        llm.generate("The weather in Paris?", tools=[weather])


def test_a_stream_that_is_left_stops_the_model(llm: GGUFProvider) -> None:
    with llm.generate("Tell a very long story.", stream=True) as stream:
        next(stream)
    began = time.process_time()
    llm.generate("Hi", max_output_tokens=1)
    assert time.process_time() - began < 5  # the story would take a minute


async def test_the_event_loop_runs_while_it_generates(llm: GGUFProvider) -> None:
    ticks = 0
    task = asyncio.create_task(llm.agenerate("Tell a story.", max_output_tokens=40))
    while not task.done():
        await asyncio.sleep(0.005)
        ticks += 1
    assert (await task).output_tokens == 40
    assert ticks > 10


def test_several_requests_at_once(gguf: Path) -> None:
    with GGUFProvider(str(gguf), context_length=512, parallel=3) as llm:
        done = llm.generate_batch([f"Count to {n}." for n in range(6)], max_output_tokens=8, concurrency=3)
        assert all(item.response and item.response.output_tokens for item in done.items)
        assert sum(thread.name.startswith("engine-") for thread in threading.enumerate()) >= 3


def test_memory_comes_back(gguf: Path) -> None:
    with GGUFProvider(str(gguf), context_length=4096) as llm:
        llm.generate("Hi", max_output_tokens=1)
        held = memory()
    assert memory() < held - 50e6


def test_a_missing_file_and_one_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        create_llm("huggingface", model=str(tmp_path / "nowhere.gguf")).generate("Hi")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF")
    with pytest.raises(ProviderAPIError, match="no whole GGUF file"):
        create_llm("huggingface", model=str(tmp_path / "cut.gguf")).generate("Hi")


def test_a_file_that_ends_within_its_weights(gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(gguf.read_bytes()[:40_000_000])
    with pytest.raises(ProviderAPIError, match="can't load"):
        create_llm("huggingface", model=str(tmp_path / "half.gguf")).generate("Hi")


PROGRAM = """
import os, signal, sys, threading
from abstractcore import create_llm

llm = create_llm("huggingface", model=sys.argv[1])
llm.generate("Hi", max_output_tokens=1)
listening = [line for line in open("/proc/net/tcp").read().splitlines()[1:] if line.split()[3] == "0A"]
inodes = {line.split()[9] for line in listening}
links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
own = {os.readlink(link)[8:-1] for link in links if os.path.islink(link)}
print("ports", len(inodes & own), flush=True)
press = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
try:
    for chunk in llm.generate("Tell a very long story.", stream=True, temperature=0):  # hundreds of tokens
        if not press.ident:
            press.start()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_no_port_is_opened_ctrl_c_works_and_the_program_ends(gguf: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(gguf)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split("\n")[:2]) == (0, ["ports 0", "interrupted"]), done.stderr


def test_the_command_line_answers_without_a_server(gguf: Path) -> None:
    argv = [sys.executable, "-m", "abstractcore", "--local", "Is the sky blue?", "--guided-choice", "yes"]
    done = subprocess.run(
        [*argv, "--guided-choice", "no"], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"yes", "no"}
    assert "proved: choice" in done.stderr


def test_sigterm_still_ends_the_program(gguf: Path) -> None:
    program = (
        "import sys, time; from abstractcore import create_llm; llm = create_llm('huggingface', model=sys.argv[1]); "
        "llm.generate('Hi', max_output_tokens=1); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(gguf)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM


def test_a_process_that_leaves_its_provider_open_ends_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABSTRACTCORE_YES", "1")
    in_process.ends_well("huggingface", "local")
