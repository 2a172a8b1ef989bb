"""All that a program says of a request, on purpose or not: logs, errors, what tools print that report errors."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import abstractcore
from abstractcore.providers.vllm import VLLMProvider

_OURS = str(Path(abstractcore.__file__).parent)


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """All loggers, also those that have levels of their own, at DEBUG: what they write meanwhile."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def said_by(error: BaseException) -> str:
    """What an error says, with all that it came from."""
    shown = ((str(one), repr(one), repr(vars(one)), *traceback.format_exception(one)) for one in chain(error))
    return "\n".join(part for parts in shown for part in parts)


def variables_of(error: BaseException) -> str:
    """What tools that report errors print beside the traceback: the variables of our own functions on the way."""
    frames = (frame for one in chain(error) for frame, _ in traceback.walk_tb(one.__traceback__))
    return "\n".join(repr(frame.f_locals) for frame in frames if frame.f_code.co_filename.startswith(_OURS))


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it was raised from or while handling."""
    rest: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while rest:
        one = rest.pop()
        if one is not None and one not in seen:
            seen.append(one)
            rest += [one.__cause__, one.__context__]
            yield one


def shown_of(llm: VLLMProvider) -> str:
    """What the parts of a provider show of themselves."""
    endpoint = llm.openai_endpoints[0]
    parts = [endpoint, endpoint.get("http://x"), endpoint.post("http://x", {}), *vars(llm).items()]
    return repr(parts).replace(repr(("api_key", llm.api_key)), "")
