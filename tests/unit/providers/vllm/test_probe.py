"""What a server that hides itself obeys: one token shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from abstractcore import InvalidRequestError, UnsupportedFeatureError, VLLMProvider
from abstractcore.testing import FakeServer, Reply
from abstractcore.wire.call import Call

Server = Callable[[Call], Reply]
DIGITS = "[0-9]{3}"


def said(text: str, finish_reason: str = "stop", model: str = "m", **more: Any) -> Reply:
    choice = {"index": 0, "message": {"content": text, **more}, "finish_reason": finish_reason}
    return Reply.json({"id": "r", "model": model, "choices": [choice]})


def refused(name: str) -> Reply:
    return Reply.json({"error": {"message": f"Unrecognized request argument: {name}", "code": 400}}, 400)


def behind(*obeyed: str, strict: bool = False) -> Server:
    """A server that obeys these spellings; ``strict``: and refuses other fields, as some gateways do."""

    def answer(call: Call) -> Reply:
        body = msgspec.json.decode(call.body or b"")
        spelled = [name for name in body if name == "structured_outputs" or name.startswith("guided_")]
        unknown = [name for name in spelled if name.partition("_")[0] not in obeyed]
        if strict and unknown:
            return refused(unknown[0])
        bound = len(unknown) < len(spelled)
        if body.get("max_tokens") == 1:
            return said("~" if bound else "Hello", "length", body["model"])
        return said("123" if bound else "Sure! Here is a number: 123", model=body["model"])

    return answer


def hidden(server: Server) -> tuple[FakeServer, VLLMProvider]:
    fake = FakeServer({"POST /v1/chat/completions": server, "POST /v1/completions": server})
    return fake, VLLMProvider("m", base_url="http://hidden", **fake.transports)


@pytest.mark.parametrize(
    ("server", "spelling"),
    [
        (behind("structured", "guided"), "structured_outputs.regex + guided_regex"),
        (behind("structured"), "structured_outputs.regex + guided_regex"),
        (behind("guided"), "structured_outputs.regex + guided_regex"),
        (behind("structured", strict=True), "structured_outputs.regex"),
        (behind("guided", strict=True), "guided_regex"),
    ],
    ids=["both", "new", "old", "only new", "only old"],
)
@pytest.mark.parametrize("raw", [False, True])
def test_the_spelling_that_binds_is_sent(server: Server, spelling: str, raw: bool) -> None:
    _, llm = hidden((lambda call: as_completion(server(call))) if raw else server)
    answer = llm.generate("x", guided_regex=DIGITS, raw_prompt=raw)
    assert answer.content == "123"
    assert answer.metadata["constraint"]["spelling"] == spelling
    assert "as one token showed" in answer.metadata["note"]


def as_completion(answer: Reply) -> Reply:
    document = msgspec.json.decode(b"".join(answer.chunks))
    for choice in document.get("choices", ()):
        choice["text"] = choice.pop("message")["content"]
    return Reply.json(document, answer.status)


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_obeys_nothing_is_refused_before_it_generates(stream: bool) -> None:
    fake, llm = hidden(behind())
    with pytest.raises(UnsupportedFeatureError, match="guided_regex") as caught:
        consume(llm.generate("x", guided_regex=DIGITS, stream=stream))
    assert "came back unbound" in str(caught.value)
    assert [body.get("max_tokens") for body in fake.sent] == [1]


def consume(answer: Any) -> None:
    list(answer)


def test_it_is_asked_once_for_each_model() -> None:
    fake, llm = hidden(behind("guided"))
    for _ in range(3):
        llm.generate("x", guided_regex=DIGITS)
    assert [body.get("max_tokens") for body in fake.sent] == [1, None, None, None]
    llm.generate("x", guided_regex=DIGITS, model="other")
    assert [(body["model"], body.get("max_tokens")) for body in fake.sent[-2:]] == [("other", 1), ("other", None)]


def test_json_on_chats_needs_no_probe() -> None:
    fake, llm = hidden(lambda call: said('{"a": 1}'))
    llm.generate("x", guided_json={"type": "object"})
    assert [list(body) for body in fake.sent] == [["model", "messages", "response_format"]]


@pytest.mark.parametrize(
    "unclear",
    [
        said("", reasoning_content="Let me think"),
        Reply.json({"error": {"message": "busy", "code": 500}}, 500),
        Reply((b"<html>",), 200),
        Reply.json({"choices": []}),
    ],
)
def test_what_is_unclear_is_not_remembered_and_the_proof_decides(unclear: Reply) -> None:
    fake = FakeServer({"POST /v1/chat/completions": [unclear, said("123"), said("~"), said("123")]})
    llm = VLLMProvider("m", base_url="http://hidden", **fake.transports)
    for _ in range(2):
        assert llm.generate("x", guided_regex=DIGITS).content == "123"
    assert [body.get("max_tokens") for body in fake.sent] == [1, None, 1, None]


def test_a_server_that_refuses_every_spelling_gives_its_own_reason() -> None:
    _, llm = hidden(lambda call: refused("guided"))
    with pytest.raises(InvalidRequestError, match="Unrecognized request argument"):
        llm.generate("x", guided_regex=DIGITS)


async def test_the_async_twin_asks_the_same() -> None:
    fake, llm = hidden(behind("guided", strict=True))
    answer = await llm.agenerate("x", guided_regex=DIGITS)
    assert answer.metadata["constraint"]["spelling"] == "guided_regex"
    assert len(fake.sent) == 4
