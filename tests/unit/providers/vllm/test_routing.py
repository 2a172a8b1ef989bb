"""Who answered, and what became of adapters that this client loaded."""

from __future__ import annotations

import json

import pytest

from abstractcore import AdapterError, ModelNotFoundError
from abstractcore.providers.endpoint import Endpoint
from abstractcore.providers.vllm import routing
from abstractcore.providers.vllm.dialect import read_dialect
from abstractcore.providers.vllm.routing import Loaded, Memory, needs_salt, salt
from abstractcore.wire.call import Answer
from tests.plans import play
from tests.recordings import openapi

ENDPOINT = Endpoint("vllm", "http://gpu:8000/v1")

ALIASES = b'{"data": [{"id": "m"}, {"id": "m-alias"}, {"id": "sql", "parent": "m"}]}'


def confirm(asked: str, answered: str | None, memory: Memory | None = None) -> int:
    """Calls that the confirmation took."""
    plan = routing.confirm(memory or Memory(), ENDPOINT, asked, answered)
    return len(play(plan, [Answer(200, {}, ALIASES)])[1])


def test_another_name_of_the_base_model_is_fine_and_asked_once() -> None:
    memory = Memory()
    assert confirm("m-alias", "m", memory) == 1
    assert play(routing.confirm(memory, ENDPOINT, "m-alias", "m"), []) == (None, [])


def test_a_base_model_needs_no_signature() -> None:
    confirm("m", None)


@pytest.mark.parametrize(("asked", "answered"), [("sql", "m"), ("m", "sql"), ("sql", None), ("m", "other")])
def test_anybody_else_is_an_error(asked: str, answered: str | None) -> None:
    with pytest.raises(AdapterError, match=f"'{asked}' was asked, but it did not answer"):
        confirm(asked, answered)


GATEWAY = (
    b'{"data": [{"id": "gpu/m", "root": "/w"}, {"id": "fast", "root": "/w"}, {"id": "gpu/other", "root": "/o"},'
    b' {"id": "gpu/sql", "parent": "gpu/m", "root": "/sql"}]}'
)


@pytest.mark.parametrize(("asked", "answered"), [("gpu/m", "m"), ("fast", "m"), ("gpu/sql", "sql")])
def test_behind_a_gateway_a_model_has_its_own_name(asked: str, answered: str) -> None:
    play(routing.confirm(Memory(), ENDPOINT, asked, answered), [Answer(200, {}, GATEWAY)])


@pytest.mark.parametrize(("asked", "answered"), [("gpu/m", "other"), ("gpu/sql", "m"), ("fast", "other"), ("m", "m2")])
def test_another_model_behind_a_gateway_is_an_error(asked: str, answered: str) -> None:
    with pytest.raises(AdapterError, match="did not answer"):
        play(routing.confirm(Memory(), ENDPOINT, asked, answered), [Answer(200, {}, GATEWAY)])


# --- what this client loaded -----------------------------------------------------------------------------------------

BEFORE = Memory({"sql": Loaded("/sql", {ENDPOINT.root: 1000.0})})


def lost(metrics: bytes, memory: Memory = BEFORE) -> Exception:
    error = ModelNotFoundError("no such model", model="sql", status=404)
    found: Exception = play(routing.explain_lost(memory, ENDPOINT, error), [Answer(200, {}, metrics)])[0]
    return found


@pytest.mark.parametrize(
    ("metrics", "fate"),
    [
        (b"process_start_time_seconds 2000.0", "the server has restarted since"),
        (b"process_start_time_seconds 1000.0", "another client unloaded it; the server has not restarted"),
        (b"", "the server has restarted since, or another client unloaded it"),
    ],
)
def test_a_lost_adapter_is_named_as_such(metrics: bytes, fate: str) -> None:
    error = lost(metrics)
    assert isinstance(error, AdapterError)
    assert error.message == f"the adapter 'sql' is lost: {fate}" or fate in error.message
    assert error.hint == "llm.ensure_adapters({'sql': '/sql'})"


def test_a_model_that_this_client_never_loaded_stays_unknown() -> None:
    error = ModelNotFoundError("no such model", model="py", status=404)
    assert play(routing.explain_lost(BEFORE, ENDPOINT, error), []) == (error, [])


# --- the prefix cache ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "salted"),
    [("0.8.5", False), ("0.10.2", False), ("0.11.0", False), ("0.12.0", True), ("0.16.0", True), ("0.24.0", True),
     ("0.32.0", False)],
)  # fmt: skip
def test_an_adapter_never_meets_the_cache_of_another_with_its_name(version: str, salted: bool) -> None:
    dialect = read_dialect(version, json.dumps(openapi(version)).encode())
    assert needs_salt(dialect) is salted


def test_a_server_that_hides_its_schema_gets_no_salt() -> None:
    assert not needs_salt(read_dialect("0.24.0", None))


def test_the_salt_is_the_path() -> None:
    memory = Memory({"sql": Loaded("/sql", {}, frozenset({ENDPOINT.root}))})
    assert salt(memory, ENDPOINT, "sql") == {"cache_salt": "/sql"}
    assert salt(memory, ENDPOINT, "m") == {}
    assert salt(BEFORE, ENDPOINT, "sql") == {}
