"""The OpenAPI 3.1 document, made of the table of routes and the types that requests are held against. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .. import __version__
from .answers import Error
from .route import Route
from .schemas import REF, schemas_of
from .spec import Parameter, Spec

_ABOUT: Final = """\
OpenAI's interface in front of any backend. A request that asks for something that can be checked (a schema, a regular \
expression, tools, several answers of a beam search) is answered only if the answer keeps it; all others are passed on \
as they are. Fields that nobody would obey are refused, with the nearest known name."""
_FAILURES: Final = {
    400: "The request is wrong; `param` names the field.",
    401: "There is no key, or not a known one.",
    403: "The key, the page or the host name may not do this.",
    404: "There is no such thing, or not for this key.",
    413: "The body is larger than the gateway takes.",
    422: "The answer broke what was promised; `partial` holds its text.",
    429: "Too many requests; `Retry-After` says when to come again.",
    501: "The backend has no such endpoint.",
    502: "The backend failed.",
    503: "No backend, or no place, for it now; `Retry-After` says when to come again.",
    504: "The backend took too long.",
}
_ALWAYS: Final = (401, 403)
_WITH_BODY: Final = (400, 413, 429, 502, 503, 504)
_HEADERS: Final = {"x-request-id": {"description": "Under which the gateway and the backend log it.",
                                    "schema": {"type": "string"}}}  # fmt: skip
_LATER: Final = {"retry-after": {"description": "Seconds.", "schema": {"type": "integer"}}}
_KEYS: Final = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of `abstractcore keys add`."},
    "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, for Anthropic's."},
}


def document(routes: Iterable[Route], *, keys: bool) -> dict[str, Any]:
    """The document.

    Args:
        routes: The endpoints; those without a ``spec`` are left out.
        keys: Whether keys are needed.
    """
    rows = [route for route in routes if route.spec is not None]
    schemas, components = schemas_of([*_kinds(rows), Error])
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route, schemas, keys=keys)
    return {
        "openapi": "3.1.0",
        "info": {"title": "abstractcore", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": _KEYS,
            "responses": {f"Failure{status}": _failure(status, about) for status, about in _FAILURES.items()},
        },
    }


def _kinds(rows: Iterable[Route]) -> Iterator[Any]:
    for route in rows:
        assert route.spec is not None
        kinds = (route.spec.body, route.spec.answer, route.spec.event)
        yield from (kind for kind in kinds if kind is not None and not isinstance(kind, str))


def _path(route: Route) -> str:
    assert route.spec is not None
    names = [each.name for each in route.spec.parameters if each.where == "path"]
    return route.path.replace("*", f"{{{names[0]}}}") if names else route.path


def _operation(route: Route, schemas: Mapping[Any, Any], *, keys: bool) -> dict[str, Any]:
    spec = route.spec
    assert spec is not None
    out: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_path(route).replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": route.summary,
        "tags": [_tag(route.path)],
    }
    if spec.about:
        out["description"] = spec.about
    if spec.parameters:
        out["parameters"] = [_parameter(each) for each in spec.parameters]
    if spec.body is not None:
        out["requestBody"] = {"required": True, "content": {"application/json": _media(spec, schemas)}}
    out["responses"] = _responses(route, schemas)
    if keys:
        out["security"] = [{name: []} for name in _KEYS] + ([{}] if route.open else [])
    return out


def _parameter(each: Parameter) -> dict[str, Any]:
    is_path = each.where == "path"
    schema = {"type": "string", "minLength": 1} if is_path else {"type": "string"}
    return {"name": each.name, "in": each.where, "required": is_path, "description": each.about, "schema": schema}


def _media(spec: Spec, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": schemas[spec.body]}
    if spec.examples:
        media["examples"] = {
            f"example{number}": {"summary": title, "value": value}
            for number, (title, value) in enumerate(spec.examples.items(), start=1)
        }
    return media


def _responses(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    spec = route.spec
    assert spec is not None
    if isinstance(spec.answer, str):
        content: dict[str, Any] = {spec.answer: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": schemas[spec.answer]}}
    if spec.event is not None:
        content["text/event-stream"] = {"schema": schemas[spec.event]}
    statuses = {*(() if route.open else _ALWAYS), *(_WITH_BODY if spec.body is not None else ()), *spec.fails}
    return {
        "200": {"description": "The answer.", "headers": _HEADERS, "content": content},
        **{str(status): {"$ref": f"#/components/responses/Failure{status}"} for status in sorted(statuses)},
    }


def _failure(status: int, about: str) -> dict[str, Any]:
    headers = _HEADERS | (_LATER if status in (429, 503) else {})
    schema = {"$ref": REF.format(name="Error")}
    return {"description": about, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _tag(path: str) -> str:
    return "OpenAI" if path.startswith("/v1/") else "gateway"
