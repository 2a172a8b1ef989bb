"""Exit code 0 if the gateway in this container answers. Plain sockets: it is asked every ten seconds."""

import os
import sys
from http.client import HTTPConnection

host = os.environ.get("ABSTRACTCORE_HOST", "127.0.0.1")
port = int(os.environ.get("ABSTRACTCORE_PORT", "8080"))
link = HTTPConnection({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, timeout=4)  # noqa: S104
link.request("GET", "/health")
sys.exit(link.getresponse().status != 200)
