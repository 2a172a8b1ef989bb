"""``Session``: one conversation with one model at a time."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, Unpack, overload

from ..errors import ConfigurationError, ContextLengthError, SessionError
from ..providers.attachments import attach
from ..providers.request import GUIDED, GenerateDefaults, GenerateOptions, check_names
from ..tools import Tool, read_tools
from ..types import GenerateResponse, Message
from ..wire.openai import wire_message
from . import archive, summary
from .history import History
from .stream import AsyncSessionStream, Remember, SessionStream, with_way_out

if TYPE_CHECKING:
    from ..providers import Provider

T = TypeVar("T")
_OWN: Final = ("messages", "raw_prompt")
"""Options of ``generate`` that a conversation has no use for: it brings its own messages."""


class Session(History):
    """A conversation: every answer is asked for with all that was said before.

    The history grows only by turns that ended well: a call that raises, and a stream that fails or is closed early,
    leave it as it was. One turn at a time; the first of several answers (``n``) is the one that is remembered.

    Args:
        llm: Any provider. ``session.llm = other`` goes on with another one.
        options: Options of ``generate`` for all turns, ``system_prompt`` and ``tools`` among them; those of a single
            call beat them.

    Raises:
        TypeError: An option is unknown.
    """

    def __init__(self, llm: Provider, **options: Unpack[GenerateDefaults]) -> None:
        check_names(options)
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        super().__init__(given.pop("system_prompt", None))
        self.llm = llm
        self.tools = read_tools(given.pop("tools", ()))
        self.options = given

    def __repr__(self) -> str:
        return f"Session({self.llm!r}, {len(self)} messages)"

    # --- turns --------------------------------------------------------------------------------------------------------

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: type[T],
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> T: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: object = None,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> SessionStream: ...

    @overload
    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: UnionType,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> Any: ...

    def generate(
        self,
        prompt: str | None = None,
        *,
        response_model: Any = None,
        stream: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Any:
        """Answers within the conversation, as the provider's ``generate`` does.

        Args:
            prompt: What the user says; left out after the results of tools were added.
            response_model: Give the answer as an instance of this class; the history keeps its text.
            stream: Give the answer in chunks; the history gets it with the last one.
            options: ``GenerateOptions`` but ``messages``. Where the session has tools, an answer that is held to a
                constraint calls none, unless ``tool_choice`` says otherwise.

        Raises:
            SessionError: Tool calls of the last answer have no results yet.
            ContextLengthError: The conversation no longer fits; ``compact`` shortens it.
            AbstractCoreError: As the provider's ``generate``.
        """
        said, asked = self._turn(prompt, {**options, "response_model": response_model})
        if stream:
            return SessionStream(self.llm.generate(stream=True, **asked), self._remember(said))
        with _way_out():
            response = self.llm.respond(**asked)
        self._remember(said)(response.content, response)
        return response if response_model is None else response.parsed

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: None = None,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> GenerateResponse: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: type[T],
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> T: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: object = None,
        stream: Literal[True],
        **options: Unpack[GenerateOptions],
    ) -> AsyncSessionStream: ...

    @overload
    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: UnionType,
        stream: Literal[False] = False,
        **options: Unpack[GenerateOptions],
    ) -> Any: ...

    async def agenerate(
        self,
        prompt: str | None = None,
        *,
        response_model: Any = None,
        stream: bool = False,
        **options: Unpack[GenerateOptions],
    ) -> Any:
        """Like ``generate``; a stream is an async iterator."""
        said, asked = self._turn(prompt, {**options, "response_model": response_model})
        if stream:
            return AsyncSessionStream(await self.llm.agenerate(stream=True, **asked), self._remember(said))
        with _way_out():
            response = await self.llm.arespond(**asked)
        self._remember(said)(response.content, response)
        return response if response_model is None else response.parsed

    def run_tools(self, prompt: str | None = None, **options: Any) -> GenerateResponse:
        """Lets the model call the session's tools until it answers; the history gets all of it, or nothing.

        Args:
            prompt: What the user says.
            options: As the provider's ``run_tools`` takes them.

        Raises:
            StepLimitError: The model still wanted tools after ``max_steps``; the error has the ``messages``.
            AbstractCoreError: As the provider's ``run_tools``.
        """
        asked = self._loop(prompt, options)
        with _way_out():
            response = self.llm.run_tools(**asked)
        self._messages = list(response.metadata["transcript"])
        return response

    async def arun_tools(self, prompt: str | None = None, **options: Any) -> GenerateResponse:
        """Like ``run_tools``."""
        asked = self._loop(prompt, options)
        with _way_out():
            response = await self.llm.arun_tools(**asked)
        self._messages = list(response.metadata["transcript"])
        return response

    def _turn(self, prompt: str | None, options: Mapping[str, Any]) -> tuple[list[Message], dict[str, Any]]:
        """What the user says, and the options of the call."""
        said, asked = self._said(prompt, options)
        if asked.get("tools") and any(asked.get(name) is not None for name in (*GUIDED, "response_model")):
            asked.setdefault("tool_choice", "none")
        return said, asked

    def _loop(self, prompt: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
        return self._said(prompt, options)[1]

    def _said(self, prompt: str | None, options: Mapping[str, Any]) -> tuple[list[Message], dict[str, Any]]:
        asked = {**self.options, **{name: value for name, value in options.items() if value is not None}}
        wrong = next((name for name in _OWN if name in asked), None)
        if wrong is not None:
            raise ConfigurationError(
                f"a session has messages of its own, so {wrong} has no place in it",
                hint="add_message() adds one; llm.generate() asks without the conversation",
            )
        waiting = self._unanswered()
        if waiting:
            raise SessionError(
                f"the last answer's tool calls have no results yet: {', '.join(call.name for call in waiting)}",
                hint="add_message('tool', result, tool_call_id=call.call_id) for each, or let run_tools() do it",
            )
        said = [] if prompt is None else [Message("user", prompt)]
        media = asked.pop("media", None)
        if media:
            said = [Message("user", item["content"]) for item in attach([wire_message(item) for item in said], media)]
        if self.tools:
            asked.setdefault("tools", self.tools)
        system = [asked.pop("system_prompt", self.system_prompt)]
        if self.summary:
            system.append(f"Summary of the conversation so far: {self.summary}")
        if any(system):
            asked["system_prompt"] = "\n\n".join(filter(None, system))
        return said, {**asked, "messages": [*self._messages, *said]}

    def _remember(self, said: Sequence[Message]) -> Remember:
        def remember(text: str, response: GenerateResponse) -> None:
            for index, call in enumerate(response.tool_calls):
                call.call_id = call.call_id or f"call-{len(self)}-{index}"  # by which its result can name it
            calls = response.tool_calls or None
            blocks = response.reasoning_blocks if calls else None
            self._messages += [*said, Message("assistant", text, tool_calls=calls, reasoning_blocks=blocks)]

        return remember

    # --- shorter ------------------------------------------------------------------------------------------------------

    def compact(self, *, keep: int = 2, **options: Unpack[GenerateOptions]) -> int:
        """Puts a summary, written by the model, in the place of the older messages.

        Args:
            keep: How many of the last turns stay as they are.
            options: Options of ``generate`` for the summary; ``max_output_tokens`` is 300 when left out.

        Returns:
            How many messages it replaced; 0 if there are no older ones.

        Raises:
            ContextLengthError: A single message is too long to be summarised.
        """
        older, steps, asked = self._summary_of(keep, options)
        if not older:
            return 0
        text = summary.run(steps, lambda prompt: self.llm.respond(prompt, **asked))
        return self._shorten(older, text)

    async def acompact(self, *, keep: int = 2, **options: Unpack[GenerateOptions]) -> int:
        """Like ``compact``."""
        older, steps, asked = self._summary_of(keep, options)
        if not older:
            return 0
        text = await summary.arun(steps, lambda prompt: self.llm.arespond(prompt, **asked))
        return self._shorten(older, text)

    def _summary_of(self, keep: int, options: Mapping[str, Any]) -> tuple[int, summary.Prompts, dict[str, Any]]:
        count = summary.older_than(self._messages, keep)
        given = {name: value for name, value in options.items() if value is not None}
        limit = {} if "max_tokens" in given else {"max_output_tokens": 300}
        return count, summary.summarise(self.summary, self._messages[:count]), {**limit, **given}

    def _shorten(self, older: int, text: str) -> int:
        self.summary, self._messages = text, self._messages[older:]
        return older

    # --- kept ---------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The session as JSON has it: ``schema_version``, ``session``, ``messages``. Keys are not in it.

        Raises:
            SessionError: An option or a message is no JSON.
        """
        names = [known.name for known in self.tools]
        head = archive.Head(
            self.llm.provider, self.llm.model, self.system_prompt, self.summary, dict(self.options), names
        )
        return archive.Archive(archive.VERSION, head, self._messages).to_dict()

    @classmethod
    def from_dict(
        cls, document: Mapping[str, Any], llm: Provider | None = None, *, tools: Sequence[Tool] | None = None
    ) -> Self:
        """A session from what ``to_dict`` gave.

        Args:
            document: As ``to_dict`` gives it.
            llm: The provider to go on with; by default one like the saved one, at its usual address.
            tools: The session's tools, which can't be saved; an empty list goes on without them.

        Raises:
            SessionError: It is no session, one of a newer kind, or its tools are missing.
        """
        return cls._from(archive.read(document), llm, tools)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the session to a file that only its owner can read; at no time is there half a file.

        Raises:
            SessionError: It can't be written.
        """
        archive.save(path, self.to_dict())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], llm: Provider | None = None, *, tools: Sequence[Tool] | None = None
    ) -> Self:
        """A session from a file; arguments as in ``from_dict``.

        Raises:
            SessionError: It can't be read, is no session, one of a newer kind, or its tools are missing.
        """
        return cls._from(archive.load(path), llm, tools)

    @classmethod
    def _from(cls, saved: archive.Archive, llm: Provider | None, tools: Sequence[Tool] | None) -> Self:
        head = saved.session
        given = read_tools(tools or ())
        missing = set(head.tools) - {known.name for known in given}
        if tools is None and missing:
            raise SessionError(
                f"the session has tools, which are functions and can't be saved: {', '.join(sorted(missing))}",
                hint="pass tools=[...]; tools=[] goes on without them",
            )
        if llm is None:
            from ..factory import create_llm

            if head.provider is None:
                raise SessionError("the session doesn't say which provider it was held with", hint="pass llm=...")
            llm = create_llm(head.provider, head.model)
        try:
            session = cls(llm, **head.options)
        except TypeError as error:
            raise SessionError("the session has an option that is not known here", why=str(error)) from error
        session.tools, session.system_prompt, session.summary = given, head.system_prompt, head.summary
        session._messages = saved.messages
        return session


BasicSession = Session


@contextmanager
def _way_out() -> Generator[None]:
    try:
        yield
    except ContextLengthError as error:
        raise with_way_out(error) from error.__cause__
