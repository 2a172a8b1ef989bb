"""The page of the client container, until the gateway takes its place on the same port."""

from __future__ import annotations

import html
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import ProxyHandler, build_opener

HOST = os.environ.get("ABSTRACTCORE_HOST", "127.0.0.1")
PORT = int(os.environ.get("ABSTRACTCORE_PORT", "8080"))
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>chatbot-main-gpu-agent</title>
<h1>chatbot-main-gpu-agent</h1>
<p>The server behind it: <code>{server}</code></p>
<p>Ask it: <code>docker exec chatbot-main-gpu-agent abstractcore ask "Why is the sky blue?"</code></p>
"""


class Page(BaseHTTPRequestHandler):
    """Answers every GET with the page."""

    def do_GET(self) -> None:
        """Sends the page."""
        body = PAGE.format(server=html.escape(os.environ.get("VLLM_BASE_URL", "VLLM_BASE_URL is not set"))).encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing: the health check asks every ten seconds."""


def check() -> int:
    """Exit code 0 if the page answers."""
    host = "127.0.0.1" if HOST in ("", "0.0.0.0") else HOST  # noqa: S104 - compared, not bound
    with build_opener(ProxyHandler({})).open(f"http://{host}:{PORT}/", timeout=4) as answer:
        return 0 if answer.status == 200 else 1


def main() -> int:
    """Serves until it is told to stop; as the first process of a container it gets no default handler for that."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ThreadingHTTPServer((HOST, PORT), Page) as server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv[1:] else main())
