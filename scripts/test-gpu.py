"""The full test of a machine: `abstractcore check` against the vLLM server that VLLM_BASE_URL names.

    vllm serve Qwen/Qwen2.5-Coder-7B-Instruct --port 8000
    python scripts/test-gpu.py

On a terminal the gateway stays until Ctrl-C, so that http://localhost:8080/docs can be looked at; elsewhere the script
ends with the exit code of the check. Arguments are those of `abstractcore check`.
"""

from __future__ import annotations

import sys

from abstractcore.cli.main import main

KEEP = "--keep"

if __name__ == "__main__":
    arguments = sys.argv[1:]
    keep = (
        [KEEP] if sys.stdin.isatty() and sys.stdout.isatty() and not {KEEP, "--json", "--help"} & {*arguments} else []
    )
    sys.argv[1:] = ["check", *arguments, *keep]
    main()
