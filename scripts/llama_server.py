"""llama.cpp's own HTTP server, the engine of LM Studio, for tests of what speaks OpenAI's protocol.

Run it with a Python that has ``xllamacpp``; it prints its address, listens on loopback only and ends with its input::

    python scripts/llama_server.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2
"""

from __future__ import annotations

import os
import sys

# Threads that spin while they wait slow each other down where cores are shared. Read when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")


def main(gguf: str, name: str) -> None:
    """Serves one model under one name until standard input ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 2048
    params.n_parallel = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # its threads outlive the interpreter


if __name__ == "__main__":
    main(*sys.argv[1:])
