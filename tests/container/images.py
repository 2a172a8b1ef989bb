"""Images made on the spot, from this machine's own files: there is no registry.

Two bases. The skeleton is empty folders, a few hundred bytes, and lives off the host's ``/usr``, mounted read-only.
The Python base holds a Python, a shell and what they need, and so stands for ``python:3-slim`` when an image is built
from it. Tags carry a digest of what went in, so that a second run, or one beside this, finds them made.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from abstractcore.deploy.lock import locked
from abstractcore.settings import cache_dir
from tests.container.daemon import Docker

ROOT: Final = Path(__file__).parents[2]
SERVER_FOLDER: Final = Path(__file__).parent / "server_image"
DOCKERFILE: Final = ROOT / "docker" / "client" / "Dockerfile"
CONTEXT: Final = ("src", "docker", "pyproject.toml", "README.md", "LICENSE")
"""What a build of the client image takes from the source tree."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
LABEL: Final = "abstractcore-test"
_COMMANDS: Final = ("sh", "env", "cat", "ls", "mkdir", "chmod", "rm", "sleep", "id", "true")
_WHEELS_NEED: Final = ("dl", "gcc_s", "m", "pthread", "resolv", "rt", "stdc++", "util", "nss_dns", "nss_files")
"""Libraries that wheels may count on everywhere, and those that resolve names."""
_NEEDLESS: Final = {"test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__"}
_FOLDERS: Final = ("dev", "etc", "home", "opt", "proc", "root", "run", "srv", "sys", "usr", "var")
_LINKS: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_ETC: Final = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nvllm:x:2000:0::/tmp:/bin/sh\n",
    "group": "root:x:0:\n",
    "nsswitch.conf": "hosts: files dns\n",
}


def skeleton(docker: Docker) -> str:
    """Empty folders, on which any image can be built that needs no command while it is built."""
    archive = _archive({})
    return _imported(docker, "skeleton", _digest([archive]), lambda: archive)


def python_base(docker: Docker) -> str:
    """A Python with its standard library, a shell and a few commands: enough to build and run the client image."""
    facts = [sys.version, sys.base_prefix, *_COMMANDS, Path(__file__).read_text(encoding="utf-8")]
    return _imported(docker, "python", _digest(part.encode() for part in facts), _python_archive)


def server(docker: Docker, python: Path) -> str:
    """``vllm serve`` as in the official image, on the vLLM whose interpreter is named; needs the server's mounts."""
    base = skeleton(docker)
    content = [path.read_bytes() for path in sorted(SERVER_FOLDER.iterdir())]
    tag = f"{LABEL}/vllm-cpu:{_digest([*content, base.encode(), os.fsencode(python)])}"
    _build(docker, tag, SERVER_FOLDER, {"BASE_IMAGE": base, "VLLM_PYTHON": str(python)})
    return tag


def client(docker: Docker, scratch: Path) -> str:
    """The client image from our own Dockerfile, with this source tree in it."""
    base = python_base(docker)
    found = (path for name in CONTEXT for path in (ROOT / name, *sorted((ROOT / name).rglob("*"))))
    files = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    content = [os.fsencode(path.relative_to(ROOT)) + b"\0" + path.read_bytes() for path in files]
    tag = f"{LABEL}/client:{_digest([*content, base.encode()])}"
    if not docker.has_image(tag):
        context = scratch / "client-context"
        for path in files:
            target = context / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        shutil.copytree(_wheels(), context / "dist")
        _build(docker, tag, context, {"BASE_IMAGE": base, "PIP_NO_INDEX": "1"}, dockerfile=DOCKERFILE)
        _forget(docker, f"{LABEL}=client", "24h", "--all")
        _forget(docker, "io.abstractcore.stage=build", "30m")
    return tag


def base_prefix(python: Path) -> Path:
    """Where the Python lives on which a virtual environment stands."""
    argv = [str(python), "-c", "import sys; print(sys.base_prefix)"]
    return Path(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip())


def _wheels() -> Path:
    """The wheels that this package needs to be built and to run, kept in the cache folder while they are the same."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted: list[str] = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["server"],
    ]
    folder = cache_dir() / "tests" / f"wheels-{_digest(part.encode() for part in (*wanted, sys.version))}"
    with locked(folder.with_name(".wheels.lock")):
        if not folder.exists():
            half = folder.with_suffix(".making")
            shutil.rmtree(half, ignore_errors=True)
            _pip("download", "--only-binary", ":all:", "--dest", str(half), *wanted)
            half.rename(folder)
    return folder


def _pip(command: str, *arguments: str) -> None:
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", command, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _build(
    docker: Docker, tag: str, folder: Path, arguments: Mapping[str, str], *, dockerfile: Path | None = None
) -> None:
    if docker.has_image(tag):
        return
    options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    file = str(dockerfile or folder / "Dockerfile")
    kind = tag.removeprefix(f"{LABEL}/").partition(":")[0]
    docker(
        "build", "--quiet", "--label", f"{LABEL}={kind}", "--tag", tag, "--file", file, *options, str(folder), limit=600
    )


def _forget(docker: Docker, label: str, age: str, *options: str) -> None:
    """Removes images of former sources, of which each is more than 100 MB; not those of a run beside this one."""
    docker("image", "prune", "--force", *options, "--filter", f"label={label}", "--filter", f"until={age}")


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


def _imported(docker: Docker, name: str, digest: str, archive: Callable[[], bytes]) -> str:
    tag = f"{LABEL}/{name}:{digest}"
    if not docker.has_image(tag):
        changes = ("--change", f"ENV PATH={PATH}", "--change", f"LABEL {LABEL}=")
        done = subprocess.run(["docker", "import", *changes, "-", tag], input=archive(), capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    return tag


def _archive(files: Mapping[str, Path], links: Mapping[str, str] = {}) -> bytes:
    """A root folder as a tar: the skeleton, and files of this machine by their paths in the image."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for folder in _FOLDERS:
            _add(archive, folder, tarfile.DIRTYPE, 0o755)
        for folder in ("tmp", "var/tmp"):
            _add(archive, folder, tarfile.DIRTYPE, 0o1777)
        for name, target in {**_LINKS, **links}.items():
            _add(archive, name, tarfile.SYMTYPE, 0o777, target=target)
        for name, text in _ETC.items():
            _add(archive, f"etc/{name}", tarfile.REGTYPE, 0o644, text.encode())
        _add(archive, "etc/ld.so.cache", tarfile.REGTYPE, 0o644, Path("/etc/ld.so.cache").read_bytes())
        for name, path in sorted(files.items()):
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            _add(archive, name.lstrip("/"), tarfile.REGTYPE, mode, path.read_bytes())
    return sink.getvalue()


def _add(archive: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", *, target: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), target
    archive.addfile(entry, io.BytesIO(data))


def _python_archive() -> bytes:
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    library = Path(sysconfig.get_path("stdlib"))
    parts = [path for path in library.rglob("*") if path.is_file() and not _NEEDLESS.intersection(path.parts)]
    parts = [path for path in parts if path.suffix != ".a" and not path.parent.name.startswith("config-")]
    commands = {f"/usr/bin/{name}": Path(shutil.which(name) or name) for name in _COMMANDS}
    binaries = [python, *commands.values(), *(path for path in parts if path.suffix == ".so")]
    libraries = {re.sub("^/lib", "/usr/lib", str(path)): path for path in _libraries(binaries)}
    files = {**commands, **libraries, **{str(path): path for path in (python, *parts)}}
    return _archive(files, {"usr/local/bin/python3": str(python)})


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that programs and extension modules need."""
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True)
    found = {Path(name) for name in re.findall(r"(/\S+) \(0x", done.stdout)}
    beside = next(path.parent for path in found if path.name == "libc.so.6")
    return found | {path for name in _WHEELS_NEED for path in beside.glob(f"lib{name}.so.?")}
