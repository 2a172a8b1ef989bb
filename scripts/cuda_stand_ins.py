"""Let a CUDA build of torch run on a machine without CUDA, and without the gigabytes of libraries it is linked to.

PyPI's torch wheels for Linux are CUDA builds. On a CPU none of their CUDA code ever runs, but the dynamic loader still
wants every library that is named in them. This script puts small stand-ins in their place, inside torch's own library
folder, where torch's run path finds them before any other:

* NVIDIA's libraries, which are not there: a library of the same name that exports just the symbols torch asks for,
  under the symbol versions torch asks for (without them the loader gives up). Each function answers 100, which is
  CUDA's "no CUDA-capable device", so torch.cuda.is_available() is False.
* torch's own CUDA kernels, which are there, and are most of the wheel: replaced likewise, or removed where torch only
  loads them once a CUDA device was found.

Needs gcc and binutils (nm, readelf). Meant for a fresh installation: the second run on one finds nothing left to do.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

KERNELS = "libtorch_cuda.so"
LOADED_ON_DEMAND = ("libtorch_cuda_linalg.so", "libcaffe2_nvrtc.so")
NVIDIA = re.compile(r"(lib)?(cu|nccl|nv)")  # names of libraries and of C functions
NO_DEVICE = 100


class Symbol(NamedTuple):
    """One line of nm: what a library asks for or offers."""

    name: str
    version: str
    kind: str
    size: int


def install(folder: Path) -> list[str]:
    """Replace the CUDA libraries in torch's library folder by stand-ins.

    Returns:
        The names of the libraries that have a stand-in now; empty for a torch without CUDA.
    """
    kernels = folder / KERNELS
    if not kernels.exists():
        return []
    kernel_symbols = set(symbols(kernels, "--defined-only"))
    for name in (KERNELS, *LOADED_ON_DEMAND):
        (folder / name).unlink(missing_ok=True)
    kept = sorted(path for path in folder.iterdir() if ".so" in path.name)
    wanted = {symbol for path in kept for symbol in symbols(path, "--undefined-only")}
    absent = sorted({name for path in kept for name in needed(path) if NVIDIA.match(name)})
    for name in absent:
        build(folder / name, [symbol for symbol in wanted if symbol.version == name])
    unversioned = {symbol.name for symbol in wanted if not symbol.version}
    exports = [symbol for symbol in kernel_symbols if symbol.name in unversioned]
    # Some of NVIDIA's libraries have no versions, so nothing says whose function it is; the loader asks all alike.
    nobodys = unversioned - {symbol.name for path in kept for symbol in symbols(path, "--defined-only")}
    exports += [Symbol(name, "", "T", 0) for name in nobodys if NVIDIA.match(name)]
    build(kernels, exports)
    return [KERNELS, *absent]


def symbols(library: Path, which: str) -> Iterator[Symbol]:
    """The dynamic symbols of a library."""
    listing = output("nm", "--dynamic", "--format=posix", "--with-symbol-versions", which, str(library))
    for line in listing.splitlines():
        name, kind, *numbers = line.split()
        name, _, version = name.partition("@")
        size = int(numbers[1], 16) if len(numbers) > 1 else 0
        yield Symbol(name, version.lstrip("@"), kind, size)


def needed(library: Path) -> list[str]:
    """The names of the libraries that this one is linked to."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "--dynamic", "--wide", str(library)))


def build(path: Path, exports: Iterable[Symbol]) -> None:
    """Compile a library that exports these symbols and does nothing."""
    exports = sorted(exports)
    with TemporaryDirectory() as folder:
        source, versions = Path(folder, "stand_in.c"), Path(folder, "versions")
        source.write_text("\n".join(definition(symbol) for symbol in exports) + "\n")
        versions.write_text(version_script(exports))
        options = ["-shared", "-fPIC", "-O1", "-w", "-fno-builtin", f"-Wl,-soname,{path.name}"]
        if versions.stat().st_size:
            options.append(f"-Wl,--version-script={versions}")
        output("gcc", *options, "-o", str(path), str(source))


def definition(symbol: Symbol) -> str:
    """The C text that defines one symbol."""
    name = symbol.name
    if name.startswith("_ZTI"):  # C++ type information, which is read while modules load: a real one, without bases
        vtable = "_ZTVN10__cxxabiv117__class_type_infoE"
        return f'extern char {vtable}[]; struct {{void *table; char *name;}} {name} = {{{vtable} + 16, "{name[4:]}"}};'
    if symbol.kind in "BDGRSV":
        return f"char {name}[{max(symbol.size, 8)}];"
    if name.startswith("_Z"):  # C++; torch may write to the result, or read it as a bool: zeros, at such an address
        return f"char *{name}(void) {{static char zeros[256] __attribute__((aligned(256))); return zeros;}}"
    if name.endswith(("String", "Name")):
        return f'char *{name}(void) {{return "no CUDA (stand-in)";}}'
    return f"long {name}(void) {{return {NO_DEVICE};}}"


def version_script(exports: Sequence[Symbol]) -> str:
    """The linker's table of symbol versions; empty where no symbol has one."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for symbol in exports:
        if symbol.version:
            names[symbol.version].append(symbol.name)
    return "".join(f"{version} {{ global: {'; '.join(members)}; }};\n" for version, members in names.items())


def output(*command: str) -> str:
    """Run a tool and return what it prints; what it complains of goes to standard error."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    print(*install(Path(sys.argv[1])))
