"""Settings of the server that were put into the client's environment, where they do nothing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

_seen: set[str] = set()


def warn_of_server_settings(environ: Mapping[str, str]) -> None:
    """Warns, once in a process, of ``NCCL_P2P_DISABLE`` beside a client.

    It is often advised for clients of vLLM on old GPUs. NCCL reads it in the server's worker processes, and nowhere
    else.
    """
    name = "NCCL_P2P_DISABLE"
    if environ.get(name, "0") in {"", "0"} or name in _seen:
        return
    _seen.add(name)
    warnings.warn(
        f"{name} is set for this client, where it does nothing: NCCL reads it in the worker processes of the server, "
        "when that starts, and only the value 1 counts. abstractcore up MODEL --p2p off sets it there",
        stacklevel=4,
    )
