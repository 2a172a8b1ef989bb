"""What the readers of all streams share: the answer put together, and the decision whether it ended well.

Status 200, a closing mark and a clean end of the connection prove nothing: servers send all three after a failure. A
stream is complete when every choice has a finish reason, no event was an error, and the body ended as HTTP says it
must.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from ..errors import ProviderError, StreamInterruptedError
from ..types import Alternative, GenerateResponse, TokenLogprob, Usage
from .openai import Completion, FunctionDelta, ToolCallDelta, read_tool_calls

ABORTED: Final = "abort"
"""vLLM's finish reason for a request that it gave up."""


class _Choice:
    """What has arrived of one choice."""

    __slots__ = ("finish_reason", "logprobs", "reasoning", "texts", "tools")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reasoning: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.tools: list[ToolCallDelta] = []
        self.finish_reason: str | None = None

    def add_tools(self, deltas: Sequence[ToolCallDelta]) -> None:
        for delta in deltas:
            known = next((call for call in reversed(self.tools) if call.index == delta.index), None)
            if known is None or (delta.id and known.id and delta.id != known.id):  # some servers count all as 0
                known = ToolCallDelta(delta.index, None, FunctionDelta())
                self.tools.append(known)
            known.id = known.id or delta.id
            known.function.name = known.function.name or delta.function.name
            known.function.arguments = (known.function.arguments or "") + (delta.function.arguments or "")


class StreamReader(ABC):
    """Turns the bytes of a stream into chunks. A subclass parses one protocol and calls ``add``.

    Args:
        provider: Name of the backend, for errors.
        url: Address of the request, for errors.
        n: Number of choices that were asked for; all must finish.
    """

    def __init__(self, *, provider: str, url: str, n: int = 1) -> None:
        self._provider = provider
        self._url = url
        self._choices = {index: _Choice() for index in range(n)}
        self._closing_mark: str | None = None
        """The protocol's closing mark, once it came."""
        self.model: str | None = None
        self.response_id: str | None = None
        self.usage: Usage | None = None
        self.progress = 0
        """Counts what has come of an answer; events without any of it are no progress."""
        self.failed: StreamInterruptedError | None = None
        """What broke the stream; set when what came before it was handed out."""
        self.first_at: float | None = None
        """When the first text arrived (``time.perf_counter``)."""

    @abstractmethod
    def _parse(self, data: bytes, chunks: list[GenerateResponse]) -> None:
        """Parses bytes as they came, and adds what is in them to ``chunks``."""

    @abstractmethod
    def _rest(self) -> bytes:
        """What the parser holds of an unfinished event, when the body has ended."""

    @property
    def partial(self) -> str:
        """The text of the first choice so far."""
        return "".join(self._choices[0].texts)

    def feed(self, data: bytes) -> list[GenerateResponse]:
        """Takes bytes as they came and gives the chunks in them.

        An event that is an error, is malformed or too large sets ``failed``; the chunks before it are given all the
        same, so that what a caller sees does not depend on how the bytes were cut.
        """
        chunks: list[GenerateResponse] = []
        try:
            self._parse(data, chunks)
        except StreamInterruptedError as error:
            self.failed = error
        except ProviderError as error:
            self.failed = self.interrupted(error.message, why=error.why)
            self.failed.__cause__ = error
        except RecursionError as error:
            self.failed = self.interrupted("a stream event is nested too deeply to be read")
            self.failed.__cause__ = error
        if chunks and self.first_at is None:
            self.first_at = time.perf_counter()
        return chunks

    def add(
        self,
        index: int,
        *,
        text: str | None = None,
        reasoning: str | None = None,
        logprobs: list[TokenLogprob] | None = None,
        tools: Sequence[ToolCallDelta] = (),
        finish_reason: str | None = None,
    ) -> GenerateResponse | None:
        """Adds to a choice; gives the chunk for the caller, if there is anything to show."""
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice()
        if finish_reason:
            state.finish_reason = finish_reason
            self.progress += 1
        if tools:
            state.add_tools(tools)
            self.progress += 1
        if not text and not reasoning and not logprobs:
            return None
        self.progress += 1
        if text:
            state.texts.append(text)
        if reasoning:
            state.reasoning.append(reasoning)
        if logprobs:
            state.logprobs += logprobs
        return GenerateResponse(
            content=text or "", model=self.model, reasoning=reasoning, logprobs=logprobs, index=index
        )

    def finish(self) -> Completion:
        """Ends the stream: all of it in one piece, if it is complete.

        Raises:
            StreamInterruptedError: It is not.
        """
        if self.failed is not None:
            raise self.failed
        rest = self._rest()
        if rest:
            shown = rest[:80].decode("utf-8", "replace")
            raise self.interrupted("the stream ended inside an event", why=f"the unfinished event begins {shown!r}")
        open_choices = [index for index, choice in self._choices.items() if choice.finish_reason is None]
        if open_choices:
            end = f"after {self._closing_mark}" if self._closing_mark else "without its closing mark"
            raise self.interrupted(
                "the stream ended without a finish reason",
                why=f"the body ended {end}, but choice {open_choices[0]} of {len(self._choices)} has no finish reason",
            )
        if any(choice.finish_reason == ABORTED for choice in self._choices.values()):
            raise self.interrupted("the server aborted the request", why="the finish reason is 'abort'")
        answers = [self._whole(index) for index in sorted(self._choices)]
        return Completion(answers, self.model, self.usage, self.response_id)

    def _whole(self, index: int) -> Alternative:
        state = self._choices[index]
        return Alternative(
            index=index,
            content="".join(state.texts),
            finish_reason=state.finish_reason,
            tool_calls=read_tool_calls(sorted(state.tools, key=lambda call: call.index)),
            reasoning="".join(state.reasoning) or None,
            logprobs=state.logprobs or None,
            score=sum(token.logprob for token in state.logprobs) if state.logprobs else None,
        )

    def malformed(self, event: bytes, error: Exception) -> StreamInterruptedError:
        """The error for an event that the protocol does not know."""
        shown = event[:80].decode("utf-8", "replace")
        return self.interrupted("a stream event is not in the protocol", why=f"{error}; the event begins {shown!r}")

    def interrupted(
        self,
        message: str,
        *,
        why: str | None = None,
        server_message: str | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> StreamInterruptedError:
        """The error for a stream that broke, with the text that had arrived."""
        error = StreamInterruptedError(
            f"{self._provider}: {message}",
            provider=self._provider,
            model=self.model,
            url=self._url,
            status=status,
            server_message=server_message,
            code=code,
            request_id=self.response_id,
            why=why,
            hint="the partial text is in the error's .partial; it is not an answer",
        )
        error.partial = self.partial
        return error
