"""A stream within a conversation: handed on as it comes, remembered when it has ended well."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..errors import ContextLengthError
from ..types import GenerateResponse

if TYPE_CHECKING:
    from types import TracebackType

    from ..transport import AsyncStream, Stream

Remember: TypeAlias = Callable[[str, GenerateResponse], None]
"""Takes an answer into the history: its text, and the response, or last chunk, with all else."""


class _Listener:
    """Puts the first answer of a stream together, and has it remembered with the last chunk."""

    def __init__(self, remember: Remember) -> None:
        self._remember: Remember | None = remember
        self._texts: list[str] = []

    def hear(self, chunk: GenerateResponse) -> GenerateResponse:
        if chunk.index == 0:
            self._texts.append(chunk.content)
        if chunk.finish_reason is not None and self._remember is not None:
            remember, self._remember = self._remember, None
            remember("".join(self._texts), chunk)
        return chunk


class SessionStream:
    """The chunks of an answer in a conversation.

    The history gets the whole answer with the last chunk, which comes only if the stream ended well. A stream that
    fails or is closed before that leaves no trace in it.
    """

    def __init__(self, stream: Stream, remember: Remember) -> None:
        self._stream = stream
        self._listener = _Listener(remember)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> GenerateResponse:
        try:
            return self._listener.hear(next(self._stream))
        except ContextLengthError as error:
            raise with_way_out(error) from error.__cause__

    def close(self) -> None:
        """Abort what is still running. Harmless when the stream has ended."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncSessionStream:
    """Like ``SessionStream``, in an event loop."""

    def __init__(self, stream: AsyncStream, remember: Remember) -> None:
        self._stream = stream
        self._listener = _Listener(remember)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerateResponse:
        try:
            chunk: Any = await anext(self._stream)
        except ContextLengthError as error:
            raise with_way_out(error) from error.__cause__
        return self._listener.hear(chunk)

    async def aclose(self) -> None:
        """Abort what is still running. Harmless when the stream has ended."""
        self._stream.close()

    def close(self) -> None:
        """Like ``aclose``, for code that can't wait."""
        self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()


def with_way_out(error: ContextLengthError) -> ContextLengthError:
    """Adds to the error of a conversation that no longer fits what can be done about it."""
    ways = "session.compact() puts a summary in the place of the older messages, session.clear_history() drops them all"
    if ways not in (error.hint or ""):
        error.hint = f"{error.hint}; {ways}" if error.hint else ways
    return error
