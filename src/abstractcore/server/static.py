"""The files of the gateway's pages: a table made once, with all that an answer needs.

Below ``web/`` lie ``page/`` (the chat page), ``docs/`` (the API explorer) and ``vendor/`` (the JavaScript of others).
A folder's ``index.html`` is answered at an address of its own, everything else at ``/static/`` and its path, so a page
refers to ``static/page/main.js`` and a module to ``../vendor/vendor.js``; that also holds below the prefix of a proxy.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names in lower case, as ASGI has them."""

PAGES: Final[Mapping[str, str]] = {"/": "page/index.html", "/docs": "docs/index.html"}
"""Addresses of the pages, and their files."""
PREFIX: Final = "/static/"
TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "woff2": "font/woff2",
}
"""What is served, by the ending of its name; other files are not."""
PACKED: Final = frozenset({"ico", "png", "woff2"})
"""Compressed already."""

POLICY: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "manifest-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    # Text becomes markup only through DOMPurify, with RETURN_TRUSTED_TYPE; any other way throws.
    "require-trusted-types-for": "'script'",
    "trusted-types": "dompurify",
}
"""The content security policy: nothing is loaded from, sent to or framed by anyone else, and no text becomes code."""

SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# Names of files don't change with their content, so a browser asks each time; mostly it hears 304.
_CACHE: Final = (b"cache-control", b"no-cache")
_OF_BODY: Final = frozenset({b"content-encoding", b"content-length", b"content-type"})


class Served(NamedTuple):
    """An answer to GET; HEAD is the same without the body."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Variant:
    """A file as it goes over the wire."""

    body: bytes
    etag: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class File:
    """A file in the encodings that there are of it."""

    plain: Variant
    gzipped: Variant | None


def find(path: str, headers: Iterable[tuple[bytes, bytes]]) -> Served | None:
    """The answer to a GET of a page or a file, 304 where the browser has it; none for what does not exist.

    Args:
        path: The path of the request, decoded, without the query.
        headers: The headers of the request.
    """
    file = table().get(path)
    if file is None:
        return None
    asked = {name: value for name, value in headers if name in {b"accept-encoding", b"if-none-match"}}
    variant = file.plain
    if file.gzipped and _takes_gzip(asked.get(b"accept-encoding", b"")):
        variant = file.gzipped
    if _has(asked.get(b"if-none-match", b""), variant.etag):
        kept = [header for header in variant.headers if header[0] not in _OF_BODY]
        return Served(304, kept, b"")
    return Served(200, variant.headers, variant.body)


@cache
def table() -> Mapping[str, File]:
    """All files by the path at which they are answered; read and compressed at the first call."""
    root = files(__package__) / "web"
    found = {f"{PREFIX}{path}": file for path, file in _below(root, "") if not path.endswith(".html")}
    pages = {path: file for path, file in _below(root, "") if path.endswith(".html")}
    return found | {address: pages[path] for address, path in PAGES.items() if path in pages}


def _below(folder: Traversable, prefix: str) -> Iterable[tuple[str, File]]:
    for entry in folder.iterdir():
        ending = entry.name.rpartition(".")[2]
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        elif ending in TYPES:
            yield f"{prefix}{entry.name}", _file(entry.read_bytes(), ending)


def _file(body: bytes, ending: str) -> File:
    digest = sha256(body).hexdigest()[:20]
    plain = _variant(body, ending, digest)
    if ending in PACKED:
        return File(plain, None)
    smaller = gzip.compress(body, 9, mtime=0)
    packed = _variant(smaller, ending, f"{digest}-gzip", encoding="gzip")
    return File(plain, packed if len(smaller) < len(body) else None)


def _variant(body: bytes, ending: str, tag: str, encoding: str | None = None) -> Variant:
    etag = f'"{tag}"'.encode()
    headers = {"content-type": TYPES[ending], "content-length": str(len(body)), **SECURITY}
    if encoding:
        headers["content-encoding"] = encoding
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    vary = [] if ending in PACKED else [(b"vary", b"accept-encoding")]
    return Variant(body, etag, [*lines, (b"etag", etag), _CACHE, *vary])


def _takes_gzip(accepted: bytes) -> bool:
    """Whether a browser takes gzip: it names it, and does not weigh it with zero."""
    for part in accepted.lower().split(b","):
        coding, _, weight = part.partition(b";")
        if coding.strip() == b"gzip":
            return weight.replace(b" ", b"").strip() not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
    return False


def _has(tags: bytes, etag: bytes) -> bool:
    """Whether ``If-None-Match`` names this tag; a weak one counts, as it has to."""
    named = {tag.strip().removeprefix(b"W/") for tag in tags.split(b",")}
    return etag in named or b"*" in named
