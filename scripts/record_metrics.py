"""Records what a vLLM that is full says on /metrics, for tests/recordings.

    python scripts/record_metrics.py http://127.0.0.1:8000 tiny tests/recordings/vllm/0.32.0/metrics.txt.gz

The server must be started with --max-num-seqs below 40, the number of requests that are sent at once.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

REQUESTS = 40


def ask(host: str, model: str) -> None:
    """One long answer."""
    connection = http.client.HTTPConnection(host, timeout=300)
    body = {"model": model, "prompt": "Count:", "max_tokens": 400, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    connection.getresponse().read()


def main() -> None:
    """Fills the server, and writes down what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    host = urlsplit(given.server).netloc
    threads = [threading.Thread(target=ask, args=(host, given.model)) for _ in range(REQUESTS)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read()
    for thread in threads:
        thread.join()
    given.file.write_bytes(gzip.compress(text, mtime=0))
    print("\n".join(line for line in text.decode().splitlines() if line.startswith("vllm:num_requests_")))


if __name__ == "__main__":
    main()
