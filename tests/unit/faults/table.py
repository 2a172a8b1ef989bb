"""The faults: one row each, with what the caller gets in each of four ways (sync, async; plain, stream)."""

from __future__ import annotations

import gzip
from typing import Final

from abstractcore.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderAPIError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    ServerOverloadedError,
    StreamInterruptedError,
)
from abstractcore.wire.call import Timeouts

from .play import (
    DONE,
    END,
    ERROR,
    ERROR_EVENT,
    EVENTS,
    GOOD,
    GOOD_STREAM,
    HELLO,
    REPEATING,
    STOP,
    TEXT,
    WORLD,
    Act,
    Fault,
    Step,
    answers,
    body,
    chunk,
    event,
    head,
    streams,
    whole,
)

FIRST: Final = Timeouts(connect=5.0, first_byte=0.15, idle=5.0, total=10.0)
SHORT: Final = Timeouts(connect=5.0, first_byte=0.15, idle=0.15, total=10.0)
IDLE: Final = Timeouts(connect=5.0, first_byte=5.0, idle=0.15, total=10.0)
TOTAL: Final = Timeouts(connect=5.0, first_byte=5.0, idle=5.0, total=0.5)
_LENGTH: Final = head("Content-Type: application/json", "Content-Length: 500")


def _refusal(name: str, status: str, error: type[ProviderError], breaks: str) -> Fault:
    return Fault(name=name, breaks=breaks, plain=answers(ERROR, status=status), both=error)


def _cut(*steps: Step) -> list[tuple[Step, ...]]:
    return [(Act.READ, EVENTS, chunk(HELLO), *steps)]


CONNECTION: Final = (
    Fault(name="refused", breaks="nothing listens", refused=True, both=ConnectionFailedError),
    Fault(
        name="closed-at-once",
        breaks="the connection opens and closes, as through Docker's proxy while the server loads",
        plain=[(Act.CLOSE,)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="reset-at-once",
        breaks="the connection is reset before the request",
        plain=[(Act.RESET,)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="closed-unanswered",
        breaks="closed after the request",
        plain=[(Act.READ, Act.CLOSE)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="reset-unanswered",
        breaks="reset after the request",
        plain=[(Act.READ, Act.RESET)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="reset-then-well",
        breaks="reset after the request once; the next attempt is answered",
        plain=[(Act.READ, Act.RESET), GOOD],
        stream=[(Act.READ, Act.RESET), GOOD_STREAM],
    ),
    Fault(
        name="silent",
        breaks="the request is taken and nothing ever comes",
        plain=[(Act.READ, Act.STALL)],
        limits=FIRST,
        both=RequestTimeoutError,
    ),
    Fault(
        name="cut-in-status",
        breaks="closed within the status line",
        plain=[(Act.READ, b"HTTP/1.1 2", Act.CLOSE)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="cut-in-head",
        breaks="closed within the headers",
        plain=[(Act.READ, b"HTTP/1.1 200 OK\r\nContent-Le", Act.CLOSE)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="reset-in-head",
        breaks="reset within the headers",
        plain=[(Act.READ, b"HTTP/1.1 200 OK\r\nContent-Le", Act.RESET)],
        both=ConnectionFailedError,
    ),
    Fault(
        name="cut-after-head",
        breaks="closed after the headers",
        plain=[(Act.READ, _LENGTH, Act.CLOSE)],
        stream=[(Act.READ, EVENTS, Act.CLOSE)],
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="reset-after-head",
        breaks="reset after the headers",
        plain=[(Act.READ, _LENGTH, Act.RESET)],
        stream=[(Act.READ, EVENTS, Act.RESET)],
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="cut-in-body",
        breaks="closed within the body",
        plain=[(Act.READ, _LENGTH, body()[:40], Act.CLOSE)],
        stream=_cut(Act.CLOSE),
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="reset-in-body",
        breaks="reset within the body",
        plain=[(Act.READ, _LENGTH, body()[:40], Act.RESET)],
        stream=_cut(Act.RESET),
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="cut-in-chunk",
        breaks="closed within a chunk",
        plain=[(Act.READ, EVENTS, b"80\r\n{", Act.CLOSE)],
        stream=_cut(b"80\r\ndata: {", Act.CLOSE),
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="stalled",
        breaks="the body stops coming",
        plain=[(Act.READ, _LENGTH, body()[:40], Act.STALL)],
        stream=_cut(Act.STALL),
        limits=IDLE,
        plain_gives=RequestTimeoutError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="head-then-silent",
        breaks="headers come, the first token never",
        plain=[(Act.READ, _LENGTH, Act.STALL)],
        stream=[(Act.READ, EVENTS, Act.STALL)],
        limits=FIRST,
        plain_gives=RequestTimeoutError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="slow-loris",
        breaks="a byte now and then, for ever",
        plain=[(Act.READ, _LENGTH, Act.TRICKLE)],
        stream=[(Act.READ, head("Content-Type: text/event-stream"), HELLO, Act.TRICKLE)],
        limits=TOTAL,
        plain_gives=RequestTimeoutError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="slow-loris-in-head",
        breaks="a byte of the headers now and then, for ever",
        plain=[(Act.READ, b"HTTP/1.1 200 OK\r\nX: ", Act.TRICKLE)],
        limits=FIRST,
        both=RequestTimeoutError,
    ),
    Fault(
        name="slow-loris-without-total",
        breaks="the same within the body, and there is no limit for the whole call",
        plain=[(Act.READ, _LENGTH, Act.TRICKLE)],
        stream=[(Act.READ, head("Content-Type: text/event-stream"), HELLO, Act.TRICKLE)],
        limits=IDLE,
        plain_gives=RequestTimeoutError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="only-comments",
        breaks="keep-alive comments come, content does not",
        plain=[(Act.READ, _LENGTH, Act.STALL)],
        stream=_cut(Act.PING),
        limits=SHORT,
        plain_gives=RequestTimeoutError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="stale-connection",
        breaks="the kept connection is closed under the request",
        plain=[GOOD, (Act.READ, Act.CLOSE), GOOD],
        stream=[GOOD_STREAM, (Act.READ, Act.CLOSE), GOOD_STREAM],
    ),
)

HTTP: Final = (
    Fault(
        name="no-http",
        breaks="an answer that is no HTTP",
        plain=[(Act.READ, b"220 smtp.example.com ESMTP\r\n", Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="bad-version",
        breaks="an HTTP version that there is not",
        plain=[(Act.READ, b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="huge-head",
        breaks="headers without end",
        plain=[(Act.READ, b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 200_000, Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="bad-chunk-size",
        breaks="a chunk size that is none",
        plain=[(Act.READ, EVENTS, b"zz\r\n", Act.STALL)],
        stream=_cut(b"zz\r\n", Act.STALL),
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
        partial="Hello",
    ),
    Fault(
        name="length-and-chunks",
        breaks="two lengths that contradict each other",
        plain=[(Act.READ, head("Content-Length: 5", "Transfer-Encoding: chunked"), chunk(body()), END, Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="negative-length",
        breaks="a negative length",
        plain=[(Act.READ, head("Content-Length: -5"), Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="continue-first",
        breaks="100 Continue that nobody asked for, then an answer",
        plain=[(Act.READ, b"HTTP/1.1 100 Continue\r\n\r\n", GOOD[1])],
        stream=[(Act.READ, b"HTTP/1.1 100 Continue\r\n\r\n", *GOOD_STREAM[1:])],
    ),
    Fault(
        name="early-hints",
        breaks="103 Early Hints, then an answer",
        plain=[(Act.READ, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", GOOD[1])],
        stream=[(Act.READ, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", *GOOD_STREAM[1:])],
    ),
    Fault(
        name="switching-protocols",
        breaks="101 Switching Protocols",
        plain=[(Act.READ, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Act.STALL)],
        both=ProviderAPIError,
    ),
    Fault(
        name="no-content",
        breaks="204 without a body",
        plain=[(Act.READ, head(status="204 No Content"))],
        plain_gives=ProviderAPIError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="data-after-answer",
        breaks="bytes after the end of the answer",
        plain=[(Act.READ, GOOD[1], b"more", Act.STALL)],
        stream=[(*GOOD_STREAM, b"more", Act.STALL)],
    ),
    Fault(
        name="html-page",
        breaks="200 with a web page, as a captive portal gives",
        plain=[(Act.READ, whole(b"<html>Please log in</html>", "Content-Type: text/html"))],
        plain_gives=ProviderAPIError,
        stream_gives=StreamInterruptedError,
    ),
    Fault(
        name="gzip",
        breaks="a compressed answer that nobody asked for",
        plain=answers(gzip.compress(body()), headers=("Content-Encoding: gzip",)),
        stream=[
            (
                Act.READ,
                head("Content-Encoding: gzip", "Content-Type: text/event-stream", "Connection: close"),
                gzip.compress(HELLO + WORLD + STOP + DONE),
                Act.CLOSE,
            )
        ],
    ),
    Fault(
        name="broken-gzip",
        breaks="a compressed answer that breaks off",
        plain=answers(gzip.compress(body())[:-20], headers=("Content-Encoding: gzip",)),
        stream=[
            (
                Act.READ,
                head("Content-Encoding: gzip", "Content-Type: text/event-stream", "Connection: close"),
                gzip.compress(HELLO + WORLD + STOP + DONE)[:-4],
                Act.CLOSE,
            )
        ],
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
        partial=TEXT,
    ),
    Fault(
        name="unknown-encoding",
        breaks="an encoding that nobody knows",
        plain=answers(body(), headers=("Content-Encoding: zz",)),
        plain_gives=ConnectionFailedError,
        stream_gives=StreamInterruptedError,
    ),
)

STATUSES: Final = (
    Fault(
        name="redirect",
        breaks="a redirect to another host, which is told and not followed",
        plain=answers(
            headers=("Location: http://elsewhere.test/v1/chat/completions",), status="307 Temporary Redirect"
        ),
        both=ProviderAPIError,
    ),
    _refusal("400", "400 Bad Request", InvalidRequestError, "the request is refused"),
    _refusal("401", "401 Unauthorized", AuthenticationError, "the key is refused"),
    _refusal("403", "403 Forbidden", AuthenticationError, "the key may not do this"),
    _refusal("404", "404 Not Found", ModelNotFoundError, "there is no such model"),
    _refusal("413", "413 Payload Too Large", InvalidRequestError, "the request is too large"),
    _refusal("422", "422 Unprocessable Entity", InvalidRequestError, "the request is not understood"),
    _refusal("500", "500 Internal Server Error", ProviderAPIError, "the server fails"),
    _refusal("502", "502 Bad Gateway", ProviderAPIError, "a proxy does not reach the server"),
    _refusal("504", "504 Gateway Timeout", ProviderAPIError, "a proxy lost its patience"),
    Fault(
        name="429",
        breaks="too many requests, come back in an hour",
        plain=answers(ERROR, status="429 Too Many Requests", headers=("Retry-After: 3600",)),
        both=RateLimitError,
    ),
    Fault(
        name="503",
        breaks="overloaded, come back in an hour",
        plain=answers(ERROR, status="503 Service Unavailable", headers=("Retry-After: 3600",)),
        both=ServerOverloadedError,
    ),
    Fault(
        name="429-then-well",
        breaks="too many requests once; the next attempt is answered",
        plain=[answers(ERROR, status="429 Too Many Requests", headers=("Retry-After: 0",))[0], GOOD],
        stream=[answers(ERROR, status="429 Too Many Requests", headers=("Retry-After: 0",))[0], GOOD_STREAM],
    ),
    Fault(
        name="503-then-well",
        breaks="overloaded once; the next attempt is answered",
        plain=[answers(ERROR, status="503 Service Unavailable", headers=("Retry-After: 0",))[0], GOOD],
        stream=[answers(ERROR, status="503 Service Unavailable", headers=("Retry-After: 0",))[0], GOOD_STREAM],
    ),
    Fault(
        name="html-error",
        breaks="an error page of a proxy",
        plain=[(Act.READ, whole(b"<html>Bad Gateway</html>", "Content-Type: text/html", status="502 Bad Gateway"))],
        both=ProviderAPIError,
    ),
)

ANSWERS: Final = (
    Fault(name="empty-body", breaks="200 and nothing", plain=answers(b""), stream=streams(),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError),
    Fault(name="broken-json", breaks="JSON that breaks off", plain=answers(body()[:50]),
          stream=streams(HELLO, b'data: {"choices": [{"index"\n\n', STOP, DONE),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="other-json", breaks="JSON of another kind", plain=answers(b"[1, 2]"),
          stream=streams(HELLO, b"data: [1, 2]\n\n", STOP, DONE),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="deep-json", breaks="JSON nested 100,000 deep", plain=answers(b"[" * 100_000),
          stream=streams(HELLO, b"data: " + b"[" * 100_000 + b"\n\n"),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="no-utf8", breaks="bytes that are no UTF-8", plain=answers(body().replace(b"Hello", b"H\xff\xfe")),
          stream=streams(HELLO, event(" w").replace(b" w", b"\xff\xfe"), STOP, DONE),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="error-in-200", breaks="an error inside of a 200 answer", plain=answers(ERROR),
          stream=streams(HELLO, ERROR_EVENT, DONE), plain_gives=ProviderAPIError,
          stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="error-first", breaks="the first thing is an error", plain=answers(ERROR),
          stream=streams(ERROR_EVENT, DONE), plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError),
    Fault(name="error-after-finish", breaks="an error after the finish reason", plain=answers(ERROR),
          stream=streams(HELLO, STOP, ERROR_EVENT, DONE), plain_gives=ProviderAPIError,
          stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="no-choices", breaks="an answer without choices", plain=answers(body(choices=[])),
          stream=streams(event(choices=[]), DONE), plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError),
    Fault(name="no-finish-reason", breaks="it ends cleanly without a finish reason",
          plain=answers(body(choice={"finish_reason": None})), stream=streams(HELLO, WORLD, DONE),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello world"),
    Fault(name="no-finish-no-done", breaks="it ends cleanly without finish reason and without [DONE]",
          plain=answers(body(choice={"finish_reason": None})), stream=streams(HELLO, WORLD),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello world"),
    Fault(name="repeats-key", breaks="the server repeats the key in its refusal",
          plain=answers(REPEATING, status="401 No"), stream=streams(HELLO, b"data: " + REPEATING + b"\n\n", DONE),
          plain_gives=AuthenticationError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="aborted", breaks="the server aborted the request",
          plain=answers(body(choice={"finish_reason": "abort"})), stream=streams(HELLO, event(finish="abort"), DONE),
          plain_gives=ProviderAPIError, stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="no-done", breaks="finish reason, but no [DONE]", plain=answers(body()),
          stream=streams(HELLO, WORLD, STOP)),
    Fault(name="ends-in-event", breaks="it ends in the middle of an event", plain=answers(body()[:-1]),
          stream=streams(HELLO, WORLD, STOP, b'data: {"choices": [{"ind'), plain_gives=ProviderAPIError,
          stream_gives=StreamInterruptedError, partial="Hello world"),
    Fault(name="huge-event", breaks="an event of 2 MiB without an end", plain=answers(b"x" * (2 << 20)),
          stream=streams(HELLO, b"data: " + b"x" * (2 << 20), end=Act.STALL), plain_gives=ProviderAPIError,
          stream_gives=StreamInterruptedError, partial="Hello"),
    Fault(name="byte-by-byte", breaks="every byte in a chunk of its own",
          plain=[(Act.READ, EVENTS, b"".join(chunk(bytes([byte])) for byte in body()), END)],
          stream=[(Act.READ, EVENTS, b"".join(chunk(bytes([byte])) for byte in HELLO + WORLD + STOP + DONE), END)]),
    Fault(name="other-line-ends", breaks="events that end in CR LF", plain=answers(body()),
          stream=streams(*(part.replace(b"\n", b"\r\n") for part in (HELLO, WORLD, STOP, DONE)))),
    Fault(name="comments", breaks="comments and empty events between the others", plain=answers(b" \n" + body()),
          stream=streams(b": ping\n\n", HELLO, b"\n\n", WORLD, b": ping\n\n", STOP, DONE)),
    Fault(name="after-done", breaks="more after [DONE]", plain=answers(body()),
          stream=streams(HELLO, WORLD, STOP, DONE, b": bye\n\n")),
    Fault(name="foreign-choice", breaks="a choice that nobody asked for", plain=answers(body()),
          stream=streams(HELLO, WORLD, event(choices=[{"index": 7, "delta": {"content": "x"}}]), STOP, DONE),
          stream_gives=StreamInterruptedError, partial="Hello world"),
)  # fmt: skip

FAULTS: Final = (*CONNECTION, *HTTP, *STATUSES, *ANSWERS)
