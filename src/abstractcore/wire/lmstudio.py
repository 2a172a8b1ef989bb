"""What LM Studio has beside OpenAI's protocol: its own lists of models, and names of its own for two fields. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..types import GenerateRequest, ModelInfo
from .openai import request_body
from .openai_protocol import OPENAI

_NAMES: Final = {"max_completion_tokens": "max_tokens", "repetition_penalty": "repeat_penalty"}


def _body(request: GenerateRequest, model: str, *, stream: bool) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in request_body(request, model, stream=stream).items()}


LMSTUDIO: Final = replace(OPENAI, body=_body)


class _Config(Struct):
    context_length: int | None = None


class _Instance(Struct):
    id: str
    config: _Config = field(default_factory=_Config)


class _Abilities(Struct):
    vision: bool = False
    trained_for_tool_use: bool = False


class _Model(Struct):
    key: str
    type: str = "llm"
    publisher: str | None = None
    loaded_instances: list[_Instance] = field(default_factory=list)
    max_context_length: int | None = None
    capabilities: _Abilities | None = None


class _Models(Struct):
    models: list[_Model]


def read_models(body: bytes) -> list[ModelInfo]:
    """Reads ``/api/v1/models``: everything that is downloaded, loaded or not.

    Raises:
        msgspec.DecodeError: The body is not such a list.
    """
    return [_info(row) for row in msgspec.json.decode(body, type=_Models).models]


def _info(row: _Model) -> ModelInfo:
    able = row.capabilities or _Abilities()
    contexts = [each.config.context_length for each in row.loaded_instances if each.config.context_length]
    return ModelInfo(
        id=row.key,
        context_length=min(contexts) if contexts else row.max_context_length,
        owned_by=row.publisher,
        loaded=bool(row.loaded_instances),
        capabilities=_abilities(row.type.startswith("embedding"), able.vision, able.trained_for_tool_use),
    )


class _OldModel(Struct):
    id: str
    state: str
    type: str = "llm"
    publisher: str | None = None
    max_context_length: int | None = None
    loaded_context_length: int | None = None
    capabilities: list[str] = field(default_factory=list)


class _OldModels(Struct):
    data: list[_OldModel]


def read_old_models(body: bytes) -> list[ModelInfo]:
    """Reads ``/api/v0/models``, the list of LM Studio before 0.4.

    Raises:
        msgspec.DecodeError: The body is not such a list.
    """
    return [
        ModelInfo(
            id=row.id,
            context_length=row.loaded_context_length or row.max_context_length,
            owned_by=row.publisher,
            loaded=row.state == "loaded",
            capabilities=_abilities(
                row.type.startswith("embedding"), row.type == "vlm", "tool_use" in row.capabilities
            ),
        )
        for row in msgspec.json.decode(body, type=_OldModels).data
    ]


def _abilities(embeddings: bool, images: bool, tools: bool) -> tuple[str, ...]:  # noqa: FBT001 - three flags of a row
    named = (("embeddings", embeddings), ("images", images), ("tools", tools))
    return tuple(name for name, has in named if has)


LISTS: Final[Sequence[tuple[str, Callable[[bytes], list[ModelInfo]]]]] = (
    ("/api/v1/models", read_models),
    ("/api/v0/models", read_old_models),
)
"""LM Studio's own lists, the newest first, and their readers."""
