"""Records what the load source replays, from a real vLLM.

    python bench/source/record.py http://127.0.0.1:8000 [--tokens 256]

Each answer is kept as it came over the socket, head and framing included: ``vllm-<version>.tar.gz`` beside this file.
One thing is replaced, the folder in which the server found its model, and with it the length of that answer.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import socket
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

PROMPT = "List the numbers from one to one thousand."
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 3, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
PAGES = {
    "models": "/v1/models",
    "health": "/health",
    "metrics": "/metrics",
    "version": "/version",
    "openapi": "/openapi.json",
    "not_found": "/nowhere",
}


def main() -> None:
    """Asks, and writes the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--tokens", type=int, default=256)
    given = parser.parse_args()
    place = urlsplit(given.url).netloc
    found = {name: fetch(place, "GET", path) for name, path in PAGES.items()}
    model, root = (json.loads(body_of(found["models"]))["data"][0][key] for key in ("id", "root"))
    found["models"] = renamed(found["models"], root.encode(), b"/models/" + Path(root).name.encode())
    for name, (path, body) in generations(model, given.tokens).items():
        found[name] = fetch(place, "POST", path, body)
    version = json.loads(body_of(found["version"]))["version"]
    target = Path(__file__).parent / f"vllm-{version}.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        for name, data in sorted(found.items()):
            about = tarfile.TarInfo(f"{name}.http")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
            print(f"{name}: {len(data)} bytes, {data[:15].decode()}")


def generations(model: str, tokens: int) -> dict[str, tuple[str, dict[str, object]]]:
    """The requests for text: name of the recording, path and body."""
    asked = {"model": model, "temperature": 0, "seed": 1, "max_tokens": tokens, "ignore_eos": True}
    chat = {**asked, "messages": [{"role": "user", "content": PROMPT}]}
    held = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    json_chat = {**chat, "response_format": held, "ignore_eos": False}
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    broken = {"structured_outputs": {"regex": r"\p{L}+"}}  # this release fails on it only when the answer has begun
    return {
        "chat": ("/v1/chat/completions", chat),
        "chat_stream": ("/v1/chat/completions", {**chat, **stream}),
        "chat_json": ("/v1/chat/completions", json_chat),
        "chat_json_stream": ("/v1/chat/completions", {**json_chat, **stream}),
        "completion": ("/v1/completions", {**asked, "prompt": PROMPT}),
        "completion_stream": ("/v1/completions", {**asked, "prompt": PROMPT, **stream}),
        "refusal": ("/v1/chat/completions", {**chat, "model": "nobody"}),
        "error_stream": ("/v1/chat/completions", {**chat, **stream, **broken}),
    }


def fetch(place: str, method: str, path: str, body: object = None) -> bytes:
    """One request on a connection of its own; all that comes back."""
    host, port = place.split(":")
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: {place}\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}"
    with socket.create_connection((host, int(port)), 120) as link:
        link.sendall(head.encode() + b"\r\n\r\n" + sent)
        data = b""
        while not complete(data):
            got = link.recv(65536)
            if not got:
                raise EOFError(f"{method} {path}: the server closed the connection after {len(data)} bytes")
            data += got
    return data


def complete(data: bytes) -> bool:
    """Whether an answer has ended."""
    head, gap, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(gap) and (len(body) >= int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n"))


def body_of(data: bytes) -> bytes:
    """An answer without its head."""
    return data.partition(b"\r\n\r\n")[2]


def renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    """An answer with some bytes of its body replaced, and the length that goes with it."""
    head, gap, body = data.partition(b"\r\n\r\n")
    body = body.replace(old, new)
    return re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(body), head) + gap + body


if __name__ == "__main__":
    main()
