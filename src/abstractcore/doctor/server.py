"""Checks of a running server, by what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from ..errors import AbstractCoreError, ProviderError
from ..vllm_facts import REFUSE_BELOW, WARN_BELOW, exposure, parse_version
from ..wire.call import Answer
from .check import Check
from .facts import Facts, Http
from .finding import Finding, error, ok, unknown, warning

_POSTED: Final = ("/invocations", "/adapters", "/tokenize")
_OPEN: Final = (*_POSTED, "/metrics", "/docs", "/openapi.json")
"""Paths that vLLM's own key does not guard."""
_REFUSED: Final = (401, 403)


def _health(facts: Facts) -> Iterator[Finding]:
    if facts.http is None:
        return
    try:
        answer = facts.http.get("/health")
    except ProviderError as problem:
        yield error(
            f"{facts.http.base_url} does not answer: {problem.why or problem.message}",
            expected="200 on /health",
            why="nothing can be asked of it",
            cure=problem.hint or "abstractcore logs",
        )
        return
    if answer.status == 200:
        yield ok(f"200 after {answer.elapsed * 1e3:.0f} ms")
    else:
        yield error(
            f"/health answers {answer.status}",
            expected="200",
            why="the engine is dead or still loading",
            cure="abstractcore logs",
        )


def _version(facts: Facts) -> Iterator[Finding]:
    if facts.http is None:
        return
    number = parse_version(facts.version or "")
    if number is None:
        yield unknown("the server does not tell its version")
        return
    judged = exposure(number)
    if judged == "fine":
        yield ok(f"vLLM {facts.version}")
        return
    least = ".".join(map(str, REFUSE_BELOW if judged == "refuse" else WARN_BELOW))
    tell = error if judged == "refuse" and _is_open(facts) else warning
    yield tell(
        f"vLLM {facts.version}",
        expected=f"{least} or newer",
        why="security fixes of later releases are missing; on a network that others reach it can be taken over"
        if judged == "refuse"
        else "published advisories are fixed in later releases",
        cure="abstractcore up MODEL --vllm-version 0.32.0; a V100, which needs 0.8.5, belongs on a closed network",
    )


def _is_open(facts: Facts) -> bool:
    """Whether others than this machine may reach the server, as far as its container shows."""
    from .container import open_addresses

    return facts.server is not None and bool(open_addresses(facts.server))


def _models(facts: Facts) -> Iterator[Finding]:
    if facts.http is None:
        return
    answer = facts.http.get("/v1/models", key=facts.subject.key)
    if answer.status in _REFUSED:
        yield error(
            f"/v1/models answers {answer.status} with the key that was given",
            expected="200",
            why="the server knows another key",
            cure="give the server's own: --key-file FILE, VLLM_API_KEY_FILE or VLLM_API_KEY",
        )
    elif answer.status != 200:
        yield error(
            f"/v1/models answers {answer.status}", expected="200", why="no model can be asked", cure="abstractcore logs"
        )
    else:
        names = [row["id"] for row in json.loads(answer.body)["data"]]
        yield ok(f"serves {', '.join(names)}")


def _key(facts: Facts) -> Iterator[Finding]:
    if facts.http is None:
        return
    if facts.http.get("/v1/models").status in _REFUSED:
        yield ok("/v1 refuses who has no key")
        return
    tell = error if _is_open(facts) else warning
    yield tell(
        "/v1/models answers without a key",
        expected="401",
        why="whoever reaches the port uses the model",
        cure="abstractcore up makes a key by itself; by hand: VLLM_API_KEY in the environment of the server",
    )


def _open_paths(facts: Facts) -> Iterator[Finding]:
    """The key of vLLM guards only some prefixes: the rest is open to whoever reaches the port."""
    if facts.http is None or facts.http.get("/v1/models").status not in _REFUSED:
        return
    found = [path for path in _OPEN if _answers(facts.http, path)]
    if not found:
        yield ok("what the key does not guard can't be reached either")
        return
    if facts.server is not None and facts.server.network != "host" and not facts.server.ports:
        yield ok(f"{', '.join(found)} answer without the key, to nobody outside the container's own network")
        return
    tell = error if _is_open(facts) else warning
    yield tell(
        f"answered without the key: {', '.join(found)}",
        expected="nothing but /health",
        why="/invocations gives whole completions, /adapters loads and unloads adapters; "
        "vLLM's key guards /v1, /v2, /inference and /cohere only",
        cure="let nobody but the client reach the port: abstractcore up MODEL --profile private, or sealed",
    )


def _answers(http: Http, path: str) -> bool:
    try:
        answer: Answer = http.post(path, {}) if path in _POSTED else http.get(path)
    except ProviderError:
        return False
    # An empty body is refused by the schema, which shows that the key was not asked for.
    return answer.status in (200, 400, 422)


def _regex(facts: Facts) -> Iterator[Finding]:
    if facts.http is None:
        return
    try:
        answer = facts.answers()
    except AbstractCoreError as problem:
        yield error(
            problem.message,
            expected="four digits, asked for by a regex",
            why=problem.why or "an answer that should be constrained is not, or none came",
            cure=problem.hint or "abstractcore logs",
        )
        return
    yield ok(f"asked for four digits by a regex, got {answer!r}")


CHECKS: Final = (
    Check("server.health", "the server answers", _health),
    Check("server.version", "no known holes in its version", _version),
    Check("server.models", "it serves a model, and takes the key", _models),
    Check("server.key", "it refuses who has no key", _key),
    Check("server.open_paths", "nothing answers without the key", _open_paths),
    Check("server.regex", "a constraint binds", _regex),
)
