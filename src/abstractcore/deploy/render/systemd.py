"""The server of a deployment as a systemd unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..container import UNLIMITED, Deployment
from .process import process

_BURST: Final = 5
_INTERVAL: Final = 3600
"""Seconds: a server that can't start takes a minute to say so; after five of them it is left alone."""


def unit(deployment: Deployment) -> str:
    """A unit file, to be put into /etc/systemd/system.

    Raises:
        ConfigurationError: The profile can't be had without a container.
    """
    spec, found = deployment.server, process(deployment)
    user, _, group = (spec.user or "").partition(":")
    argv = found.argv if found.argv[0].startswith("/") else ("/usr/bin/env", *found.argv)
    limits = {limit.name: "infinity" if limit.value == UNLIMITED else str(limit.value) for limit in spec.ulimits}
    service: list[tuple[str, str]] = [
        ("Type", "exec"),
        ("User", user),
        ("Group", group),
        *(("Environment", quoted(f"{name}={value}")) for name, value in found.environment.items()),
        ("ExecStart", command_line(argv)),
        ("Restart", "on-failure"),
        ("RestartSec", "5"),
        ("SuccessExitStatus", "143"),
        ("KillMode", "mixed"),
        ("TimeoutStopSec", str(spec.stop_grace)),
        *((f"Limit{name.upper()}", value) for name, value in limits.items()),
        ("NoNewPrivileges", "yes" if "no-new-privileges" in spec.security_opt else ""),
    ]
    lines = [
        "[Unit]",
        f"Description=vLLM serving {deployment.served_name.replace('%', '%%')}",
        "Wants=network-online.target",
        "After=network-online.target",
        f"StartLimitIntervalSec={_INTERVAL}",
        f"StartLimitBurst={_BURST}",
        "",
        "[Service]",
        *(f"{key}={value}" for key, value in service if value),
        *(["CapabilityBoundingSet="] if spec.cap_drop else []),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def command_line(argv: Sequence[str]) -> str:
    """Words as ``ExecStart`` reads them back; a dollar sign is none of its variables."""
    return " ".join(quoted(word).replace("$", "$$") for word in argv)


def quoted(word: str) -> str:
    """One word in double quotes, with systemd's own escapes."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return '"' + escaped.replace("%", "%%") + '"'
