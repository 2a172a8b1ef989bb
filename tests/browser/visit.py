"""A page in the browser, and all that must not happen there: errors, refused content, requests to others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page

WIDE: Final = (1280, 860)
PHONE: Final = (390, 844)
VIOLATIONS: Final = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} refused ${event.blockedURI} ${event.sample}`));
"""


@dataclass
class Visit:
    """What one test does in a browser of its own: no cookies, no storage, no cache of others."""

    page: Page
    context: BrowserContext
    origin: str
    folder: Path
    """Where screenshots go."""
    name: str
    errors: list[str] = field(default_factory=list)
    """What the console calls an error, exceptions that nobody caught, content that the policy refused."""
    requests: list[str] = field(default_factory=list)
    """Addresses of everything that the page asked for, by any means."""
    expected: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Goes to a path of the gateway."""
        self.page.goto(f"{self.origin}{path}")
        return self.page

    def expect(self, pattern: str) -> None:
        """Says that what matches this is part of the test, such as the browser's line on an answer of 422."""
        self.expected.append(pattern)

    def shoot(self, what: str = "", *, full: bool = True) -> Path:
        """Takes a picture."""
        parts = re.sub(r"[^\w.-]+", "-", "-".join(filter(None, (self.name, what)))).strip("-")
        path = self.folder / f"{parts}.png"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(path), full_page=full)
        return path

    @property
    def wrong(self) -> list[str]:
        """Errors, and requests to anyone but the gateway, that the test did not expect."""
        foreign = [f"a request to {url}" for url in self.requests if not self._is_ours(url)]
        return [what for what in (*self.errors, *foreign) if not any(re.search(known, what) for known in self.expected)]

    def _is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        return parts.scheme in {"data", "blob"} or f"{parts.scheme}://{parts.netloc}" == self.origin


class Open(Protocol):
    """Opens a browser profile at a gateway."""

    def __call__(self, origin: str, name: str = "", **options: Any) -> AbstractContextManager[Visit]:
        """Closes it at the end of the block, and fails for what must not have happened."""


@contextmanager
def visiting(
    browser: Browser, origin: str, folder: Path, name: str, size: tuple[int, int] = WIDE, **options: Any
) -> Iterator[Visit]:
    """Opens a browser profile with an empty page; ``options`` are those of a Playwright context."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(20_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
    context.add_init_script(VIOLATIONS)
    page = context.new_page()
    visit = Visit(page, context, origin, folder, name)
    context.on("console", lambda line: visit.errors.append(line.text) if line.type == "error" else None)
    context.on("weberror", lambda raised: visit.errors.append(f"uncaught: {raised.error}"))
    context.on("request", lambda request: visit.requests.append(request.url))
    context.on("page", lambda other: other.on("websocket", lambda socket: visit.requests.append(socket.url)))
    page.on("websocket", lambda socket: visit.requests.append(socket.url))
    try:
        yield visit
    finally:
        context.close()
