"""Answers as a vLLM does that serves one model, so far as ``abstractcore models`` asks. Runs inside containers.

Usage: ``python3 tiny_server.py ADDRESS PORT``, or with the path of a Unix socket in place of both.
"""

from __future__ import annotations

import json
import signal
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

MODELS = {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "vllm", "max_model_len": 2048}]}


class Answers(BaseHTTPRequestHandler):
    """Lists its one model, whatever it is asked."""

    def do_GET(self) -> None:
        body = json.dumps(MODELS).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "someone"  # over a Unix socket there is no address


class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if len(sys.argv) == 3:
        with Tcp((sys.argv[1], int(sys.argv[2])), Answers) as tcp:
            tcp.serve_forever()
    with socketserver.ThreadingUnixStreamServer(sys.argv[1], Answers) as unix:
        unix.serve_forever()
