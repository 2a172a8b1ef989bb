"""What a real Docker said, and the plans behind what it inspected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from abstractcore.deploy.container import Deployment
from abstractcore.deploy.lifecycle import record
from tests.conftest import TESTS

FOLDER: Final = TESTS / "recordings" / "engine"
LOGS: Final = TESTS / "recordings" / "vllm-logs"
KINDS: Final = ("host", "host-cpu", "private", "sealed")


def said(name: str) -> str:
    """A recorded text."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def log(name: str) -> list[str]:
    """A recorded log of vLLM."""
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()


@dataclass(frozen=True)
class Recorded:
    """A plan, and what inspect said of its containers."""

    deployment: Deployment
    containers: dict[str, dict[str, Any]]
    """By name."""

    @property
    def server(self) -> dict[str, Any]:
        return self.containers[self.deployment.server.name]


def recorded(kind: str) -> Recorded:
    """A recording of its own for each caller, who may change it."""
    found = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    by_name = {row["Name"].removeprefix("/"): row for row in found["containers"]}
    return Recorded(record.from_data(found["deployment"]), by_name)


def image() -> dict[str, Any]:
    """What inspect said of the image that they are made of."""
    found: dict[str, Any] = json.loads((FOLDER / "image.json").read_text(encoding="utf-8"))["images"][0]
    return found
