"""What loading a transport costs."""

from __future__ import annotations

import subprocess
import sys

LOADED = "import sys, abstractcore.transport.http_sync, abstractcore.transport.sync; print(*sys.modules)"


def test_blocking_use_loads_neither_asyncio_nor_tls_nor_other_clients() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "abstractcore.transport.http_sync" in loaded
    assert not loaded & {"asyncio", "ssl", "http.client", "urllib.request", "email"}
