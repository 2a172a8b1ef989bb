"""Conversations: what a model is told, what is remembered, what a file holds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore import (
    BasicSession,
    ConfigurationError,
    ConstraintViolationError,
    ContextLengthError,
    GenerateResponse,
    Message,
    ProviderAPIError,
    Session,
    SessionError,
    StepLimitError,
    StreamInterruptedError,
    ToolCall,
)
from abstractcore.providers.anthropic import AnthropicProvider
from abstractcore.testing import EchoProvider, FakeServer, Reply
from abstractcore.types import GenerateRequest


def told(llm: EchoProvider) -> list[tuple[str, Any]]:
    """What the model was told last."""
    return [(message["role"], message["content"]) for message in llm.requests[-1].messages]


def said(session: Session) -> list[tuple[str, Any]]:
    return [(message.role, message.content) for message in session.get_messages()]


def weather(city: str) -> str:
    """The weather."""
    return f"12 degrees in {city}"


CALL = ToolCall(name="weather", arguments={"city": "Rome"}, call_id="c1")
TOLD = Message("tool", "12 degrees in Rome", name="weather", tool_call_id="c1")


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_turn_is_told_all_that_was_said_before() -> None:
    llm = EchoProvider(answers=["One.", "Two."])
    session = Session(llm, system_prompt="Count.")
    assert session.generate("First?").content == "One."
    session.generate("Second?")
    assert told(llm) == [("system", "Count."), ("user", "First?"), ("assistant", "One."), ("user", "Second?")]
    assert said(session)[2:] == [("user", "Second?"), ("assistant", "Two.")]


async def test_async_is_the_same() -> None:
    llm = EchoProvider()
    session = Session(llm)
    await session.agenerate("one")
    stream = await session.agenerate("two", stream=True)
    assert len(session) == 2
    assert "".join([chunk.content async for chunk in stream]) == "two"
    assert told(llm) == [("user", "one"), ("assistant", "one"), ("user", "two")]
    assert said(session)[2:] == [("user", "two"), ("assistant", "two")]


def test_options_of_the_call_beat_those_of_the_session_and_those_the_providers() -> None:
    llm = EchoProvider(temperature=0.1, top_p=0.2, seed=1, system_prompt="The provider's.")
    session = Session(llm, temperature=0.3, top_p=0.4)
    session.generate("a", temperature=0.5)
    assert llm.requests[-1].sampling == {"temperature": 0.5, "top_p": 0.4, "seed": 1}
    assert told(llm)[0] == ("system", "The provider's.")
    session.generate("b", system_prompt="Only now.")
    assert told(llm)[0] == ("system", "Only now.")


def test_a_turn_that_fails_leaves_no_trace() -> None:
    session = Session(EchoProvider(answers=[ProviderAPIError("broken"), "Fine.", "maybe"]))
    with pytest.raises(ProviderAPIError):
        session.generate("one")
    assert len(session) == 0
    session.generate("one")
    with pytest.raises(ConstraintViolationError):
        session.generate("two", guided_choice=["yes", "no"])
    assert said(session) == [("user", "one"), ("assistant", "Fine.")]


def test_an_instance_is_given_and_its_text_remembered() -> None:
    class City(pydantic.BaseModel):
        name: str

    session = Session(EchoProvider(answers=['{"name": "Rome"}']))
    assert session.generate("Where?", response_model=City) == City(name="Rome")
    assert said(session)[-1] == ("assistant", '{"name": "Rome"}')


def test_images_stay_in_the_conversation() -> None:
    llm = EchoProvider(answers=["A dot.", "Red."])
    session = Session(llm)
    session.generate("What is it?", media=[b"\x89PNG\r\n\x1a\n"])
    session.generate("Which colour?")
    kinds = [part["type"] for part in told(llm)[0][1]]
    assert kinds == ["image_url", "text"]


@pytest.mark.parametrize("options", [{"messages": []}, {"messages": [Message("user", "x")]}, {"raw_prompt": True}])
def test_messages_of_another_conversation_have_no_place(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="messages of its own"):
        Session(EchoProvider()).generate("x", **options)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        Session(EchoProvider(), temprature=1)  # type: ignore[call-arg]


def test_another_provider_goes_on() -> None:
    session = Session(EchoProvider(answers=[[CALL]]), tools=[weather], system_prompt="Be brief.")
    session.generate("Weather?")
    session.add_message("tool", "12 degrees", tool_call_id="c1")
    whole = {
        "type": "message", "id": "m", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "Cold."}],
    }  # fmt: skip
    server = FakeServer({"POST /v1/messages": Reply.json(whole)})
    session.llm = AnthropicProvider("m", base_url="http://h", **server.transports)
    assert session.generate().content == "Cold."
    body = server.sent[0]
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}}
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "12 degrees"}]},
    ]  # fmt: skip


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_remembered_with_its_last_chunk() -> None:
    session = Session(EchoProvider())
    stream = session.generate("one two", stream=True)
    seen = [(chunk.content, len(session)) for chunk in stream]
    assert seen == [("one", 0), (" two", 0), ("", 2)]
    assert said(session) == [("user", "one two"), ("assistant", "one two")]


def test_a_stream_that_breaks_leaves_no_trace() -> None:
    error = StreamInterruptedError("cut")
    error.partial = "one two"
    session = Session(EchoProvider(answers=[error]))
    with pytest.raises(StreamInterruptedError) as caught:
        list(session.generate("count", stream=True))
    assert caught.value.partial == "one two"
    assert len(session) == 0


def test_a_stream_that_is_given_up_leaves_no_trace() -> None:
    session = Session(EchoProvider())
    with session.generate("one two", stream=True) as stream:
        next(stream)
    assert list(stream) == []
    assert len(session) == 0


def test_the_first_of_several_answers_is_remembered() -> None:
    session = Session(EchoProvider(answers=["a b", "c d"]))
    list(session.generate("x", n=2, stream=True))
    assert said(session)[-1] == ("assistant", "a b")


def test_calls_in_a_stream_are_remembered() -> None:
    session = Session(EchoProvider(answers=[[CALL]]), tools=[weather])
    list(session.generate("Weather?", stream=True))
    assert session.get_messages()[-1].tool_calls == [CALL]


# --- tools -----------------------------------------------------------------------------------------------------------


def test_the_loop_of_tools_is_remembered_whole() -> None:
    llm = EchoProvider(answers=["Hello.", [CALL], "Cold."])
    session = Session(llm, tools=[weather], system_prompt="Be brief.")
    session.generate("Hi")
    assert session.run_tools("Weather?").content == "Cold."
    assert session.get_messages()[2:] == [
        Message("user", "Weather?"),
        Message("assistant", "", tool_calls=[CALL]),
        TOLD,
        Message("assistant", "Cold."),
    ]
    assert told(llm)[0] == ("system", "Be brief.")


async def test_the_loop_of_tools_is_the_same_on_the_event_loop() -> None:
    session = Session(EchoProvider(answers=[[CALL], "Cold."]), tools=[weather])
    await session.arun_tools("Weather?")
    assert [role for role, _ in said(session)] == ["user", "assistant", "tool", "assistant"]


def test_a_loop_that_comes_to_no_end_leaves_no_trace() -> None:
    session = Session(EchoProvider(answers=[[CALL]]), tools=[weather])
    with pytest.raises(StepLimitError):
        session.run_tools("Weather?", max_steps=2)
    assert len(session) == 0


def test_calls_want_their_results_first() -> None:
    llm = EchoProvider(answers=[[CALL], "Cold."])
    session = Session(llm, tools=[weather])
    session.generate("Weather?")
    with pytest.raises(SessionError, match="no results yet: weather"):
        session.generate("And?")
    session.add_message("tool", "12 degrees", tool_call_id="c1")
    assert session.generate().content == "Cold."
    assert told(llm)[-1] == ("tool", "12 degrees")


def test_a_call_without_an_id_gets_one() -> None:
    session = Session(EchoProvider())
    call = ToolCall(name="weather", arguments={})
    session._remember([])("", GenerateResponse(tool_calls=[call]))
    assert call.call_id == session.get_messages()[-1].tool_calls[0].call_id == "call-0-0"  # type: ignore[index]


def test_reasoning_goes_back_with_the_calls_it_led_to() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    used = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}}
    asks = {"type": "message", "model": "m", "stop_reason": "tool_use", "content": [thought, used]}
    ends = {**asks, "stop_reason": "end_turn", "content": [{"type": "text", "text": "Cold."}]}
    server = FakeServer({"POST /v1/messages": [Reply.json(asks), Reply.json(ends), Reply.json(asks)]})
    llm = AnthropicProvider("m", base_url="http://h", **server.transports)
    session = Session(llm, tools=[weather], thinking=2048)
    session.run_tools("Weather?")
    assert server.sent[1]["messages"][1] == {"role": "assistant", "content": [thought, used]}
    session.generate("Again?")
    assert session.get_messages()[-1].reasoning_blocks == [thought]
    again = Session.from_dict(session.to_dict(), llm, tools=[weather])
    assert again.get_messages() == session.get_messages()


def test_a_constrained_answer_calls_no_tools() -> None:
    llm = EchoProvider()
    session = Session(llm, tools=[weather])
    assert session.generate("Yes?", guided_choice=["yes"]).content == "yes"
    assert llm.requests[-1].tool_choice == "none"
    assert [known.name for known in llm.requests[-1].tools] == ["weather"]


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_is_seen_added_to_and_cleared() -> None:
    session = BasicSession(EchoProvider(), system_prompt="Count.")
    added = session.add_message("user", "one")
    assert session.get_messages() == [added]
    session.get_messages().clear()
    assert session.get_history() == [{"role": "system", "content": "Count."}, {"role": "user", "content": "one"}]
    assert session.get_history(include_system=False) == [{"role": "user", "content": "one"}]
    session.clear_history()
    assert (len(session), session.system_prompt) == (0, "Count.")
    assert bool(session)
    assert "0 messages" in repr(session)


def test_messages_that_can_not_be_are_refused() -> None:
    session = Session(EchoProvider())
    with pytest.raises(ConfigurationError, match="no role 'robot'"):
        session.add_message("robot", "x")
    with pytest.raises(ConfigurationError, match="tool_call_id"):
        session.add_message("tool", "x")


# --- too long --------------------------------------------------------------------------------------------------------


def small(limit: int) -> Callable[[GenerateRequest], Any]:
    """A model that holds so many characters; it sums up by counting."""

    def answer(request: GenerateRequest) -> Any:
        length = sum(len(message["content"]) for message in request.messages)
        return ContextLengthError(f"{length} are too many") if length > limit else f"summary of {length}"

    return answer


def test_a_conversation_that_no_longer_fits_says_what_can_be_done() -> None:
    session = Session(EchoProvider(answers=small(10)))
    for call in (lambda: session.generate("x" * 20), lambda: list(session.generate("x" * 20, stream=True))):
        with pytest.raises(ContextLengthError) as caught:
            call()
        assert str(caught.value).count("session.compact()") == 1
    assert len(session) == 0


async def test_so_does_it_on_the_event_loop() -> None:
    session = Session(EchoProvider(answers=small(10)))
    with pytest.raises(ContextLengthError, match=r"session\.compact"):
        await session.agenerate("x" * 20)
    with pytest.raises(ContextLengthError, match=r"session\.compact"):
        [chunk async for chunk in await session.agenerate("x" * 20, stream=True)]


def test_older_turns_give_way_to_a_summary() -> None:
    llm = EchoProvider(answers=["1", "2", "3", " They counted to two. ", "4"])
    session = Session(llm, system_prompt="Count.")
    for number in "abc":
        session.generate(number)
    assert session.compact(keep=1) == 4
    assert "user: a\nassistant: 1\nuser: b\nassistant: 2" in told(llm)[0][1]
    assert llm.requests[-1].max_output_tokens == 300
    session.generate("d")
    assert told(llm) == [
        ("system", "Count.\n\nSummary of the conversation so far: They counted to two."),
        ("user", "c"), ("assistant", "3"), ("user", "d"),
    ]  # fmt: skip


def test_turns_are_never_torn_from_their_calls() -> None:
    session = Session(EchoProvider(answers=[[CALL], "Cold.", "sum"]), tools=[weather])
    session.run_tools("Weather?")
    assert session.compact(keep=1) == 0
    assert session.summary is None
    assert session.compact(keep=0) == 4
    assert session.summary == "sum"
    assert len(session) == 0


def test_what_is_too_long_for_one_summary_is_summed_up_in_parts() -> None:
    llm = EchoProvider(answers=small(400))
    session = Session(llm)
    for _ in range(4):
        session.add_message("user", "x" * 100)
    assert session.compact(keep=0) == 4
    assert session.summary is not None
    assert session.summary.startswith("summary of")
    assert "summary of" in told(llm)[0][1], "the last part was told what came before it"


async def test_a_message_that_is_too_long_alone_can_not_be_summed_up() -> None:
    session = Session(EchoProvider(answers=small(400)))
    session.add_message("user", "x" * 1000)
    with pytest.raises(ContextLengthError):
        session.compact(keep=0)
    with pytest.raises(ContextLengthError):
        await session.acompact(keep=0)
    assert (len(session), session.summary) == (1, None)


async def test_summaries_are_the_same_on_the_event_loop() -> None:
    session = Session(EchoProvider(answers=small(400)))
    for _ in range(4):
        session.add_message("user", "x" * 100)
    assert await session.acompact(keep=1) == 3
    assert await session.acompact(keep=1) == 0


# --- kept ------------------------------------------------------------------------------------------------------------


def test_a_saved_session_goes_on(tmp_path: Path) -> None:
    session = Session(EchoProvider(answers=[[CALL], "Cold."]), tools=[weather], system_prompt="Be brief.", top_k=3)
    session.run_tools("Weather?")
    session.summary = "They said hello."
    path = tmp_path / "talk.json"
    session.save(path)
    llm = EchoProvider(answers=["Warm."])
    again = Session.load(path, llm, tools=[weather])
    assert again.to_dict() == session.to_dict()
    again.generate("And tomorrow?")
    assert told(llm)[0] == ("system", "Be brief.\n\nSummary of the conversation so far: They said hello.")
    assert llm.requests[-1].sampling == {"top_k": 3}
    assert told(llm)[1:] == [*said(session), ("user", "And tomorrow?")]


def test_the_file_is_what_is_documented_and_its_owners_alone(tmp_path: Path) -> None:
    session = Session(EchoProvider(), temperature=0.5)
    session.generate("Hi")
    path = tmp_path / "talk.json"
    session.save(path)
    assert json.loads(path.read_text()) == {
        "schema_version": "session-archive/v1",
        "session": {"provider": "echo", "model": "echo", "options": {"temperature": 0.5}, "tools": []},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}],
    }
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    session = Session(EchoProvider())
    session.save(path)
    before = path.read_bytes()
    session.generate("Hi")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SessionError, match="can't be saved") as caught:
        session.save(path)
    assert "No space left" in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SessionError):
        session.save(tmp_path / "nowhere" / "talk.json")


def test_options_that_are_no_json_are_said() -> None:
    session = Session(EchoProvider(), guided_json=pydantic.BaseModel)
    with pytest.raises(SessionError, match="can't be saved"):
        session.to_dict()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "can't be read as a saved session"),
        ("{nope", "can't be read as a saved session"),
        ("[" * 100_000, "can't be read as a saved session"),
        ("[]", "not a saved session"),
        ('{"messages": []}', "schema_version is None"),
        ('{"schema_version": "session-archive/v2", "session": {}, "messages": []}', "newer abstractcore"),
        ('{"schema_version": "session-archive/v1", "messages": []}', "missing required field `session`"),
        (
            '{"schema_version": "session-archive/v1", "session": {}, "messages": [{"role": "user"}]}',
            "missing required field `content`",
        ),
    ],
)
def test_files_that_can_not_be_read_say_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(text)
    with pytest.raises(SessionError) as caught:
        Session.load(path, EchoProvider())
    assert words in str(caught.value)
    assert "talk.json" in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="No such file"):
        Session.load(tmp_path / "talk.json", EchoProvider())


def test_tools_are_to_be_given_again() -> None:
    saved = Session(EchoProvider(), tools=[weather]).to_dict()
    with pytest.raises(SessionError, match="weather"):
        Session.from_dict(saved, EchoProvider())
    assert Session.from_dict(saved, EchoProvider(), tools=[]).tools == ()


def test_a_session_knows_its_provider() -> None:
    saved = Session(AnthropicProvider("m", base_url="http://h")).to_dict()
    again = Session.from_dict(saved)
    assert (again.llm.provider, again.llm.model) == ("anthropic", "m")
    with pytest.raises(SessionError, match="which provider"):
        Session.from_dict({**saved, "session": {}})


def test_an_option_of_the_future_is_said() -> None:
    saved = Session(EchoProvider()).to_dict()
    saved["session"]["options"] = {"clairvoyance": True}
    with pytest.raises(SessionError, match="clairvoyance"):
        Session.from_dict(saved, EchoProvider())


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
calls = st.builds(
    ToolCall, name=texts, arguments=st.dictionaries(texts, st.one_of(st.none(), texts, st.integers())), call_id=texts
)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.one_of(texts, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)),
    tool_calls=st.one_of(st.none(), st.lists(calls, min_size=1, max_size=2)),
)


@given(st.lists(messages, max_size=4))
def test_every_conversation_is_read_back_as_it_was(talk: list[Message]) -> None:
    session = Session(EchoProvider())
    session._messages = talk
    again = Session.from_dict(json.loads(json.dumps(session.to_dict())), EchoProvider())
    assert again.get_messages() == talk
