"""What a server understands, read from what eight real ones said of themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from abstractcore.providers.vllm.dialect import Dialect, Surface, read_dialect, read_version, unknown_fields
from tests.recordings import VERSIONS, openapi, recorded, schema_properties

EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS)
OLD = ("0.8.5", "0.10.2")
SURFACES: tuple[Surface, Surface] = ("chat", "completions")


def dialect_of(version: str, *, shows_version: bool = True, shows_schema: bool = True) -> Dialect:
    number = read_version(recorded(version, "GET /version").body) if shows_version else None
    return read_dialect(number, json.dumps(openapi(version)).encode() if shows_schema else None)


def changed(version: str, **properties: dict[str, Any]) -> Dialect:
    """A fork: the release with other fields in its schemas."""
    document = openapi(version)
    schemas = {**document["components"]["schemas"]}
    for name, fields in properties.items():
        schemas[name] = {"properties": fields}
    return read_dialect("0.1.dev1+gabc", json.dumps({"components": {"schemas": schemas}}).encode())


@EVERY_VERSION
@pytest.mark.parametrize("surface", SURFACES)
def test_schema_and_version_say_the_same(version: str, surface: Surface) -> None:
    wanted = "guided" if version in OLD else "structured_outputs"
    by_both, by_schema = dialect_of(version), dialect_of(version, shows_version=False)
    by_version = dialect_of(version, shows_schema=False)
    assert by_both.spelling(surface) == by_schema.spelling(surface) == by_version.spelling(surface) == wanted
    assert (by_both.basis, by_schema.basis, by_version.basis) == ("schema", "schema", "version")
    assert by_both.note is by_schema.note is by_version.note is None


@EVERY_VERSION
def test_the_row_of_the_table_is_found(version: str) -> None:
    dialect = dialect_of(version)
    assert dialect.version
    assert dialect.version.startswith(version)
    assert dialect.number == tuple(map(int, version.split(".")))
    assert dialect.facts
    assert dialect.facts[1] == "exact"


@EVERY_VERSION
def test_the_schema_knows_its_fields(version: str) -> None:
    dialect = dialect_of(version)
    assert dialect.knows("chat", "messages")
    assert dialect.knows("completions", "prompt")
    assert dialect.knows("chat", "guided_regex") == (
        "guided_regex" in schema_properties(version, "ChatCompletionRequest")
    )
    assert dialect.lists("LoadLoRAAdapterRequest", "lora_name")
    assert dialect.lists("NoSuchSchema", "x") is None
    assert "/v1/chat/completions" in dialect.paths


@EVERY_VERSION
def test_unknown_fields_are_found(version: str) -> None:
    body = {"model": "m", "messages": [], "guided_regex": "a", "structured_outputs": {}, "nope": 1, "extra_body": {}}
    found = unknown_fields(dialect_of(version), "chat", body)
    assert found is not None
    assert {"nope", "extra_body"} <= set(found)
    assert set(found) == body.keys() - schema_properties(version, "ChatCompletionRequest")
    assert unknown_fields(dialect_of(version, shows_schema=False), "chat", body) is None


def test_a_server_that_shows_nothing_gets_both() -> None:
    dialect = read_dialect(None, None)
    assert (dialect.basis, dialect.spelling("chat"), dialect.number, dialect.facts) == ("unknown", "both", None, None)
    assert "in both spellings" in str(dialect.note)


@pytest.mark.parametrize(
    "page", [b"<html>Sign in</html>", b"[]", b'"x"', b"{}", b'{"components": 3}', b'{"components": {"schemas": {}}}']
)
def test_a_page_that_is_no_schema_of_vllm_is_none(page: bytes) -> None:
    assert read_dialect("0.10.2", page) == read_dialect("0.10.2", None)
    assert read_dialect(None, page).basis == "unknown"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"version": 3}', b"[]", b'"0.10.2"', b""])
def test_a_page_that_is_no_version_is_none(body: bytes) -> None:
    assert read_version(body) is None


def test_a_newer_version_is_judged_by_its_schema_with_a_note() -> None:
    schema = json.dumps(openapi("0.32.0")).encode()
    dialect = read_dialect("0.99.1", schema)
    assert dialect.spelling("chat") == "structured_outputs"
    assert dialect.note == "vLLM 0.99.1 is newer than this library knows; it is judged by its own schema"


def test_a_newer_version_without_schema_is_taken_for_the_newest_known_with_a_note() -> None:
    dialect = read_dialect("0.99.1", None)
    assert dialect.spelling("chat") == "structured_outputs"
    assert dialect.note == "vLLM 0.99.1 is newer than this library knows; it is judged like 0.32.0: it hides its schema"


def test_a_newer_version_that_changed_its_fields_is_believed() -> None:
    renamed = changed("0.32.0", ChatCompletionRequest={"model": {}, "messages": {}, "constraints": {}})
    assert renamed.spelling("chat") is None
    assert renamed.spelling("completions") == "structured_outputs"


def test_a_checkout_without_a_version_is_judged_by_its_schema() -> None:
    dialect = changed("0.10.2")
    assert (dialect.number, dialect.facts, dialect.note) == (None, None, None)
    assert dialect.spelling("chat") == "guided"


def test_a_fork_is_judged_by_its_fields_not_by_its_number() -> None:
    fork = read_dialect("0.10.2", json.dumps(openapi("0.32.0")).encode())
    assert fork.spelling("chat") == "structured_outputs"


def test_a_version_older_than_the_table_spells_as_the_oldest() -> None:
    dialect = read_dialect("0.6.3", None)
    assert dialect.spelling("chat") == "guided"
    assert dialect.facts
    assert dialect.facts[1] == "older"
