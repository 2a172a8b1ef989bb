"""Whether a server in a container answers: asked from inside, over the address that it listens on itself.

``/health`` alone proves nothing: a frozen engine still answers there. One token within a time limit does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import msgspec

from ..container import ContainerSpec, option
from ..engine import Engine

_SCRIPT: Final = """\
import http.client, json, os, socket, sys, time
place, port, model, limit = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
began = time.monotonic()
def ask(method, path, seconds, body=None, headers={}):
    link = http.client.HTTPConnection("localhost" if place[0] == "/" else place, port, timeout=seconds)
    if place[0] == "/":
        link.sock = socket.socket(socket.AF_UNIX)
        link.sock.settimeout(seconds)
        link.sock.connect(place)
    link.request(method, path, body, {"host": "localhost", **headers})
    answer = link.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")
found = {"health": None, "status": None, "said": ""}
try:
    found["health"] = ask("GET", "/health", 5)[0]
    file = os.environ.get("VLLM_API_KEY_FILE")
    key = open(file).read().strip() if file else "EMPTY"
    headers = {"content-type": "application/json", "authorization": "Bearer " + key}
    body = json.dumps({"model": model, "prompt": "ping", "max_tokens": 1})
    found["status"], said = ask("POST", "/v1/completions", limit, body, headers)
    found["said"] = "" if found["status"] == 200 else said[:500]
except OSError as error:
    found["said"] = type(error).__name__ + ": " + str(error)
found["seconds"] = round(time.monotonic() - began, 3)
print(json.dumps(found))
"""
"""Only the standard library, and no proxy has a say in it."""


@dataclass(frozen=True, slots=True)
class Canary:
    """What came back."""

    health: int | None
    """Status of ``/health``; ``None`` if there was no answer."""
    status: int | None
    """Status of the request for one token."""
    seconds: float
    said: str = ""
    """The server's words, if it was no token; or why there was no answer."""

    @property
    def answers(self) -> bool:
        """Whether a token came."""
        return self.health == 200 and self.status == 200


def own_address(spec: ContainerSpec) -> tuple[str, int]:
    """Where a server listens, as seen from its own container: a path for a socket, else address and port."""
    port = int(option(spec.command, "--port") or 8000)
    if path := option(spec.command, "--uds"):
        return path, port
    host = option(spec.command, "--host") or "127.0.0.1"
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def ask_for_a_token(engine: Engine, spec: ContainerSpec, model: str, *, limit: float) -> Canary:
    """Asks a running server for one token, from inside its container.

    Args:
        engine: The engine of containers.
        spec: The server's container.
        model: The name that it serves.
        limit: Seconds that the token may take.

    Raises:
        DeployError: The container does not come back from it.
    """
    place, port = own_address(spec)
    python = spec.entrypoint[0] if spec.entrypoint else "python3"
    reply = engine.execute(
        spec.name, (python, "-S", "-c", _SCRIPT, place, str(port), model, f"{limit:g}"), limit=limit + 60
    )
    for document in reply.documents():
        try:
            return msgspec.convert(document, Canary)
        except ValueError:
            continue
    return Canary(None, None, 0.0, reply.text.strip() or f"exit code {reply.code}")


@dataclass(frozen=True, slots=True)
class Completion:
    """A real answer, received in the client's container."""

    content: str
    model: str
    output_tokens: int | None
    seconds: float


def read_completion(text: str, seconds: float) -> Completion:
    """Reads what ``abstractcore ask --json`` printed.

    Raises:
        ValueError: It is no answer.
    """
    document = json.loads(text)
    usage = document.get("usage") or {}
    return Completion(str(document["content"]), str(document["model"]), usage.get("output_tokens"), seconds)
