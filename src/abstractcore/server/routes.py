"""All endpoints in one table: what is served where, by which handler."""

from __future__ import annotations

from typing import Final

from . import about, adapters, checking
from .chat import spec
from .chat.serving import CHAT, TEXT, completions
from .embeddings import serving as embeddings
from .messages import serving as messages
from .models import list_models, show_model
from .pages import show
from .responses import serving as responses
from .route import Route
from .status import health, providers, ready

ROUTES: Final = (
    Route("POST", CHAT, completions, "Answer a chat.", spec=spec.CHAT),
    Route("POST", TEXT, completions, "Continue a text.", spec=spec.TEXT),
    *responses.ROUTES,
    *messages.ROUTES,
    *embeddings.ROUTES,
    *checking.ROUTES,
    Route("GET", "/v1/models", list_models, "List models, adapters under their parents.", spec=about.MODELS),
    Route("GET", "/v1/models/*", show_model, "Show one model.", spec=about.MODEL),
    Route("POST", adapters.LOAD, adapters.load, "Load a LoRA adapter on all replicas.", spec=adapters.LOADING),
    Route("POST", adapters.UNLOAD, adapters.unload, "Unload one on all replicas.", spec=adapters.UNLOADING),
    Route("GET", "/providers", providers, "Say which backends could answer now.", spec=about.PROVIDERS),
    Route("GET", "/health", health, "Say that the gateway runs.", open=True, spec=about.HEALTH),
    Route("GET", "/ready", ready, "Say whether a backend can answer.", open=True, spec=about.READY),
    Route("GET", "/metrics", about.metrics, "Say what was counted, for Prometheus.", spec=about.METRICS),
    Route("GET", "/openapi.json", about.openapi, "Describe all endpoints.", open=True, spec=about.OPENAPI),
    Route("GET", "/", show, "The chat page.", open=True),
    Route("GET", "/docs", show, "All endpoints, to read and to try.", open=True),
    Route("GET", "/static/*", show, "The files of the pages.", open=True),
)


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._below: list[Route] = []
        for route in routes:
            if route.path.endswith("/*"):
                self._below.append(route)
            else:
                self._exact.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route | None, tuple[str, ...]]:
        """The route, or ``None``; and the methods that the path has."""
        method = "GET" if method == "HEAD" else method
        rows = self._exact.get(path)
        if rows is not None:
            return rows.get(method), tuple(rows)
        below = [route for route in self._below if path.startswith(route.path[:-1])]
        return next((route for route in below if route.method == method), None), tuple(route.method for route in below)
