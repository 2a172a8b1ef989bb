"""The gateway in front of a real vLLM, asked by OpenAI's own SDK and by plain HTTP."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.gateway_process import Running, serving
from tests.live.conftest import LiveServer
from tests.live.in_process import SMOLLM2
from tests.live.test_cancel import comes_to

ASKED: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


@pytest.fixture(scope="module")
def gateway(vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("gateway")
    with serving(folder, "--backend", f"vllm={vllm.base_url}", "--alias", "fast=vllm/smollm2") as running:
        yield running


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def text_of(stream: Any) -> tuple[dict[int, str], dict[int, str], Any]:
    """What a stream says: texts and finish reasons by choice, and the last chunk."""
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    chunk = None
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            if choice.finish_reason:
                assert choice.index not in ends
                ends[choice.index] = choice.finish_reason
    return texts, ends, chunk


@pytest.mark.parametrize("model", ["vllm/smollm2", "smollm2", "fast"])
def test_a_chat_under_each_name_of_the_model(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ASKED, temperature=0, max_tokens=20)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.completion_tokens == 8


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream(client: openai.OpenAI, *, usage: bool) -> None:
    stream = client.chat.completions.create(
        model="fast", messages=ASKED, temperature=0, max_tokens=20, stream=True, stream_options={"include_usage": usage}
    )
    texts, ends, last = text_of(stream)
    assert "Paris" in texts[0]
    assert ends == {0: "stop"}
    assert (last.usage is not None) == usage


def raw(gateway_port: int, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway_port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def test_a_stream_that_is_passed_on_is_vllms_own(gateway: Running, vllm: LiveServer) -> None:
    body = {"messages": ASKED, "temperature": 0, "max_tokens": 20, "stream": True, "logprobs": True}
    port = int(vllm.base_url.split(":")[2].partition("/")[0])
    status, ours = raw(gateway.port, "/v1/chat/completions", {**body, "model": "fast"})
    _, theirs = raw(port, "/v1/chat/completions", {**body, "model": vllm.model})
    own = re.compile(rb'"id":"[^"]*"|"created":\d+')
    assert status == 200
    assert own.sub(b"", ours) == own.sub(b"", theirs)


def test_several_answers(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "fast", "messages": ASKED, "n": 3, "temperature": 1, "max_tokens": 5}
    answer = client.chat.completions.create(**asked)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    texts, ends, _ = text_of(client.chat.completions.create(**asked, stream=True))
    assert set(texts) == set(ends) == {0, 1, 2}


class Capital(pydantic.BaseModel):
    """The seat of a government."""

    city: str = pydantic.Field(max_length=20)
    inhabitants: int = pydantic.Field(ge=0, le=99_999_999)


def test_an_answer_as_a_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="fast", messages=ASKED, response_format=Capital, temperature=0, max_tokens=100
    )
    assert isinstance(answer.choices[0].message.parsed, Capital)
    assert answer.model_extra
    assert answer.model_extra["abstractcore"]["constraint"]["proved"]


def test_an_answer_as_a_class_in_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="fast", messages=ASKED, response_format=Capital, temperature=0, max_tokens=100
    ) as stream:
        kinds = [event.type for event in stream]
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Capital)
    assert kinds.count("content.delta") > 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("constraint", "form"),
    [
        ({"guided_regex": "[A-Z]{3}-[0-9]{2}"}, "[A-Z]{3}-[0-9]{2}"),
        ({"guided_choice": ["red", "green"]}, "red|green"),
        ({"guided_grammar": 'root ::= "a" [0-9]'}, "a[0-9]"),
        ({"guided_json": {"type": "integer", "minimum": 0, "maximum": 9}}, "[0-9]"),
        ({"structured_outputs": {"regex": "x{3}"}}, "xxx"),
    ],
)
def test_constraints_of_old_clients_are_obeyed_and_proved(
    client: openai.OpenAI, constraint: dict[str, Any], form: str, *, stream: bool
) -> None:
    asked: dict[str, Any] = {"model": "fast", "messages": ASKED, "max_tokens": 20, "extra_body": constraint}
    if stream:
        texts, _, last = text_of(client.chat.completions.create(**asked, stream=True))
        text, proof = texts[0], last.model_extra["abstractcore"]["constraint"]
    else:
        answer = client.chat.completions.create(**asked)
        assert answer.model_extra
        text, proof = answer.choices[0].message.content or "", answer.model_extra["abstractcore"]["constraint"]
    assert re.fullmatch(form, text)
    assert proof["proved"]


def test_an_answer_that_the_limit_cut_is_an_error_with_its_text(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(
            model="fast", messages=ASKED, max_tokens=3, extra_body={"guided_regex": "[a-z]{200}"}
        )
    assert caught.value.code == "truncated"
    assert caught.value.body["partial"]
    with pytest.raises(openai.APIError, match="cut the answer"):
        text_of(
            client.chat.completions.create(
                model="fast", messages=ASKED, max_tokens=3, extra_body={"guided_regex": "[a-z]{200}"}, stream=True
            )
        )


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_tools(client: openai.OpenAI, choice: Any) -> None:
    asked: dict[str, Any] = {"model": "fast", "messages": ASKED, "tools": TOOLS, "tool_choice": choice}
    asked |= {"max_tokens": 100, "temperature": 0}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.tool_calls
    call = message.tool_calls[0]
    assert call.type == "function"
    assert (call.function.name, set(json.loads(call.function.arguments))) == ("weather", {"city"})
    with client.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed
    assert (streamed[0].function.name, set(json.loads(streamed[0].function.arguments))) == ("weather", {"city"})


def test_beams(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fast", messages=ASKED, max_tokens=8, extra_body={"use_beam_search": True, "best_of": 3}
    )
    assert len(answer.choices) == 3
    assert answer.model_extra
    scores = answer.model_extra["abstractcore"]["scores"]
    assert scores == sorted(scores, reverse=True)


def test_logprobs_of_a_proved_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="fast",
        messages=ASKED,
        logprobs=True,
        top_logprobs=2,
        max_tokens=5,
        extra_body={"guided_choice": ["Paris"]},
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    assert "".join(token.token for token in logprobs.content if not token.token.startswith("<|")) == "Paris"
    assert all(token.top_logprobs for token in logprobs.content)


@pytest.mark.parametrize("prompt", ["One, two,", ["One, two,", "A, b,"], [1, 2, 3], [[1, 2], [3]]])
def test_text_completions(client: openai.OpenAI, prompt: Any) -> None:
    several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    asked: dict[str, Any] = {"model": "fast", "prompt": prompt, "max_tokens": 3, "temperature": 0}
    answer = client.completions.create(**asked)
    assert len(answer.choices) == (len(prompt) if several else 1)
    texts: dict[int, str] = {}
    for chunk in client.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert texts == {choice.index: choice.text for choice in answer.choices}


def test_a_constrained_text_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="fast", prompt="A number:", max_tokens=10, logprobs=1, extra_body={"guided_regex": " [0-9]{3}"}
    )
    assert re.fullmatch(" [0-9]{3}", answer.choices[0].text)
    assert answer.choices[0].logprobs
    assert answer.choices[0].logprobs.text_offset
    assert answer.choices[0].logprobs.text_offset[0] == 0


@pytest.mark.parametrize(
    ("more", "kind", "param"),
    [
        ({"temperature": "hot"}, openai.BadRequestError, None),
        ({"extra_body": {"temprature": 1}}, openai.BadRequestError, "temprature"),
        ({"max_tokens": 100_000}, openai.BadRequestError, None),
        ({"model": "vllm/nope"}, openai.NotFoundError, None),
        ({"model": "nope/nope"}, openai.NotFoundError, None),
        ({"extra_body": {"guided_regex": "("}}, openai.BadRequestError, None),
        ({"stop": 5}, openai.BadRequestError, None),
    ],
)
def test_refusals(client: openai.OpenAI, more: dict[str, Any], kind: type[openai.APIError], param: str | None) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "fast", "messages": ASKED, **more})
    assert caught.value.message
    if param:
        assert caught.value.param == param


@pytest.mark.parametrize("constraint", [{}, {"guided_regex": "(a|b)*"}], ids=["passed on", "proved"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_client_that_leaves_ends_the_generation(
    gateway: Running, vllm: LiveServer, constraint: dict[str, Any], *, stream: bool
) -> None:
    assert comes_to(vllm.base_url, 0)
    body = {"model": "fast", "messages": ASKED, "max_tokens": 1500, "ignore_eos": True, "stream": stream, **constraint}
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    if stream:
        connection.getresponse().read(10)
    assert comes_to(vllm.base_url, 1)
    connection.close()
    assert comes_to(vllm.base_url, 0)


def test_a_model_in_the_gateways_own_process(smollm2: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("local")
    config = folder / "gateway.toml"
    config.write_text(f'[backends.local]\nprovider = "huggingface"\nmodel = "{SMOLLM2}"\n')
    with (
        serving(folder, "--config", str(config)) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client,
    ):
        asked: dict[str, Any] = {"model": "local", "messages": ASKED, "temperature": 0, "max_tokens": 20}
        answer = client.chat.completions.create(**asked)
        texts, ends, _ = text_of(client.chat.completions.create(**asked, stream=True))
        assert texts == {0: answer.choices[0].message.content}
        assert "Paris" in texts[0]
        assert ends == {0: "stop"}
        guided = client.chat.completions.create(**asked, extra_body={"guided_choice": ["red", "green"]})
        assert guided.choices[0].message.content in ("red", "green")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("constraint", "form"),
    [
        ({"structured_outputs": {"regex": "[A-Z]{3}"}}, "[A-Z]{3}"),
        ({"structured_outputs": {"choice": ["red", "green"]}}, "red|green"),
        ({"guided_regex": "[0-9]{2}"}, "[0-9]{2}"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [7]}}}}, "7"),
    ],
)
def test_constraints_of_new_clients_are_obeyed_by_an_old_server(
    old_gateway: Running, constraint: dict[str, Any], form: str, *, stream: bool
) -> None:
    with openai.OpenAI(base_url=f"{old_gateway.url}/v1", api_key="none", max_retries=0) as client:
        asked: dict[str, Any] = {"model": "vllm", "messages": ASKED, "max_tokens": 20, "extra_body": constraint}
        if stream:
            text = text_of(client.chat.completions.create(**asked, stream=True))[0][0]
        else:
            text = client.chat.completions.create(**asked).choices[0].message.content or ""
        assert re.fullmatch(form, text)


def test_what_would_block_an_old_server_is_refused(old_gateway: Running) -> None:
    with openai.OpenAI(base_url=f"{old_gateway.url}/v1", api_key="none", max_retries=0) as client:
        both = {"response_format": {"type": "json_object"}, "guided_regex": "a"}
        with pytest.raises(openai.BadRequestError, match="several constraints"):
            client.chat.completions.create(model="vllm", messages=ASKED, extra_body=both)
        plain = client.chat.completions.create(model="vllm", messages=ASKED, max_tokens=2)
        assert plain.choices[0].finish_reason == "length"


@pytest.fixture(scope="module")
def old_gateway(old_vllm: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("old-gateway"), "--backend", f"vllm={old_vllm.base_url}") as running:
        yield running
