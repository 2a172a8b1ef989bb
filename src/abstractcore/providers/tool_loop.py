"""The loop of a model and its tools: ask, run what it calls, tell it the results, until it answers.

``_steps`` decides all of it and runs nothing. The two drivers below it ask the model and call the functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..errors import ConfigurationError, StepLimitError, ToolCallError
from ..tools import ToolDefinition, fault, read_tools
from ..types import GenerateResponse, Message, ToolCall, Usage
from .request import GUIDED

OnToolError: TypeAlias = Literal["tell", "raise"]
Options: TypeAlias = Mapping[str, Any]

_FOR_THE_ANSWER: Final = (*GUIDED, "response_model", "on_cut")
"""Options that hold for the final answer only: a constraint leaves no room for a tool call."""


class _Ask(Struct, frozen=True):
    options: Options


class _Run(Struct, frozen=True):
    calls: Sequence[ToolCall]


class _Done(Struct, frozen=True):
    answer: GenerateResponse


_Steps: TypeAlias = Generator[_Ask | _Run | _Done, Any, None]


class ToolLoop:
    """One run of the loop.

    Args:
        prompt: What the user says.
        max_steps: Most requests to the model.
        on_tool_error: ``tell`` the model, or ``raise``.
        options: Options of ``generate``; each of the ``tools`` must have a function.

    Raises:
        ConfigurationError: A tool has no function, or the options leave no room for a loop.
    """

    def __init__(
        self,
        prompt: str | None,
        max_steps: int,
        on_tool_error: OnToolError,
        options: Options,
    ) -> None:
        self._max_steps = max_steps
        self._tells = on_tool_error == "tell"
        self._options = {name: value for name, value in options.items() if value is not None}
        self._tools = read_tools(self._options.pop("tools", ()))
        history = [_message(message) for message in self._options.pop("messages", ())]
        self._messages = [*history, Message("user", prompt)] if prompt is not None else history
        self._check(on_tool_error)

    def _check(self, on_tool_error: str) -> None:
        idle = next((known.name for known in self._tools if known.function is None), None)
        if idle is not None:
            raise ConfigurationError(f"run_tools can't call {idle!r}: it has no function", hint="pass the function")
        if not self._tools or self._max_steps < 1 or on_tool_error not in ("tell", "raise"):
            raise ConfigurationError("run_tools needs tools, max_steps of at least 1, and on_tool_error tell or raise")
        if self._options.get("n", 1) != 1 or self._options.get("tool_choice") == "none":
            raise ConfigurationError(
                "run_tools follows one conversation with tools: leave n and tool_choice='none' out"
            )

    def run(self, ask: Callable[[Options], GenerateResponse]) -> GenerateResponse:
        """Runs the loop in this thread."""
        waiting = next((known.name for known in self._tools if known.is_async), None)
        if waiting is not None:
            raise ConfigurationError(f"the tool {waiting!r} is async", hint="use arun_tools")
        steps = self._steps()
        step = next(steps)
        while not isinstance(step, _Done):
            if isinstance(step, _Run):
                step = steps.send([self._call(call) for call in step.calls])
                continue
            try:
                response = ask(step.options)
            except ToolCallError as error:
                step = steps.throw(error)
            else:
                step = steps.send(response)
        return step.answer

    async def arun(self, ask: Callable[[Options], Awaitable[GenerateResponse]]) -> GenerateResponse:
        """Runs the loop on the event loop; the calls of one answer run at the same time."""
        steps = self._steps()
        step = next(steps)
        while not isinstance(step, _Done):
            if isinstance(step, _Run):
                import asyncio  # costs more to load than all else here, and sync code needs none

                results = await asyncio.gather(*map(self._acall, step.calls), return_exceptions=True)
                failed = next((result for result in results if isinstance(result, BaseException)), None)
                if failed is not None:
                    raise failed
                step = steps.send(results)
                continue
            try:
                response = await ask(step.options)
            except ToolCallError as error:
                step = steps.throw(error)
            else:
                step = steps.send(response)
        return step.answer

    def _steps(self) -> _Steps:
        """What is to be done next, up to the answer."""
        asking = {name: value for name, value in self._options.items() if name not in _FOR_THE_ANSWER}
        held = len(asking) < len(self._options)
        used = Usage()
        for step in range(1, self._max_steps + 1):
            try:
                response = yield _Ask({**asking, "messages": self._messages, "tools": self._tools})
            except ToolCallError as error:
                if not self._tells or not error.calls:
                    raise
                self._tell_faults(error)
            else:
                used = _sum(used, response.usage)
                if not response.tool_calls:
                    yield from self._answer(response, step, used, held=held)
                    return
                calls = _with_ids(response.tool_calls, step)
                self._messages.append(
                    Message("assistant", response.content, tool_calls=calls, reasoning_blocks=response.reasoning_blocks)
                )
                results = yield _Run(calls)
                self._messages += [_result(call, text) for call, text in zip(calls, results, strict=True)]
            asking["tool_choice"] = "auto"
        limit = StepLimitError(
            f"the model still calls tools after {self._max_steps} steps",
            why=f"{len(self._messages)} messages were exchanged",
            hint="the conversation is in the error's .messages; give a higher max_steps",
        )
        limit.messages = tuple(self._messages)
        raise limit

    def _answer(self, response: GenerateResponse, step: int, used: Usage, *, held: bool) -> _Steps:
        if held:  # now that no call is wanted, the constraint may bind
            final = {"messages": self._messages, "tools": self._tools, "tool_choice": "none"}
            response = yield _Ask({**self._options, **final})
            step, used = step + 1, _sum(used, response.usage)
        self._messages.append(Message("assistant", response.content))
        response.metadata |= {"transcript": self._messages, "steps": step, "total_usage": used}
        yield _Done(response)

    def _tell_faults(self, error: ToolCallError) -> None:
        calls = _with_ids(error.calls, len(self._messages))
        self._messages.append(Message("assistant", "", tool_calls=calls))
        faults = [fault(call, self._tools) for call in calls]
        told = [f"Error: {why}" if why else f"Error: not run; {error.why}" for why in faults]
        self._messages += [_result(call, text) for call, text in zip(calls, told, strict=True)]

    def _call(self, call: ToolCall) -> str:
        known = self._known(call)
        try:
            return _text(_function(known)(**known.convert(call.arguments)))
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is for the model to know, if so wished
            return self._failed(error)

    async def _acall(self, call: ToolCall) -> str:
        known = self._known(call)
        try:
            arguments = known.convert(call.arguments)
            if known.is_async:
                return _text(await _function(known)(**arguments))
            import asyncio

            return _text(await asyncio.to_thread(_function(known), **arguments))
        except Exception as error:  # noqa: BLE001 - as in _call
            return self._failed(error)

    def _failed(self, error: Exception) -> str:
        if not self._tells:
            raise error
        return f"Error: {type(error).__name__}: {error}"

    def _known(self, call: ToolCall) -> ToolDefinition:
        return next(known for known in self._tools if known.name == call.name)


def _function(known: ToolDefinition) -> Callable[..., Any]:
    assert known.function is not None
    return known.function


def _message(given: Message | Mapping[str, Any]) -> Any:
    return given if isinstance(given, Message) else dict(given)


def _with_ids(calls: Iterable[ToolCall], step: int) -> list[ToolCall]:
    """The calls, each with an id by which its result can name it."""
    return [replace(call, call_id=call.call_id or f"call-{step}-{index}") for index, call in enumerate(calls)]


def _result(call: ToolCall, text: str) -> Message:
    return Message("tool", text, name=call.name, tool_call_id=call.call_id)


def _text(result: Any) -> str:
    """What the model is told of a result: text as it is, all else as JSON."""
    return result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=_plain).decode()


def _plain(result: Any) -> Any:
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else str(result)


def _sum(one: Usage, other: Usage | None) -> Usage:
    if other is None:
        return one
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)
