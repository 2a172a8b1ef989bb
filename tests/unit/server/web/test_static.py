"""Files are answered from a table: right types, one transfer for each change, and nothing that is not in it."""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.server.static import PACKED, TYPES, Served, find, table

VENDOR = "/static/vendor/vendor.js"
GZIP = [(b"accept-encoding", b"gzip, deflate, br")]


def served(path: str, headers: list[tuple[bytes, bytes]] | None = None) -> Served:
    found = find(path, headers or [])
    assert found is not None, path
    return found


def header(answer: Served, name: str) -> str | None:
    values = [value.decode() for key, value in answer.headers if key.decode() == name]
    assert len(values) <= 1
    return values[0] if values else None


def test_a_file_is_what_lies_in_the_package() -> None:
    answer = served(VENDOR)
    assert answer.status == 200
    assert answer.body == (files("abstractcore.server") / "web" / "vendor" / "vendor.js").read_bytes()
    assert header(answer, "content-length") == str(len(answer.body))
    assert header(answer, "content-type") == "text/javascript; charset=utf-8"


def test_a_page_has_an_address_of_its_own() -> None:
    assert header(served("/docs"), "content-type") == "text/html; charset=utf-8"
    assert not [path for path in table() if path.endswith(".html")]


@pytest.mark.parametrize("path", table())
def test_every_file_can_be_shown_by_a_strict_browser(path: str) -> None:
    answer = served(path)
    kind = header(answer, "content-type")
    assert kind in TYPES.values()
    assert header(answer, "x-content-type-options") == "nosniff"
    assert "default-src 'none'" in (header(answer, "content-security-policy") or "")


@pytest.mark.parametrize("path", table())
def test_compressed_is_the_same_content(path: str) -> None:
    plain, packed = served(path), served(path, GZIP)
    if header(packed, "content-encoding") is None:
        assert packed == plain
        return
    assert header(packed, "content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)
    assert header(packed, "content-length") == str(len(packed.body))
    assert header(packed, "etag") != header(plain, "etag")
    assert header(plain, "vary") == header(packed, "vary") == "accept-encoding"


@pytest.mark.parametrize("accepted", [b"", b"br", b"identity", b"gzip;q=0", b"gzip; q=0.0, br", b"x-gzip"])
def test_who_does_not_take_gzip_gets_none(accepted: bytes) -> None:
    assert served(VENDOR, [(b"accept-encoding", accepted)]) == served(VENDOR)


@pytest.mark.parametrize("accepted", [b"gzip", b"GZIP", b"br, gzip;q=0.5", b"deflate,gzip"])
def test_who_takes_gzip_gets_it(accepted: bytes) -> None:
    assert served(VENDOR, [(b"accept-encoding", accepted)]) == served(VENDOR, GZIP)


def test_a_tag_is_strong_and_changes_with_the_content() -> None:
    tags = {header(served(path), "etag") for path in table()}
    contents = {sha256(served(path).body).digest() for path in table()}
    assert len(tags) == len(contents)
    assert all(tag and tag.startswith('"') and tag.endswith('"') for tag in tags)


@pytest.mark.parametrize("headers", [[], GZIP])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"other",{} , "more"', "*"])
def test_what_the_browser_has_is_not_sent_again(headers: list[tuple[bytes, bytes]], form: str) -> None:
    first = served(VENDOR, headers)
    tag = header(first, "etag")
    assert tag
    again = served(VENDOR, [*headers, (b"if-none-match", form.format(tag).encode())])
    assert (again.status, again.body) == (304, b"")
    assert header(again, "etag") == tag
    assert header(again, "content-length") is None
    assert header(again, "cache-control") == header(first, "cache-control") == "no-cache"
    assert header(again, "content-security-policy") == header(first, "content-security-policy")


def test_what_the_browser_has_of_another_version_is_sent() -> None:
    plain = header(served(VENDOR), "etag") or ""
    for stale in (b'"other"', plain.strip('"').encode(), b""):
        assert served(VENDOR, [(b"if-none-match", stale)]).status == 200
    assert served(VENDOR, [*GZIP, (b"if-none-match", plain.encode())]).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "", "/static", "/static/", "/static/vendor", "/static/vendor/", "/static/../app.py", "/static/../../errors.py",
        "/static/vendor/../vendor/vendor.js", "/static//vendor/vendor.js", "/static/vendor/vendor.js/",
        "/static/vendor/vendor.js\0", "/static/%2e%2e/app.py", "/static/..\\app.py", "/static//etc/passwd",
        "/etc/passwd", "/docs/", "/docs/index.html", "/static/docs/index.html", "/static/page/index.html",
    ],
)  # fmt: skip
def test_nothing_else_is_found(path: str) -> None:
    assert find(path, GZIP) is None


@given(st.lists(st.sampled_from(["..", ".", "", "static", "web", "app.py", "vendor", "etc", "%2e%2e", "\\"])))
def test_no_path_leads_out(parts: list[str]) -> None:
    assert find("/" + "/".join(parts), []) is None or not parts or parts == [""]


@given(st.binary(), st.binary())
def test_any_headers_are_taken(accepted: bytes, tags: bytes) -> None:
    assert served(VENDOR, [(b"accept-encoding", accepted), (b"if-none-match", tags)]).status in {200, 304}


def test_no_content_is_compressed_twice() -> None:
    assert set(TYPES) > PACKED
