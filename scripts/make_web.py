"""Builds the JavaScript of other projects that the gateway's pages use into one module; needs npm.

scripts/web/ names the packages (package.json), pins them (package-lock.json) and says what the pages get of them
(vendor.js). What comes out, vendor.js and the licences of what is in it, is part of this repository, so nobody who uses
or changes the pages needs npm. The same pins give the same bytes.

    python scripts/make_web.py            # write src/abstractcore/server/web/vendor/
    python scripts/make_web.py --check    # say whether it is what the pins give

To change a version: edit scripts/web/package.json, run `npm install --package-lock-only` there, then this script.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
RECIPE: Final = ROOT / "scripts" / "web"
PLACE: Final = ROOT / "src" / "abstractcore" / "server" / "web" / "vendor"
ESBUILD: Final = ("--bundle", "--format=esm", "--minify", "--target=es2022", "--charset=utf8", "--legal-comments=none")
HEAD: Final = "vendor.js is made of these packages, each under its own licence.\n"
RULE: Final = "-" * 80


def build(folder: Path) -> Mapping[str, bytes]:
    """The files of the vendored folder, made in an empty one."""
    for file in RECIPE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    run("npm", "ci", "--loglevel=error", folder=folder)
    run("node", "node_modules/esbuild/bin/esbuild", "vendor.js", *ESBUILD, "--outfile=out.js", folder=folder)
    return {"vendor.js": (folder / "out.js").read_bytes(), "LICENSES.txt": licences(folder).encode()}


def run(*argv: str, folder: Path) -> None:
    """A command that has to succeed."""
    if not shutil.which(argv[0]):
        sys.exit(f"error: {argv[0]} is missing\ntry:   apt install npm    (Debian, Ubuntu)")
    done = subprocess.run(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(argv[:3])} ended with {done.returncode}\n{done.stdout.strip()}")


def licences(folder: Path) -> str:
    """The licence texts of all that is bundled, what the named packages need themselves included."""
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    parts = [HEAD]
    for path, package in sorted(lock["packages"].items()):
        if not path or package.get("dev") or package.get("optional"):
            continue
        text = (folder / path / "LICENSE").read_text(encoding="utf-8").strip()
        title = f"{path.removeprefix('node_modules/')} {package['version']}, {package['license']}"
        parts.append(f"{RULE}\n{title}\n{RULE}\n\n{text}\n")
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Writes the files, or compares them."""
    with tempfile.TemporaryDirectory() as scratch:
        made = build(Path(scratch))
    code = 0
    for name, content in made.items():
        path = PLACE / name
        shown = path.relative_to(ROOT)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"wrote {shown} ({len(content):,} bytes)")
        elif not path.exists() or path.read_bytes() != content:
            print(f"{shown} is not what scripts/web gives: python scripts/make_web.py")
            code = 1
    if "--check" in arguments and not code:
        print(f"{PLACE.relative_to(ROOT)} is what scripts/web gives")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
