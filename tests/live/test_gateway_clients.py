"""The gateway in front of a real vLLM, called by the clients that people use, none of them changed.

OpenAI's chats are in ``test_gateway``; here is the rest of that SDK, Anthropic's, LangChain, ``llm``, and what Open
WebUI sends.
"""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.request import Request, urlopen

import anthropic
import openai
import pydantic
import pytest

from abstractcore.deploy import local_vllm, runtime, vllm_server
from abstractcore.deploy.progress import Progress
from abstractcore.providers import VLLMProvider
from tests.gateway_process import Running, serving
from tests.live import llama_server
from tests.live.conftest import LiveServer, Shown, unused_port

ASKED: Final[list[Any]] = [{"role": "user", "content": "What is the capital of France?"}]
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}


class City(pydantic.BaseModel):
    """Where something is."""

    city: Literal["Paris", "Rome"]


@pytest.fixture(scope="module")
def gateway(vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    backends = ("--backend", f"vllm={vllm.base_url}", "--backend", f"anthropic={vllm.base_url}")
    aliases = ("--alias", "fast=vllm/smollm2", "--alias", "gpt-4o-mini=vllm/smollm2")
    with serving(tmp_path_factory.mktemp("gateway"), *backends, *aliases) as running:
        yield running


@pytest.fixture
def sdk(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(gateway: Running) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


# --- OpenAI's SDK ---------------------------------------------------------------------------------------------------


def test_models(sdk: openai.OpenAI) -> None:
    rows = {row.id: row for row in sdk.models.list()}
    assert "vllm/smollm2" in rows
    assert sdk.models.retrieve("vllm/smollm2").owned_by
    with pytest.raises(openai.NotFoundError, match="no model"):
        sdk.models.retrieve("nope")


def test_a_response(sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model="fast", input="What is the capital of France?", temperature=0)
    assert "Paris" in answer.output_text
    assert answer.usage
    assert answer.usage.output_tokens > 3


def test_a_streamed_response(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model="fast", input="What is the capital of France?", temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert stream.get_final_response().output_text == text
    assert "Paris" in text


def test_a_response_as_a_class_is_proved(sdk: openai.OpenAI) -> None:
    answer = sdk.responses.parse(
        model="fast", input="Where is the Louvre?", text_format=City, max_output_tokens=60, temperature=0
    )
    assert isinstance(answer.output_parsed, City)
    assert answer.model_extra
    proof = answer.model_extra["abstractcore"]["constraint"]
    assert (proof["kind"], proof["proved"], proof["spelling"]) == ("json", True, "text.format")
    with sdk.responses.stream(
        model="fast", input="Where is the Louvre?", text_format=City, max_output_tokens=60, temperature=0
    ) as stream:
        assert isinstance(stream.get_final_response().output_parsed, City)


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_calls_a_tool_with_arguments_of_its_schema(sdk: openai.OpenAI, *, stream: bool) -> None:
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": SCHEMA}]
    asked: dict[str, Any] = {"model": "fast", "input": "How is the weather?", "tools": tools, "tool_choice": "required"}
    asked["temperature"] = 0
    if stream:
        answer: Any = next(e.response for e in sdk.responses.create(**asked, stream=True) if hasattr(e, "response")
                           and e.type == "response.completed")  # fmt: skip
    else:
        answer = sdk.responses.create(**asked)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert calls
    for call in calls:
        assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
    assert answer.model_extra["abstractcore"]["tools"] == {"calls": len(calls), "proved": True}


def test_a_response_that_the_limit_cut_is_an_error(sdk: openai.OpenAI) -> None:
    text: Any = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA}}
    asked: dict[str, Any] = {"model": "fast", "input": "Where is the Louvre?", "text": text, "max_output_tokens": 3}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        sdk.responses.create(**asked)
    assert caught.value.code == "truncated"
    with pytest.raises(openai.APIError, match="cut the answer"):
        list(sdk.responses.create(**asked, stream=True))


@pytest.mark.parametrize("pattern", [r"\p{L}+"])
def test_an_engine_that_fails_within_a_stream(sdk: openai.OpenAI, pattern: str) -> None:
    """The server just cuts the connection."""
    extra = {"structured_outputs": {"regex": pattern}}
    with pytest.raises(openai.APIError, match="the stream broke"):
        list(sdk.responses.create(model="fast", input="Hi", stream=True, extra_body=extra))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"extra_body": {"max_tokens": 5}}, "max_tokens"),
        ({"extra_body": {"guided_rgex": "a"}}, "guided_rgex"),
        ({"extra_body": {"extra_body": {"guided_regex": "a"}}}, "extra_body"),
        ({"tools": [{"type": "web_search"}]}, None),
        ({"tools": [{"type": "custom", "name": "x"}]}, None),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"extra_body": {"guided_regex": "a("}}, None),
    ],
)
def test_responses_that_nobody_would_obey(sdk: openai.OpenAI, more: dict[str, Any], param: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(model="fast", input="Hi", **more)
    assert param is None or caught.value.param == param


def test_responses_that_nobody_keeps(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no backend keeps"):
        sdk.responses.retrieve("resp_1")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.cancel("resp_1")
    with pytest.raises(openai.BadRequestError, match="VLLM_ENABLE_RESPONSES_API_STORE"):
        sdk.responses.create(model="fast", input="Hi", background=True)


@pytest.mark.parametrize("mistake", ["guided_regex", "nested", "choice"])
def test_what_old_clients_write(sdk: openai.OpenAI, mistake: str) -> None:
    extra = {
        "guided_regex": {"guided_regex": "[0-9]{3}"},
        "choice": {"guided_choice": ["red", "green"]},
        "nested": {"extra_body": {"guided_regex": "[0-9]{3}"}},
    }[mistake]
    if mistake == "nested":
        with pytest.raises(openai.BadRequestError, match="extra_body"):
            sdk.chat.completions.create(model="fast", messages=ASKED, extra_body=extra)
        return
    for text in (
        sdk.chat.completions.create(model="fast", messages=ASKED, extra_body=extra).choices[0].message.content or "",
        sdk.completions.create(model="fast", prompt="A colour:", extra_body=extra).choices[0].text,
        sdk.responses.create(model="fast", input="A colour?", extra_body=extra).output_text,
    ):
        assert text.isdigit() if mistake == "guided_regex" else text in ("red", "green")


def test_best_of_gives_the_best(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="fast", prompt="The sky is", max_tokens=4, best_of=3, n=1, temperature=1)
    assert len(answer.choices) == 1
    assert answer.model_extra
    assert "best_of" in answer.model_extra["abstractcore"]["emulated"]


def test_errors_by_class(vllm: LiveServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    add = [sys.executable, "-m", "abstractcore", "keys", "add", "one", "--rate", "2/min", "--file", str(keys)]
    key = subprocess.run(add, capture_output=True, text=True, check=True).stdout.strip()
    with serving(tmp_path, "--backend", f"vllm={vllm.base_url}", "--keys", str(keys)) as running:
        address = f"{running.url}/v1"
        stranger = openai.OpenAI(base_url=address, api_key="wrong", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        with anthropic.Anthropic(base_url=running.url, api_key="wrong", max_retries=0) as claude:
            call = partial(claude.messages.create, model="vllm/smollm2", max_tokens=5, messages=ASKED)
            with pytest.raises(anthropic.AuthenticationError):
                call()
        with anthropic.Anthropic(base_url=running.url, api_key=key, max_retries=0) as claude:
            claude.messages.create(model="vllm/smollm2", max_tokens=5, messages=ASKED)
        with openai.OpenAI(base_url=address, api_key=key, max_retries=0) as client:
            client.chat.completions.create(model="vllm/smollm2", max_tokens=2, messages=ASKED)
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(model="vllm/smollm2", max_tokens=2, messages=ASKED)


# --- Anthropic's SDK ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["vllm/smollm2", "anthropic/smollm2"])
def test_a_message(claude: Any, model: str) -> None:
    answer = claude.messages.create(model=model, max_tokens=30, messages=ASKED, extra_body={"temperature": 0})
    assert "Paris" in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    count = claude.messages.count_tokens(model=model, messages=ASKED)
    assert count.input_tokens == answer.usage.input_tokens
    with claude.messages.stream(model=model, max_tokens=30, messages=ASKED, extra_body={"temperature": 0}) as stream:
        assert "".join(stream.text_stream) == answer.content[0].text
        assert stream.get_final_message().usage.output_tokens == answer.usage.output_tokens


@pytest.mark.parametrize("model", ["vllm/smollm2", "anthropic/smollm2"])
def test_a_message_as_a_class_is_proved(claude: Any, model: str) -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    for more in ({"output_config": {"format": form}}, {"output_format": form}):
        body = {**more, "temperature": 0}
        answer = claude.messages.create(model=model, max_tokens=60, messages=ASKED, extra_body=body)
        assert json.loads(answer.content[0].text)["city"] in ("Paris", "Rome")
        assert answer.model_extra["abstractcore"]["constraint"]["proved"]
    parsed = claude.messages.parse(
        model=model, max_tokens=60, messages=ASKED, output_format=City, extra_body={"temperature": 0}
    )
    assert isinstance(parsed.parsed_output, City)


def test_a_message_calls_a_tool(claude: Any) -> None:
    asked: dict[str, Any] = {
        "model": "fast", "max_tokens": 400, "messages": ASKED, "extra_body": {"temperature": 0},
        "tools": [{"name": "weather", "input_schema": SCHEMA}], "tool_choice": {"type": "any"},
    }  # fmt: skip
    answer = claude.messages.create(**asked)
    assert (answer.content[0].type, answer.content[0].name) == ("tool_use", "weather")
    assert answer.content[0].input["city"] in ("Paris", "Rome")
    with claude.messages.stream(**asked) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].input["city"] in ("Paris", "Rome")
    assert streamed.stop_reason == "tool_use"


def test_failed_messages(claude: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nope", max_tokens=5, messages=ASKED)
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="temprature"):
        claude.messages.create(model="fast", max_tokens=5, messages=ASKED, extra_body={"temprature": 1})
    with pytest.raises(anthropic.BadRequestError, match="JSON schemas only"):
        claude.messages.create(model="fast", max_tokens=5, messages=ASKED, extra_body={"guided_regex": "a"})
    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    with pytest.raises(anthropic.UnprocessableEntityError):
        claude.messages.create(model="fast", max_tokens=2, messages=ASKED, output_config=form)
    with pytest.raises(anthropic.APIStatusError, match="cut the answer"):
        list(claude.messages.create(model="fast", max_tokens=2, messages=ASKED, output_config=form, stream=True))


# --- LangChain ------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(gateway: Running) -> Any:
    langchain_openai = pytest.importorskip("langchain_openai")
    return langchain_openai.ChatOpenAI(
        model="fast", base_url=f"{gateway.url}/v1", api_key="none", temperature=0, max_tokens=80, max_retries=0
    )


def test_langchain_answers_and_streams(chain: Any) -> None:
    answer = chain.invoke("What is the capital of France?")
    assert "Paris" in answer.content
    assert answer.usage_metadata["output_tokens"] > 3
    assert "".join(chunk.content for chunk in chain.stream("What is the capital of France?")) == answer.content


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_langchain_gives_classes(chain: Any, method: str) -> None:
    ask = 'Where is the Louvre? Answer as JSON like {"city": "Paris"}.'
    if method == "json_mode":
        assert chain.with_structured_output(None, method=method).invoke(ask)
        return
    assert isinstance(chain.with_structured_output(City, method=method).invoke(ask), City)


def test_langchain_binds_tools(chain: Any) -> None:
    bound = chain.bind_tools([{"name": "weather", "description": "x", "parameters": SCHEMA}], tool_choice="weather")
    [call] = bound.invoke("How is the weather?").tool_calls
    assert call["name"] == "weather"
    assert call["args"]["city"] in ("Paris", "Rome")


def test_langchain_speaks_responses_too(chain: Any) -> None:
    answer = chain.model_copy(update={"use_responses_api": True}).invoke("What is the capital of France?")
    assert "Paris" in answer.text


def test_langchain_sees_its_mistakes(chain: Any) -> None:
    for wrong in ({"best_off": 2}, {"guided_regexp": "a"}):
        with pytest.raises(openai.BadRequestError, match="unknown field"):
            chain.bind(extra_body=wrong).invoke("Hi")
    assert chain.bind(extra_body={"guided_regex": "[0-9]{4}"}).invoke("A year?").content.isdigit()


# --- llm ------------------------------------------------------------------------------------------------------------


def test_llm_of_simon_willison(gateway: Running, tmp_path: Path) -> None:
    pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: ours\n  model_name: fast\n  api_base: {gateway.url}/v1\n  supports_schema: true\n"
        "  supports_tools: true\n"
    )
    env = {**os.environ, "LLM_USER_PATH": str(tmp_path)}

    def llm(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", "-m", "ours", "-o", "temperature", "0", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Paris" in llm("What is the capital of France?")
    assert "Paris" in llm("--no-stream", "What is the capital of France?")
    assert json.loads(llm("--schema", json.dumps(SCHEMA), "Where is the Louvre?"))["city"] in ("Paris", "Rome")


# --- Open WebUI -----------------------------------------------------------------------------------------------------


def ask(url: str, body: Any = None) -> Any:
    """As Open WebUI asks: a key that may be empty, and headers of its own."""
    headers = {"content-type": "application/json", "authorization": "Bearer ", "x-openwebui-user-id": "1"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, headers), timeout=120) as answer:
        text = answer.read().decode()
    return text if answer.headers["content-type"].startswith("text/event-stream") else json.loads(text)


def test_what_open_webui_asks(gateway: Running) -> None:
    url = f"{gateway.url}/v1"
    rows = ask(f"{url}/models")["data"]
    model = next(row["id"] for row in rows if row["id"] == "vllm/smollm2")
    assert all(row["id"] and "error" not in row for row in rows)
    stream = ask(
        f"{url}/chat/completions",
        {
            "model": model, "messages": ASKED, "stream": True, "stream_options": {"include_usage": True},
            "temperature": 0, "max_tokens": 30, "stop": ["\n\n\n"], "seed": 1, "top_k": 40, "min_p": 0.0,
            "frequency_penalty": 0.0, "presence_penalty": 0.0, "logit_bias": {}, "reasoning_effort": None,
        },
    )  # fmt: skip
    events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] > 3
    title = ask(
        f"{url}/chat/completions",
        {
            "model": model, "stream": False, "max_completion_tokens": 20,
            "messages": [{"role": "user", "content": "Create a concise title for this chat: What is in France?"}],
        },
    )  # fmt: skip
    assert title["choices"][0]["message"]["content"]


# --- embeddings -----------------------------------------------------------------------------------------------------


@pytest.fixture
def embedder(
    environment: local_vllm.Environment,
    smollm2: tuple[Path, dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
    show: Shown,
) -> Iterator[LiveServer]:
    """A server that makes vectors."""
    args = ("--runner", "pooling", "--convert", "embed")
    spec = vllm_server.small_server(environment, smollm2[0], name="vectors", port=unused_port(), args=args)
    folder = tmp_path_factory.mktemp("embedder")
    # It generates no token by which it would be known to be ready.
    note = {"base_url": spec.base_url, "model": spec.name}
    log, pid_file = folder / "server.log", folder / "server.json"
    process = runtime.start_server(spec.argv(), env=spec.environ(os.environ), log=log, pid_file=pid_file, note=note)
    try:
        with show() as report, VLLMProvider(base_url=spec.base_url) as llm:
            report(Progress("load", "a server that makes vectors"))
            llm.wait_until_ready(300)
        yield LiveServer(spec.base_url, spec.name, {}, process)
    finally:
        runtime.stop_server(process, grace=5.0)


def test_embeddings(embedder: LiveServer, tmp_path: Path) -> None:
    with (
        serving(tmp_path, "--backend", f"vllm={embedder.base_url}") as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as sdk,
    ):
        model = f"vllm/{embedder.model}"
        plain = sdk.embeddings.create(model=model, input=["a cat", "a dog"], encoding_format="float")
        assert [row.index for row in plain.data] == [0, 1]
        packed = sdk.embeddings.create(model=model, input=["a cat", "a dog"])  # the SDK asks for base64
        for one, other in zip(plain.data, packed.data, strict=True):
            assert other.embedding == pytest.approx(one.embedding, rel=1e-3)
        raw = ask(f"{running.url}/v1/embeddings", {"model": model, "input": "a cat", "encoding_format": "base64"})
        data = base64.b64decode(raw["data"][0]["embedding"])
        assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(plain.data[0].embedding, rel=1e-3)
        tokens = ask(f"{running.url}/tokenize", {"model": model, "prompt": "a cat"})["tokens"]
        assert len(sdk.embeddings.create(model=model, input=tokens).data) == 1
        assert len(sdk.embeddings.create(model=model, input=[tokens, tokens]).data) == 2
        assert "a cat" in ask(f"{running.url}/detokenize", {"model": model, "tokens": tokens})["prompt"]
        with pytest.raises(openai.BadRequestError):
            sdk.embeddings.create(model=model, input="a cat", dimensions=8)
        with pytest.raises(openai.BadRequestError, match="unknown field"):
            sdk.embeddings.create(model=model, input="a cat", extra_body={"dimension": 8})
        scores = ask(f"{running.url}/v1/score", {"model": model, "text_1": "a cat", "text_2": ["a cat", "physics"]})
        assert scores["data"][0]["score"] > scores["data"][1]["score"]
        ranks = ask(f"{running.url}/v1/rerank", {"model": model, "query": "a cat", "documents": ["physics", "a cat"]})
        assert ranks["results"][0]["index"] == 1
    words = [sys.executable, "-m", "abstractcore", "embed", "a cat", "a dog", "--base-url", embedder.base_url]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line) for line in printed] == [pytest.approx(row.embedding, rel=1e-3) for row in plain.data]


def test_a_chat_model_makes_no_embeddings(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no /v1/embeddings") as caught:
        sdk.embeddings.create(model="fast", input="a cat")
    assert "--runner pooling" in caught.value.body["hint"]
    with pytest.raises(openai.BadRequestError, match="can't do embeddings"):
        sdk.embeddings.create(model="anthropic/smollm2", input="a cat")
    with pytest.raises(openai.BadRequestError, match="no /v1/responses"):
        sdk.responses.create(model="anthropic/smollm2", input="a cat")


# --- a server that ignores what it is asked for ---------------------------------------------------------------------


def test_llama_cpp_ignores_constraints_and_nobody_takes_its_answer_for_one(tmp_path: Path) -> None:
    """On these two endpoints llama.cpp's server answers 200, in free text."""
    form = {"type": "json_schema", "name": "city", "schema": SCHEMA}
    with llama_server.running() as url, serving(tmp_path, "--backend", f"lmstudio={url}/v1") as running:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as sdk:
            asked: dict[str, Any] = {"model": "lmstudio/smollm2", "input": "Where is the Louvre?"}
            assert sdk.responses.create(**asked).output_text
            asked |= {"text": {"format": form}, "max_output_tokens": 40}
            with pytest.raises(openai.UnprocessableEntityError):
                sdk.responses.create(**asked)
            with pytest.raises(openai.APIError, match="does not satisfy"):
                list(sdk.responses.create(**asked, stream=True))
        with anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0) as claude:
            told: dict[str, Any] = {"model": "lmstudio/smollm2", "max_tokens": 40, "messages": ASKED}
            assert claude.messages.create(**told).content[0].text
            told["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
            with pytest.raises(anthropic.UnprocessableEntityError):
                claude.messages.create(**told)
            with pytest.raises(anthropic.APIStatusError, match="does not satisfy"):
                list(claude.messages.create(**told, stream=True))
