"""Commands do what they say, and refuse what makes no sense with what would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.capability import Capability, Support
from abstractcore.cli.chat.commands import ALIASES, COMMANDS, execute
from abstractcore.cli.chat.conversation import Conversation, advice
from abstractcore.cli.chat.lines import Order
from abstractcore.errors import (
    AbstractCoreError,
    AdapterError,
    ConfigurationError,
    ContextLengthError,
    InvalidConstraintError,
    ModelNotFoundError,
    UnsupportedFeatureError,
)
from abstractcore.testing import EchoProvider, substituted
from abstractcore.types import Adapter, GenerateRequest, ModelInfo
from abstractcore.wire.call import Plan


class WithAdapters(EchoProvider):
    """A backend with several models, and adapters that are no more than names."""

    def __init__(self, model: str = "base") -> None:
        super().__init__(model)
        self.loaded = {"style": "/adapters/style"}

    def capabilities(self) -> dict[Capability, Support]:
        return {**super().capabilities(), Capability.MULTI_LORA: Support.NATIVE}

    def _plan_models(self) -> Plan[list[ModelInfo]]:
        rows = [ModelInfo(id=name, context_length=2048) for name in ("base", "other")]
        return rows + [ModelInfo(id=name, parent="base") for name in self.loaded]
        yield  # a plan, like the others; unreachable

    def _plan_model_info(self, model: str | None) -> Plan[ModelInfo]:
        for row in (yield from self._plan_models()):
            if row.id == (model or self.model):
                return row
        raise ModelNotFoundError(f"there is no {model}", provider="echo", model=model)

    def list_adapters(self) -> list[Adapter]:
        return [Adapter(name, path, "base") for name, path in self.loaded.items()]

    def load_adapter(self, name: str, path: str) -> str:
        self.loaded[name] = path
        return f"Adapter {name!r} loaded successfully"

    def unload_adapter(self, name: str) -> str:
        del self.loaded[name]
        return f"Adapter {name!r} unloaded successfully"


def talk(llm: EchoProvider | None = None, **options: Any) -> Conversation:
    conversation = Conversation(llm or EchoProvider(), options, stream=True)
    conversation.meet()
    return conversation


def say(conversation: Conversation, text: str) -> str:
    return "".join(chunk.content for chunk in conversation.ask(text))


def do(conversation: Conversation, line: str) -> str:
    name, _, argument = line.partition(" ")
    return execute(conversation, Order(name, argument))


def asked(conversation: Conversation) -> GenerateRequest:
    """What the next prompt would send."""
    llm = conversation.llm
    assert isinstance(llm, EchoProvider)
    say(conversation, "Well?")
    return llm.requests[-1]


# --- which command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "near"), [("tmep", "/temp"), ("sav", "/save"), ("exti", "/exit"), ("xyzzy", "/help")]
)
def test_an_unknown_command_names_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no command /{typed}") as caught:
        do(talk(), typed)
    assert caught.value.hint
    assert caught.value.hint.startswith(f"{near} ")


@given(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1), st.text())
def test_no_command_crashes(name: str, argument: str) -> None:
    try:
        execute(talk(), Order(name, argument))
    except (AbstractCoreError, EOFError):
        pass


@given(st.sampled_from([name for name in COMMANDS if name not in ("save", "load")]), st.text())
def test_no_argument_crashes(name: str, argument: str) -> None:
    conversation = talk(WithAdapters())
    try:
        execute(conversation, Order(name, argument.strip()))
    except (AbstractCoreError, EOFError):
        pass


@pytest.mark.parametrize("name", ["clear", "history", "settings", "quit", "compact"])
def test_what_takes_nothing_refuses_arguments(name: str) -> None:
    with pytest.raises(ConfigurationError, match="takes nothing"):
        do(talk(), f"{name} now")


def test_help_lists_every_command_and_explains_each() -> None:
    listed = do(talk(), "help")
    assert all(f"/{name}" in listed and row.summary in listed for name, row in COMMANDS.items())
    assert max(map(len, listed.splitlines())) <= 100
    assert "FILE-or-schema" in do(talk(), "help /guided")
    assert set(ALIASES.values()) <= set(COMMANDS)
    with pytest.raises(ConfigurationError, match="no command /guide"):
        do(talk(), "help guide")


@pytest.mark.parametrize("name", ["quit", "exit", "bye", "q"])
def test_it_ends_as_ctrl_d_does(name: str) -> None:
    with pytest.raises(EOFError):
        do(talk(), name)


# --- how answers are made --------------------------------------------------------------------------------------------


def test_temperature_and_length_go_with_the_next_request() -> None:
    conversation = talk(temperature=0.9)
    assert do(conversation, "temp") == "temperature: 0.9"
    do(conversation, "temp 0.25")
    do(conversation, "tokens 3")
    request = asked(conversation)
    assert (request.sampling["temperature"], request.max_output_tokens) == (0.25, 3)
    do(conversation, "temp off")
    assert do(conversation, "tokens off") == "tokens of an answer: as the context holds"
    request = asked(conversation)
    assert (request.sampling, request.max_output_tokens) == ({}, None)


def test_a_limit_of_the_command_line_is_replaced() -> None:
    conversation = talk(max_tokens=5)
    assert do(conversation, "tokens") == "tokens of an answer: at most 5"
    do(conversation, "tokens 7")
    assert asked(conversation).max_output_tokens == 7


@pytest.mark.parametrize(
    "line", ["temp hot", "temp -1", "temp nan", "temp inf", "tokens 0", "tokens 1.5", "tokens ²", "stream maybe"]
)
def test_what_makes_no_sense_changes_nothing(line: str) -> None:
    conversation = talk()
    with pytest.raises(ConfigurationError):
        do(conversation, line)
    assert conversation.options == {}
    assert conversation.stream


def test_stream_is_switched_or_set() -> None:
    conversation = talk()
    do(conversation, "stream")
    assert not conversation.stream
    assert [chunk.content for chunk in conversation.ask("a b c")] == ["a b c"]
    do(conversation, "stream on")
    assert conversation.stream


def test_the_system_prompt() -> None:
    conversation = talk(system_prompt="Be kind.")
    assert do(conversation, "system") == "system prompt: Be kind."
    do(conversation, "system Be brief.")
    assert asked(conversation).messages[0] == {"role": "system", "content": "Be brief."}
    assert do(conversation, "system off") == "no system prompt"


# --- constraints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "kind", "value"),
    [
        ('guided json {"type": "integer"}', "json", {"type": "integer"}),
        ("guided json true", "json", True),
        (r"guided regex \d{2} ?", "regex", r"\d{2} ?"),
        ("guided choice yes 'not yet' no", "choice", ["yes", "not yet", "no"]),
        ('guided grammar root ::= "a"+', "grammar", 'root ::= "a"+'),
    ],
)
def test_answers_are_held_to_it_and_proved(line: str, kind: str, value: object) -> None:
    conversation = talk()
    do(conversation, line)
    assert (conversation.constraint, conversation.status().constraint) == (kind, kind)
    constraint = asked(conversation).constraint
    assert (constraint.kind, constraint.value) == (kind, value)
    assert kind in do(conversation, "guided")
    do(conversation, "guided off")
    assert asked(conversation).constraint is None


def test_a_new_constraint_replaces_the_old_one() -> None:
    conversation = talk(guided_regex="a")
    do(conversation, "guided choice x y")
    assert list(conversation.options) == ["guided_choice"]


def test_schemas_and_grammars_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "boolean"}')
    (tmp_path / "my grammar.gbnf").write_text('root ::= "x"')
    conversation = talk()
    do(conversation, f"guided json {tmp_path}/schema.json")
    assert asked(conversation).constraint.value == {"type": "boolean"}
    do(conversation, f"guided grammar {tmp_path}/my grammar.gbnf")
    assert asked(conversation).constraint.value == 'root ::= "x"'


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("guided regex [a", InvalidConstraintError, "unclosed character class"),
        ('guided json {"type": 1', InvalidConstraintError, "no JSON"),
        ("guided json /nowhere/x.json", ConfigurationError, "can't be read"),
        ("guided choice 'a", ConfigurationError, "can't be read"),
        ("guided choice", ConfigurationError, "needs what"),
        ("guided jsno {}", ConfigurationError, "no constraint of the kind 'jsno'"),
    ],
)
def test_a_broken_constraint_is_refused_at_once(line: str, error: type[AbstractCoreError], says: str) -> None:
    conversation = talk(guided_regex="kept")
    with pytest.raises(error, match=says):
        do(conversation, line)
    assert conversation.options == {"guided_regex": "kept"}


def test_a_backend_that_can_not_keep_to_it_is_said_at_once() -> None:
    with pytest.raises(UnsupportedFeatureError, match="echo can't do guided_grammar"):
        do(talk(EchoProvider(like="openai")), 'guided grammar root ::= "a"')


# --- who answers -----------------------------------------------------------------------------------------------------


def test_models_are_listed_with_the_one_in_use() -> None:
    assert do(talk(WithAdapters()), "models").splitlines() == [
        "* base   2048 tokens",
        "  other  2048 tokens",
        "  style  adapter of base",
    ]


def test_another_model_goes_on_with_the_conversation() -> None:
    conversation = talk(WithAdapters())
    say(conversation, "I am Ada.")
    do(conversation, "adapter use style")
    assert do(conversation, "model other") == "going on with echo in this process: other, 2048 tokens of context"
    assert (conversation.llm.model, conversation.adapter, len(conversation.session)) == ("other", None, 2)


def test_an_adapter_named_as_a_model_is_used_as_an_adapter() -> None:
    conversation = talk(WithAdapters())
    do(conversation, "model style")
    assert (conversation.llm.model, conversation.adapter) == ("base", "style")


def test_another_provider_goes_on_with_the_conversation() -> None:
    conversation = talk()
    say(conversation, "I am Ada.")
    with substituted(EchoProvider("qwen3")) as made:
        do(conversation, "model ollama/qwen3")
    assert made == [("ollama", "qwen3")]
    assert (conversation.llm.model, len(conversation.session)) == ("qwen3", 2)


def test_an_unknown_model_names_the_nearest_and_changes_nothing() -> None:
    conversation = talk(WithAdapters())
    with pytest.raises(ModelNotFoundError) as caught:
        do(conversation, "model othr")
    assert caught.value.hint == "/model other"
    assert conversation.llm.model == "base"


def test_an_adapter_is_loaded_used_and_unloaded() -> None:
    conversation = talk(WithAdapters())
    assert "/adapter use sql" in do(conversation, "adapter load sql /adapters/sql")
    do(conversation, "adapter use sql")
    assert conversation.status().adapter == "sql"
    assert asked(conversation).model == "sql"
    assert do(conversation, "adapter").splitlines() == ["  style  /adapters/style", "* sql    /adapters/sql"]
    assert do(conversation, "adapter unload sql").endswith("base answers itself")
    assert asked(conversation).model is None
    do(conversation, "adapter use style")
    do(conversation, "adapter off")
    assert asked(conversation).model is None


def test_an_adapter_that_is_not_loaded_names_the_nearest() -> None:
    with pytest.raises(AdapterError, match="'styl' is not loaded") as caught:
        do(talk(WithAdapters()), "adapter use styl")
    assert caught.value.hint == "/adapter use style"


@pytest.mark.parametrize("line", ["adapter load sql", "adapter use", "adapter laod sql /a", "adapter 'x"])
def test_a_mistyped_adapter_command_shows_how_it_is_written(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        do(talk(WithAdapters()), line)
    assert "load NAME PATH" in (caught.value.hint or "")


def test_a_backend_without_adapters_says_so() -> None:
    with pytest.raises(UnsupportedFeatureError, match="multi_lora"):
        do(talk(), "adapter list")


# --- what was said ---------------------------------------------------------------------------------------------------


def test_history_and_clear() -> None:
    conversation = talk(system_prompt="Be brief.")
    say(conversation, "I am Ada.")
    assert do(conversation, "history") == "system: Be brief.\nuser: I am Ada.\nassistant: I am Ada."
    assert conversation.figures.context_used
    assert do(conversation, "clear").startswith("forgot 2 messages")
    assert do(conversation, "history") == "system: Be brief."
    assert conversation.figures.context_used is None


def test_compact_puts_a_summary_in_the_place_of_older_messages() -> None:
    conversation = talk()
    assert "no older" in do(conversation, "compact")
    for text in ("one", "two", "three"):
        say(conversation, text)
    assert do(conversation, "compact") == "a summary took the place of 2 messages"
    assert do(conversation, "history").startswith("summary: ")


def test_a_saved_conversation_goes_on_with_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "my talk.json"
    first = talk(WithAdapters(), system_prompt="Be brief.", temperature=0.5)
    do(first, "adapter use style")
    do(first, 'guided json {"type": "string"}')
    say(first, "I am Ada.")
    assert do(first, f"save {path}") == f"saved 2 messages to {path}"
    again = talk(WithAdapters())
    assert do(again, f"load {path}") == f"loaded 2 messages from {path}"
    assert do(again, "history") == do(first, "history")
    assert again.options == first.options
    assert (again.adapter, again.constraint) == ("style", "json")


def test_what_is_not_there_any_more_is_said_on_loading(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    first = talk(WithAdapters())
    do(first, "adapter use style")
    do(first, f"save {path}")
    plain = talk()
    said = do(plain, f"load {path}")
    assert "they were said with echo/base; from here on echo answers" in said
    assert "multi_lora" in said
    assert plain.adapter is None


def test_a_file_that_is_no_conversation_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="left as it is"):
        do(talk(), f"save {path}")
    assert path.read_text() == "mine"
    for _ in range(2):
        do(talk(), f"save {tmp_path}/talk.json")


@pytest.mark.parametrize("line", ["save", "load", "load /nowhere/talk.json"])
def test_a_file_that_is_not_there_changes_nothing(line: str) -> None:
    conversation = talk()
    say(conversation, "I am Ada.")
    with pytest.raises(AbstractCoreError):
        do(conversation, line)
    assert len(conversation.session) == 2


def test_settings_show_all_that_is_set() -> None:
    shown = do(talk(WithAdapters(), temperature=0.5, guided_choice=["a", "b"]), "settings")
    for row in ("model          base", "context        2048 tokens", "temperature    0.5", 'guided_choice  ["a","b"]'):
        assert row in shown


def test_an_answer_that_is_given_up_leaves_no_trace() -> None:
    conversation = talk()
    answer = conversation.ask("one two three")
    next(answer)
    answer.close()
    assert len(conversation.session) == 0


def test_advice_names_commands_not_calls() -> None:
    assert "/compact" in (advice(ContextLengthError("too long", provider="vllm")) or "")
    missing = ModelNotFoundError("which?", provider="vllm")
    missing.available = ("a", "b")
    assert advice(missing) == "/model NAME; served here: a, b"
    assert advice(AdapterError("no", provider="vllm")) is None
