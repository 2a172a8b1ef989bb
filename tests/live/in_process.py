"""What the tests of the models in this process share: the checkpoint, its adapters, and one set of promises."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from abstractcore.errors import (
    AdapterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    TruncatedOutputError,
)
from abstractcore.providers.local.adapters import AdapterBaseWarning
from abstractcore.providers.local.folder_provider import FolderProvider
from abstractcore.settings import cache_dir

QUESTION = "What is the capital of France?"
MODELS = cache_dir() / "models"
SMOLLM2 = MODELS / "SmolLM2-135M-Instruct"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "n": {"type": "integer"}},
    "required": ["city", "n"],
    "additionalProperties": False,
}
GUIDED: list[dict[str, Any]] = [
    {"guided_json": SCHEMA},
    {"guided_regex": r"[A-Z][a-z]{2,8}\."},
    {"guided_regex": r"x.{3}y"},
    {"guided_choice": ["London", "Paris", "I don't know"]},
    {"guided_grammar": 'root ::= "yes" | "no, " [0-9]{1,3} " times" "!"'},
    {"guided_grammar": 'start: "a" /[0-9]{3}/ ("b" | "c")'},
]


def adapter(number: int, base: Path = SMOLLM2) -> Path:
    """A LoRA adapter of the parts that the live tests make."""
    return base.with_name(f"{base.name}-lora-{number}")


def memory() -> int:
    """Bytes of this process that are in no file."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def answers_in_a_chat(llm: FolderProvider) -> None:
    whole = llm.generate(QUESTION, temperature=0, max_output_tokens=40)
    assert "Paris" in whole.content
    assert (whole.finish_reason, whole.input_tokens, whole.output_tokens) == ("stop", 37, 8)
    assert whole.model == llm.model
    chunks = list(llm.generate(QUESTION, temperature=0, max_output_tokens=40, stream=True))
    assert "".join(chunk.content for chunk in chunks) == whole.content
    assert len([chunk for chunk in chunks if chunk.content]) > 3
    assert chunks[-1].usage == whole.usage
    assert asyncio.run(llm.agenerate(QUESTION, temperature=0, max_output_tokens=40)).content == whole.content
    assert llm.count_tokens(QUESTION) == 37
    system = llm.generate(QUESTION, system_prompt="Be brief.", temperature=0, max_output_tokens=2)
    assert system.input_tokens != 37


def ends_where_it_is_told(llm: FolderProvider) -> None:
    stopped = llm.generate(QUESTION, temperature=0, stop="is P")
    assert stopped.content == "The capital of France "
    assert stopped.finish_reason == "stop"
    cut = llm.generate(QUESTION, temperature=0, max_output_tokens=3)
    assert (cut.content, cut.finish_reason, cut.output_tokens) == ("The capital of", "length", 3)


def obeys_a_seed(llm: FolderProvider) -> None:
    options: dict[str, Any] = {"max_output_tokens": 12, "temperature": 1.5, "top_p": 0.95, "top_k": 50}
    first, again, other = (llm.generate(QUESTION, seed=seed, **options).content for seed in (1, 1, 2))
    assert first == again != other
    both = llm.generate(QUESTION, seed=1, n=2, logprobs=1, **options)
    assert both.content == first
    assert both.alternatives[0].content == other  # each of several has the next seed
    assert both.logprobs is not None
    assert len(both.logprobs) == 12


def keeps(llm: FolderProvider, guided: dict[str, Any]) -> None:
    for sampling in ({"temperature": 0}, {"temperature": 1.3, "seed": 5}):
        answer = llm.generate(QUESTION, max_output_tokens=60, **sampling, **guided)
        assert answer.finish_reason == "stop"
        assert answer.metadata["constraint"]["proved"]
        if "guided_json" in guided:
            assert set(json.loads(answer.content)) == {"city", "n"}
    streamed = list(llm.generate(QUESTION, max_output_tokens=60, stream=True, temperature=0, **guided))
    assert streamed[-1].metadata["constraint"]["proved"]


def says_when_a_constraint_is_cut(llm: FolderProvider) -> None:
    with pytest.raises(TruncatedOutputError) as caught:
        llm.generate(QUESTION, guided_regex="[a-z]{50}", max_output_tokens=3)
    assert caught.value.partial


def refuses(llm: FolderProvider) -> None:
    with pytest.raises(ContextLengthError, match=r"90\d\d tokens.*8192"):
        llm.generate("x " * 9000)
    with pytest.raises(InvalidRequestError, match="top_p"):
        llm.generate(QUESTION, top_p=3)
    with pytest.raises(ModelNotFoundError, match="nobody"):
        llm.generate(QUESTION, model="nobody")


def stops_when_nobody_listens(llm: FolderProvider) -> None:
    with llm.generate("Count from 1 to 1000.", temperature=0, stream=True, max_output_tokens=4000) as stream:
        next(stream)
    # The next request waits for the engine's one thread: it is answered only if the first one ended.
    assert llm.generate(QUESTION, temperature=0, timeout=60, max_output_tokens=2).output_tokens == 2


def serves_two_threads(llm: FolderProvider) -> None:
    expected = llm.generate(QUESTION, temperature=0).content
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(llm.generate(QUESTION, temperature=0).content)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == [expected, expected]


def has_adapters(llm: FolderProvider) -> None:
    plain = llm.generate(QUESTION, temperature=0, max_output_tokens=20).content
    said: dict[int, str] = {}
    for number in (1, 2):
        assert llm.load_adapter(f"sql.v{number}", adapter(number)).endswith("loaded successfully")
    for number in (1, 2, 1):
        answer = llm.generate(QUESTION, temperature=0, max_output_tokens=20, model=f"sql.v{number}")
        assert answer.model == f"sql.v{number}"
        assert said.setdefault(number, answer.content) == answer.content
    assert len({plain, *said.values()}) == 3
    assert llm.generate(QUESTION, temperature=0, max_output_tokens=20).content == plain
    with pytest.raises(AdapterError, match=r"tiny-qwen2.*SmolLM2.*128 inputs.*576"), pytest.warns(AdapterBaseWarning):
        llm.load_adapter("other", adapter(1, MODELS / "tiny-qwen2"))
    for number in (1, 2):
        llm.unload_adapter(f"sql.v{number}")
    assert llm.list_adapters() == []
    assert llm.generate(QUESTION, temperature=0, max_output_tokens=20).content == plain


def ours(llm: FolderProvider, prompt: str, count: int) -> list[str]:
    """The tokens that the provider chooses, greedily, as text."""
    answer = llm.generate(prompt, temperature=0, max_output_tokens=count, logprobs=0)
    assert answer.logprobs is not None
    return [token.token for token in answer.logprobs]


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported: nothing here may ask the hub


def ends_well(provider: str, model: str) -> None:
    """A process that asks once and leaves its provider open ends without a crash."""
    script = (
        "import sys; from abstractcore import create_llm; llm = create_llm(sys.argv[1], model=sys.argv[2]); "
        "print(llm.generate('Hi', max_output_tokens=2, temperature=0).finish_reason)"
    )
    argv = [sys.executable, "-c", script, provider, model]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "length"), done.stderr
