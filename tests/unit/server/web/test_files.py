"""What the pages are made of: everything they refer to is there, and nothing of it lies elsewhere."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path

import pytest

import abstractcore
from abstractcore.server.static import PAGES, POLICY, PREFIX, find, table
from tests.conftest import TESTS

WEB = Path(abstractcore.__file__).parent / "server" / "web"
RECIPE = TESTS.parent / "scripts" / "web"
PARTS = sorted(path for path in WEB.rglob("*") if path.is_file())
OURS = [path for path in PARTS if path.parent.name != "vendor"]
MODULES = [path for path in OURS if path.suffix == ".js"]
DOCUMENTS = [path for path in OURS if path.suffix == ".html"]

IMPORTED = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']""")
REFERRED = re.compile(r"""\b(?:src|href)="([^"]+)\"""")
IN_STYLE = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])([^"')]+)""")


def named(path: Path) -> str:
    return path.relative_to(WEB).as_posix()


def address(path: Path) -> str:
    return PREFIX + named(path)


def exports(module: Path) -> set[str]:
    text = module.read_text(encoding="utf-8")
    found = set(re.findall(r"\bexport\s+(?:async\s+)?(?:function\*?|const|let|class)\s+(\w+)", text))
    for group in re.findall(r"\bexport\s*\{([^}]*)\}", text):
        found |= {name.split(" as ")[-1].strip() for name in group.split(",") if name.strip()}
    return found


@pytest.mark.parametrize("path", PARTS, ids=named)
def test_every_file_is_served(path: Path) -> None:
    if path.suffix == ".html":
        assert named(path) in PAGES.values()
    else:
        assert address(path) in table()


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_what_a_page_loads_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    loaded = [link for link in REFERRED.findall(text) if link.startswith("static/")]
    assert loaded
    assert not [link for link in loaded if f"/{link}" not in table()]
    assert not re.search(r"\b(?:src|href)=[\"'](?:\w+:)?//", text)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_a_page_needs_no_exception_from_the_policy(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_a_module_imports_is_there(path: Path) -> None:
    for target in IMPORTED.findall(path.read_text(encoding="utf-8")):
        assert target.startswith("."), f"{target} is no file of ours"
        assert posixpath.normpath(posixpath.join(posixpath.dirname(address(path)), target)) in table()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_what_a_module_takes_is_exported(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for names, target in re.findall(r"\bimport\s*\{([^}]*)\}\s*from\s*[\"']([^\"']+)[\"']", text):
        taken = {name.split(" as ")[0].strip() for name in names.split(",") if name.strip()}
        assert taken <= exports((path.parent / target).resolve()), target


@pytest.mark.parametrize("path", [path for path in OURS if path.suffix == ".css"], ids=named)
def test_what_a_style_loads_is_there(path: Path) -> None:
    for target in IN_STYLE.findall(path.read_text(encoding="utf-8")):
        if not target.startswith("data:"):
            assert posixpath.normpath(posixpath.join(posixpath.dirname(address(path)), target)) in table()


def test_a_module_is_read_in_one_go() -> None:
    assert not [named(path) for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 450]


def test_the_policy_lets_nothing_in_or_out() -> None:
    allowed = {value for values in POLICY.values() for value in values.split()}
    assert allowed == {"'none'", "'self'", "'script'", "data:", "dompurify"}
    assert {name for name, value in POLICY.items() if "data:" in value} == {"img-src"}
    for page in set(PAGES) & set(table()):
        answer = find(page, [])
        assert answer
        sent = dict(answer.headers)[b"content-security-policy"].decode()
        assert {tuple(part.split(" ", 1)) for part in sent.split("; ")} == set(POLICY.items())


def test_the_vendored_module_has_what_the_pages_take() -> None:
    assert exports(WEB / "vendor" / "vendor.js") >= {
        "h", "render", "Fragment", "html", "signal", "computed", "effect", "batch", "untracked", "useSignal",
        "useComputed", "useSignalEffect", "useState", "useEffect", "useRef", "useMemo", "useLayoutEffect", "marked",
        "DOMPurify",
    }  # fmt: skip


def test_the_licences_are_those_of_the_pinned_versions() -> None:
    lock = json.loads((RECIPE / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((RECIPE / "package.json").read_text(encoding="utf-8"))
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
    texts = (WEB / "vendor" / "LICENSES.txt").read_text(encoding="utf-8")
    for name, version in wanted["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned"
        assert f"{name} {version}, " in texts


def test_no_path_of_a_machine_is_in_what_was_built() -> None:
    built = (WEB / "vendor" / "vendor.js").read_text(encoding="utf-8")
    assert "sourceMappingURL" not in built
    assert not re.search(r"/(?:home|root|tmp|Users)/", built)
