"""Finds what is to be examined: the containers, the server's address as seen from here, and its key."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ..deploy import runtime
from ..deploy.container import CLIENT, LABEL, SERVER, option
from ..deploy.engine import Engine, find_engine
from ..deploy.inspected import read_container
from ..deploy.lifecycle import record
from ..deploy.lifecycle.listeners import listeners
from ..deploy.lifecycle.status import compare
from ..deploy.preflight import probe
from ..deploy.supervisor import KEY_VARIABLE
from ..errors import DeployError
from ..settings import resolve, state_dir
from ..transport import HttpTransport, SyncDriver
from ..wire.call import Answer, Call, Plan, Timeouts
from .facts import DaemonLimits, Facts, Json, Subject

_LIMITS: Final = Timeouts(connect=5.0, first_byte=60.0, idle=20.0, total=90.0)
_PORT: Final = "8000"


def gather(
    *,
    server: str | None = None,
    client: str | None = None,
    base_url: str | None = None,
    key_file: str | None = None,
    engine: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Facts:
    """What the checks will ask.

    Args:
        server: Name of the server's container; ``vllm-server`` if that exists.
        client: Name of the client's; ``chatbot-main-gpu-agent`` if that exists.
        base_url: The server's address; found by its container when left out.
        key_file: Holds the key; else that of the client's container, else ``VLLM_API_KEY``.
        engine: ``docker`` or ``podman``.
        environ: The environment.

    Raises:
        ConfigurationError: A file or address makes no sense.
    """
    tool = _engine(engine)
    names = (server or _present(tool, SERVER), client or _present(tool, CLIENT))
    found = tool.inspect(names[0]) if tool and names[0] else None
    url = base_url or (address_of(found) if found else None)
    url = url or (None if any(names) else resolve("vllm.base_url", environ=environ).value)
    other = tool.inspect(names[1]) if tool and names[1] else None
    key_path = _key_path(key_file, other)
    key = _key(key_path, environ)
    return Facts(
        Subject(names[0], names[1], url, key),
        tool,
        probe(environ),
        Server(url) if url else None,
        lambda: _ask_for_digits(url, key),
        _driver_cuda(environ),
        daemon_limits(),
        environ,
        planned=_planned(tool, found),
        key_path=key_path,
        listeners=listeners,
    )


def _engine(chosen: str | None) -> Engine | None:
    try:
        return find_engine(chosen)
    except DeployError:
        if chosen:
            raise
        return None


def _present(tool: Engine | None, name: str) -> str | None:
    try:
        return name if tool and tool.inspect(name) else None
    except DeployError:
        return None  # the daemon does not answer; host.daemon says so


def _planned(tool: Engine | None, server: Json | None) -> Callable[[], list[str]] | None:
    """How what runs differs from what ``abstractcore up`` kept of its plan; ``None`` for what it did not start."""
    project = read_container(server).labels.get(f"{LABEL}.project") if server else None
    kept = record.load(state_dir() / project) if project else None
    if tool is None or kept is None:
        return None

    def differences() -> list[str]:
        return [f"{name}: {difference}" for name, rows in compare(tool, kept).items() for difference in rows]

    return differences


def address_of(document: Json) -> str | None:
    """Where a server's container is reached from this machine; ``None`` if it isn't.

    Args:
        document: What ``docker inspect`` says of it.
    """
    container = read_container(document)
    arguments = container.argv
    socket = option(arguments, "--uds")
    if socket is not None:
        return _on_host(document, socket, "unix://")
    port = option(arguments, "--port") or _PORT
    if container.network == "host":
        host = option(arguments, "--host") or ""
        return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '::') else host}:{port}/v1"  # noqa: S104 - compared only
    bound = ((document.get("NetworkSettings") or {}).get("Ports") or {}).get(f"{port}/tcp") or ()
    for entry in bound:  # as they are, where the engine chose the port
        address = "127.0.0.1" if entry.get("HostIp") in ("", None, "0.0.0.0", "::") else entry["HostIp"]  # noqa: S104
        return f"http://{address}:{entry['HostPort']}/v1"
    return f"http://{container.address}:{port}/v1" if container.address else None


def _on_host(document: Json, path: str, prefix: str = "") -> str | None:
    """Where a path of a container lies on this machine."""
    for mount in document.get("Mounts") or ():
        target = str(mount.get("Destination"))
        if path == target or path.startswith(f"{target.rstrip('/')}/"):
            return f"{prefix}{mount.get('Source')}{path.removeprefix(target)}"
    return None


def _key_path(key_file: str | None, client: Json | None) -> Path | None:
    """The file of the key as it lies on this machine, where this user may see it."""
    inside = read_container(client).environment.get(KEY_VARIABLE) if client else None
    chosen = key_file or (_on_host(client, inside) if client and inside else None)
    return Path(chosen) if chosen and os.access(chosen, os.R_OK) else None


def _key(path: Path | None, environ: Mapping[str, str]) -> str | None:
    if path is not None:  # its mode is a finding of its own
        return path.read_text(encoding="utf-8").strip() or None
    value = resolve("vllm.api_key", environ=environ)
    return None if value.origin == "default" else value.value


class Server:
    """One server, asked without a provider: as a stranger would.

    Args:
        base_url: Its address.
    """

    def __init__(self, base_url: str) -> None:
        from ..providers.endpoint import base_url_of

        self.base_url = base_url_of(base_url)
        self._root = self.base_url.removesuffix("/v1")
        self._driver = SyncDriver(HttpTransport())

    def get(self, path: str, *, key: str | None = None) -> Answer:
        """Asks below the server's root."""
        return self._driver.run(_once(Call("GET", self._root + path, _headers(key), timeouts=_LIMITS)))

    def post(self, path: str, body: Json, *, key: str | None = None) -> Answer:
        """Same, with a JSON body."""
        headers = {**_headers(key), "content-type": "application/json"}
        return self._driver.run(
            _once(Call("POST", self._root + path, headers, msgspec.json.encode(body), timeouts=_LIMITS))
        )


def _headers(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _once(call: Call) -> Plan[Answer]:
    answer: Answer = yield call
    return answer


def _ask_for_digits(url: str | None, key: str | None) -> str:
    """Asks the server for four digits by a regex; what does not bind raises."""
    from ..providers import VLLMProvider

    with VLLMProvider(base_url=url, api_key=key or "EMPTY") as llm:
        return str(llm.generate("A year, please.", guided_regex="[0-9]{4}", max_output_tokens=16, timeout=60).content)


def _driver_cuda(environ: Mapping[str, str]) -> tuple[int, int] | None:
    """The newest CUDA of the driver, as the head of ``nvidia-smi`` says it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    lines: list[str] = []
    runtime.run([program], env=environ, on_line=lines.append, limit=30)
    return read_cuda("\n".join(lines))


_CAP_SYS_RESOURCE: Final = 24
_DAEMONS: Final = ("dockerd", "containerd")


def daemon_limits(proc: Path = Path("/proc")) -> DaemonLimits | None:
    """What Docker's daemon may hand on; ``None`` if none runs here, or this user may not look.

    Args:
        proc: The kernel's table of processes.
    """
    for folder in proc.iterdir():
        try:
            if folder.name.isdigit() and _text(folder / "comm").strip() in _DAEMONS:
                rights = re.search(r"(?m)^CapEff:\s*([0-9a-f]+)", _text(folder / "status"))
                limit = re.search(r"(?m)^Max locked memory\s+\S+\s+(\S+)", _text(folder / "limits"))
                if rights and limit:
                    memlock = None if limit[1] == "unlimited" else int(limit[1])
                    return DaemonLimits(memlock, bool(int(rights[1], 16) >> _CAP_SYS_RESOURCE & 1))
        except OSError:
            continue  # it has ended, or is another user's
    return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def read_cuda(text: str) -> tuple[int, int] | None:
    """Reads the CUDA version from what ``nvidia-smi`` prints."""
    found = re.search(r"CUDA Version:\s*(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
