"""Answers of the endpoints about models, backends and the gateway, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Failure(Struct):
    """What went wrong, what is known of it, and what to do."""

    message: str
    type: str
    """``invalid_request_error`` where the request has to change, else ``server_error``."""
    code: str
    """For programs, such as ``model_not_found``."""
    param: str | None = None
    """The field of the request, such as ``messages[0].content``."""
    why: str | None = None
    """The measured fact behind it, such as the backend's own words."""
    hint: str | None = None
    """What to do next."""
    partial: str | None = None
    """Text that had come; it is no answer."""


class Error(Struct):
    """Any failure. In a stream it comes as the last event, and no ``[DONE]`` follows."""

    error: Failure


class Model(Struct):
    """One model, adapter or alias."""

    id: str
    """What requests name: ``backend/model``, or an alias."""
    object: Literal["model"]
    created: int
    owned_by: str
    provider: str
    backend: str
    max_model_len: int | None
    """Its context, in tokens, where the backend says it."""
    parent: str | None
    """The model that an adapter belongs to."""
    root: str | None
    adapters: list[str]
    aliases: list[str]
    capabilities: dict[str, str]
    """What it can promise: ``native``, ``emulated`` or ``unsupported``."""


class Models(Struct):
    """All models that whoever asks may use."""

    object: Literal["list"]
    data: list[Model]


class Health(Struct):
    """The gateway runs."""

    status: Literal["ok"]
    version: str


class Ready(Struct, omit_defaults=True):
    """Whether a request could be answered now."""

    ready: bool
    backends: list[str] = []
    """Those that could; only shown to whoever may know."""
    errors: dict[str, str] = {}
    """Why the others could not."""


class BackendRow(Struct):
    """One backend."""

    name: str
    provider: str
    status: Literal["available", "no_models", "unreachable", "no_key", "not_installed", "error"]
    models: list[str]
    error: str | None
    hint: str | None
    """What to do about it."""
    replicas: Any
    capabilities: dict[str, str]


class Backends(Struct):
    """All backends."""

    providers: list[BackendRow]
