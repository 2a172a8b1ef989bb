"""What one live vLLM server understands: read from its own schema, else from its version, else unknown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from ...vllm_facts import Match, Version, VersionFacts, facts_for, parse_version
from ...wire.failure import UNREADABLE

Basis: TypeAlias = Literal["schema", "version", "unknown"]
Surface: TypeAlias = Literal["chat", "completions"]
Spelling: TypeAlias = Literal["structured_outputs", "guided", "both"]

_SCHEMA_OF: Mapping[Surface, str] = {"chat": "ChatCompletionRequest", "completions": "CompletionRequest"}


class Dialect(Struct, frozen=True):
    """What a server understands.

    Args:
        version: As ``/version`` says it, such as ``0.11.0.post2``; ``None`` if it says nothing.
        basis: Where the knowledge comes from.
        fields: Names of the schema's request fields, by schema; empty without a schema.
        paths: The server's paths; empty without a schema.
        requests: The schemas that the JSON sent to a path may have, by path.
        assumed: The spelling of constraints where neither schema nor version is known; ``None`` if none binds.
        probed: Whether ``assumed`` was seen to bind, or not to (see ``probe``).
    """

    version: str | None = None
    basis: Basis = "unknown"
    fields: Mapping[str, frozenset[str]] = field(default_factory=dict)
    paths: frozenset[str] = frozenset()
    requests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    assumed: Spelling | None = "both"
    probed: bool = False

    @property
    def number(self) -> Version | None:
        """The version as numbers."""
        return parse_version(self.version) if self.version else None

    @property
    def facts(self) -> tuple[VersionFacts, Match] | None:
        """The table's row for this version, and how well it fits."""
        return facts_for(self.version) if self.version and self.number else None

    @property
    def note(self) -> str | None:
        """What a user should know about the ground this stands on."""
        if self.facts and self.facts[1] == "newer":
            known = ".".join(map(str, self.facts[0].version))
            how = "by its own schema" if self.basis == "schema" else f"like {known}: it hides its schema"
            return f"vLLM {self.version} is newer than this library knows; it is judged {how}"
        if self.basis == "unknown":
            how = {"both": "are sent in both spellings", None: "are not obeyed"}.get(
                self.assumed, f"are sent as {self.assumed}"
            )
            seen = ", as one token showed" if self.probed else ""
            return f"the server shows neither its version nor vLLM's schema; constraints {how}{seen}"
        return None

    def knows(self, surface: Surface, name: str) -> bool | None:
        """Whether the request schema lists a field; ``None`` if there is no schema to ask."""
        names = self.fields.get(_SCHEMA_OF[surface])
        return None if names is None else name in names

    def fields_of(self, path: str) -> frozenset[str] | None:
        """The fields that the request schemas of a path list; ``None`` if there is no such schema."""
        schemas = [self.fields[name] for name in self.requests.get(path, ()) if name in self.fields]
        return frozenset().union(*schemas) if schemas else None

    def lists(self, schema: str, name: str) -> bool | None:
        """The same for a schema by its name."""
        names = self.fields.get(schema)
        return None if names is None else name in names

    def spelling(self, surface: Surface) -> Spelling | None:
        """How a constraint must be spelled to be obeyed; ``None`` if this server obeys neither spelling."""
        if self.fields.get(_SCHEMA_OF[surface]):
            if self.knows(surface, "structured_outputs"):
                return "structured_outputs"
            return "guided" if self.knows(surface, "guided_regex") else None
        if self.facts:
            return self.facts[0].constraints[0]
        return self.assumed


class _Schema(msgspec.Struct):
    properties: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)


class _Components(msgspec.Struct):
    schemas: dict[str, _Schema] = msgspec.field(default_factory=dict)


class _Body(msgspec.Struct):
    ref: str = msgspec.field(default="", name="$ref")
    any_of: list[_Body] = msgspec.field(default_factory=list, name="anyOf")


class _Media(msgspec.Struct):
    body: _Body = msgspec.field(default_factory=_Body, name="schema")


class _Sent(msgspec.Struct):
    content: dict[str, _Media] = msgspec.field(default_factory=dict)


class _Operation(msgspec.Struct):
    sent: _Sent = msgspec.field(default_factory=_Sent, name="requestBody")


class _Path(msgspec.Struct):
    post: _Operation = msgspec.field(default_factory=_Operation)

    def schemas(self) -> tuple[str, ...]:
        """Names of the schemas that the JSON sent here may have."""
        body = self.post.sent.content.get("application/json", _Media()).body
        return tuple(each.ref.rpartition("/")[2] for each in (body, *body.any_of) if each.ref)


class _Document(msgspec.Struct):
    components: _Components = msgspec.field(default_factory=_Components)
    paths: dict[str, _Path] = msgspec.field(default_factory=dict)


class _Version(msgspec.Struct):
    version: str


def read_version(body: bytes) -> str | None:
    """The version in an answer of ``/version``, or ``None`` if it is something else."""
    try:
        return msgspec.json.decode(body, type=_Version).version
    except UNREADABLE:
        return None


def read_dialect(version: str | None, openapi: bytes | None) -> Dialect:
    """Puts together what a server said of itself.

    Args:
        version: What ``/version`` said.
        openapi: The OpenAPI document, if the server gave one.
    """
    try:
        document = msgspec.json.decode(openapi, type=_Document) if openapi else _Document()
    except UNREADABLE:
        document = _Document()
    fields = {name: frozenset(schema.properties) for name, schema in document.components.schemas.items()}
    paths = frozenset(document.paths)
    requests = {path: row.schemas() for path, row in document.paths.items()}
    if not any(name in fields for name in _SCHEMA_OF.values()):
        basis: Basis = "version" if version and parse_version(version) else "unknown"
        return Dialect(version, basis, fields, paths, requests)  # of a pooling model, or of no vLLM
    return Dialect(version, "schema", fields, paths, requests)


def unknown_fields(dialect: Dialect, surface: Surface, body: Mapping[str, Any]) -> list[str] | None:
    """Fields of a request that the server's schema doesn't list; ``None`` if there is no schema."""
    if dialect.knows(surface, "model") is None:
        return None
    return [name for name in body if not dialect.knows(surface, name)]
