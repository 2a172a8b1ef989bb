"""Steps through a gateway, each a request that curl could send."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..factory import create_llm
from ..transport.http_sync import HttpTransport
from ..wire.call import Answer, Call, Timeouts
from ..wire.openai_stream import OpenAIStreamReader
from .library import DATE
from .step import BrokenPromiseError, NotTriedError, Step

if TYPE_CHECKING:
    from .subject import Subject

_LIMITS: Final = Timeouts(connect=5.0, first_byte=300.0, idle=120.0)


def chat(subject: Subject, prompt: str, *, stream: bool = False, **fields: Any) -> Call:
    """A chat with the gateway."""
    body = {
        "model": subject.gateway_model,
        "messages": [{"role": "user", "content": prompt}],
        **({"stream": True} if stream else {}),
        **fields,
    }
    return post(subject, "/v1/chat/completions", body, stream=stream)


def post(subject: Subject, path: str, body: dict[str, Any], *, stream: bool = False) -> Call:
    """A request with JSON."""
    headers = {"content-type": "application/json"}
    return Call("POST", f"{_root(subject)}{path}", headers, msgspec.json.encode(body), stream=stream, timeouts=_LIMITS)


def get(subject: Subject, path: str) -> Call:
    """A request that only reads."""
    return Call("GET", f"{_root(subject)}{path}", timeouts=_LIMITS)


def examples(subject: Subject) -> list[Call]:
    """What a newcomer may try."""
    return [
        get(subject, "/v1/models"),
        chat(subject, "Explain quantum computing", max_tokens=100),
        chat(subject, "Count to ten", stream=True, max_tokens=60),
        chat(subject, "When did Apollo 11 land?", guided_regex=DATE, max_tokens=24),
    ]


def _root(subject: Subject) -> str:
    if subject.gateway is None:
        raise NotTriedError("no gateway runs")
    return subject.gateway


def ask(call: Call, *, status: int = 200) -> Answer:
    """The answer to a request; it must have this status."""
    with closing(HttpTransport()) as transport:
        exchange = transport.open(call)
        try:
            answer = exchange.answer
            body = answer.body
            while call.stream and (data := exchange.read()):
                body += data
        finally:
            exchange.close()
    if answer.status != status:
        raise BrokenPromiseError(
            f"{call.method} {call.url} gave {answer.status}, not {status}", why=body[:300].decode("utf-8", "replace")
        )
    return Answer(answer.status, answer.headers, body, answer.elapsed)


def _health(subject: Subject) -> str:
    ask(get(subject, "/health"))
    ready = msgspec.json.decode(ask(get(subject, "/ready")).body)
    return f"ready, backends: {', '.join(ready['backends'])}"


def _models(subject: Subject) -> str:
    rows = msgspec.json.decode(ask(get(subject, "/v1/models")).body)["data"]
    names = [row["id"] for row in rows]
    if subject.gateway_model not in names:
        raise BrokenPromiseError(f"{subject.gateway_model} is not in the list", why=f"there are: {', '.join(names)}")
    return ", ".join(names[:6])


def _chat(subject: Subject) -> str:
    answer = ask(chat(subject, "Say hello.", max_tokens=12))
    choice = msgspec.json.decode(answer.body)["choices"][0]
    return f"{choice['message']['content'].strip()!r}, ended with {choice['finish_reason']}"


def _stream(subject: Subject) -> str:
    call = chat(subject, "Count to five.", stream=True, max_tokens=20)
    answer = ask(call)
    reader = OpenAIStreamReader(provider="gateway", url=call.url)
    chunks = reader.feed(answer.body)
    if not answer.body.rstrip().endswith(b"data: [DONE]"):
        raise BrokenPromiseError("the stream did not end with [DONE]", why=repr(answer.body[-200:]))
    return f"{len(chunks)} chunks, first byte after {answer.elapsed * 1e3:.0f} ms"


def _guided(subject: Subject) -> str:
    answer = msgspec.json.decode(ask(chat(subject, "When was it?", guided_regex=DATE, max_tokens=24)).body)
    text, proof = answer["choices"][0]["message"]["content"], answer["abstractcore"]["constraint"]
    if not re.fullmatch(DATE, text) or not proof["proved"]:
        raise BrokenPromiseError(f"{text!r} does not match {DATE}", why=str(proof))
    return f"{text}, proved, sent as {proof['spelling']}"


def _refusal(subject: Subject) -> str:
    answer = ask(chat(subject, "Anything", max_tokens=4, temprature=1), status=400)
    return str(msgspec.json.decode(answer.body)["error"]["message"])


def _pages(subject: Subject) -> str:
    sizes = [f"{path} {len(ask(get(subject, path)).body) // 1024} KiB" for path in ("/", "/docs", "/openapi.json")]
    return ", ".join(sizes)


def _metrics(subject: Subject) -> str:
    lines = ask(get(subject, "/metrics")).body.decode().splitlines()
    return f"{sum(not line.startswith('#') for line in lines)} figures"


def _client(subject: Subject) -> str:
    with create_llm("vllm", subject.gateway_model, base_url=f"{_root(subject)}/v1", api_key="EMPTY") as llm:
        response = llm.generate("When was it?", guided_regex=DATE, max_tokens=24)
    return f"{response.content}, proved here as well"


def _sdk(subject: Subject) -> str:
    try:
        import openai
    except ImportError:
        raise NotTriedError("the OpenAI SDK is not installed", hint="pip install openai") from None
    with openai.OpenAI(base_url=f"{_root(subject)}/v1", api_key="EMPTY", max_retries=0) as client:
        try:
            stream = client.chat.completions.create(
                model=subject.gateway_model,
                messages=[{"role": "user", "content": "Say hello."}],
                max_tokens=12,
                stream=True,
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        except openai.OpenAIError as error:
            raise BrokenPromiseError("the OpenAI SDK could not use the gateway", why=str(error)) from error
    return f"openai {openai.__version__}: {text.strip()!r}"


GATEWAY: Final = (
    Step("gateway.health", "it runs and is ready", _health),
    Step("gateway.models", "it lists the model", _models),
    Step("gateway.chat", "a chat", _chat),
    Step("gateway.stream", "a streamed chat", _stream),
    Step("gateway.guided", "a guided answer, proved at the gate", _guided),
    Step("gateway.refusal", "a misspelled field is refused", _refusal),
    Step("gateway.client", "this library as its client", _client),
    Step("gateway.sdk", "the official OpenAI SDK", _sdk),
    Step("gateway.pages", "chat page, docs and OpenAPI document", _pages),
    Step("gateway.metrics", "metrics", _metrics),
)
