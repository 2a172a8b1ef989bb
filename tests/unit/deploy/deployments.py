"""Deployments for tests: three kinds of machine, three profiles."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from abstractcore.deploy.choose import Wish
from abstractcore.deploy.container import Deployment, Profile
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.options import LaunchOptions
from abstractcore.deploy.plan import Plan, make_plan
from abstractcore.deploy.profiles import deployment

from .goldens import card

MODEL = "Qwen/Qwen2.5-Coder-7B"
KEY = PurePosixPath("/home/ada/.local/state/abstractcore/abstractcore/vllm-api-key")
FOLDER = PurePosixPath("/data/models/Qwen2.5-Coder-7B")
MACHINES = {"v100": "2xV100-16GB", "l4": "4xL4", "cpu": "cpu"}
CLIENT = "chatbot-main-gpu-agent:2.6.4"


def planned(gpus: str = "4xL4", model: str = "Qwen2.5-Coder-7B", **wish: Any) -> Plan:
    return make_plan(card(model), parse_gpus(gpus), Wish(**{"context": 8192, **wish}))


def options(profile: Profile = "host", **changes: Any) -> LaunchOptions:
    base: dict[str, Any] = {"model": MODEL, "key_file": KEY, "profile": profile, "client_image": CLIENT}
    if profile == "sealed":
        base["weights"] = FOLDER
    return LaunchOptions(**{**base, **changes})


def deployed(
    profile: Profile = "host", gpus: str = "4xL4", wish: dict[str, Any] | None = None, **changes: Any
) -> Deployment:
    return deployment(planned(gpus, **(wish or {})), options(profile, **changes))
