"""Checks of the GPUs: whether the container has them, and whether driver, image and links go together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..deploy.container import option
from ..vllm_facts import parse_version
from ..vllm_facts.sizing import sizing_for
from .check import Check
from .facts import Facts
from .finding import Finding, error, ok, warning


def _given(facts: Facts) -> Iterator[Finding]:
    if facts.server is None or not facts.machine.gpus:
        return
    if facts.server.gpus is not None:
        yield ok(f"{len(facts.machine.gpus)} on this machine, and the container asked for them")
        return
    yield error(
        f"{len(facts.machine.gpus)} GPUs on this machine, and the container has none",
        expected="--gpus all, or some of them",
        why="the server can't start, or runs on the processor",
        cure="abstractcore up MODEL    (docker run --gpus all)",
    )


def _capability(facts: Facts) -> Iterator[Finding]:
    number = parse_version(facts.version or "") or _version_of_image(facts)
    if number is None or not facts.machine.gpus or facts.machine.gpus[0].is_cpu:
        return
    known, _ = sizing_for(number)
    weakest = min(facts.machine.gpus, key=lambda gpu: gpu.capability)
    has, least = (".".join(map(str, entry)) for entry in (weakest.capability, known.least_capability))
    if weakest.capability >= known.least_capability:
        yield ok(f"{weakest.name} has compute capability {has}")
        return
    yield error(
        f"{weakest.name} has compute capability {has}",
        expected=f"{least} for this release",
        why="the image has no kernels for it: 'no kernel image is available for execution on the device'",
        cure="abstractcore plan MODEL names the release that still runs on it",
    )


def _version_of_image(facts: Facts) -> tuple[int, int, int] | None:
    return parse_version(facts.server.image.rpartition(":")[2]) if facts.server else None


def _driver(facts: Facts) -> Iterator[Finding]:
    """CUDA of the image against what the driver can do; within one major version newer images run on older drivers."""
    if facts.server is None or facts.driver_cuda is None:
        return
    wanted = re.match(r"(\d+)\.(\d+)", facts.server.environment.get("CUDA_VERSION", ""))
    if wanted is None:
        return
    has, needs = facts.driver_cuda, (int(wanted[1]), int(wanted[2]))
    text = f"the driver does CUDA {has[0]}.{has[1]}, the image brings {needs[0]}.{needs[1]}"
    if has >= needs:
        yield ok(text)
    elif has[0] == needs[0]:
        yield warning(
            text,
            expected="a driver at least as new",
            why="it runs by minor version compatibility, except for kernels that are compiled at run time",
            cure="update the driver, or take an older image: abstractcore plan MODEL --vllm-version ...",
        )
    else:
        yield error(
            text,
            expected="a driver of the same major version or newer",
            why="nothing of CUDA starts",
            cure="update the driver, or take an older image: abstractcore plan MODEL --vllm-version ...",
        )


def _links(facts: Facts) -> Iterator[Finding]:
    if facts.server is None or len(facts.machine.gpus) < 2:
        return
    ranks = int(option(facts.server.argv, "--tensor-parallel-size") or 1)
    if ranks < 2:
        return
    off = facts.server.environment.get("NCCL_P2P_DISABLE") == "1"
    links = {gpu.link for gpu in facts.machine.gpus}
    if off and links == {"nvlink"}:
        yield warning(
            "NCCL_P2P_DISABLE=1 on GPUs with NVLink",
            expected="nothing: NVLink is peer access too",
            why="it sends what NVLink would carry through the host's memory",
            cure="abstractcore up MODEL --p2p on",
        )
    elif not off and links != {"nvlink"} and facts.machine.gpus[0].capability == (7, 0):
        yield warning(
            "V100 without NVLink, and peer access is on",
            expected="NCCL_P2P_DISABLE=1 where peer access hangs",
            why="on many boards peer access over PCIe hangs at the first collective",
            cure="abstractcore up MODEL --p2p off",
        )
    else:
        yield ok(f"{ranks} ranks over {' and '.join(sorted(links))}, peer access {'off' if off else 'on'}")


CHECKS: Final = (
    Check("gpu.given", "the container has the GPUs", _given),
    Check("gpu.capability", "the image runs on these GPUs", _capability),
    Check("gpu.driver", "driver and image go together", _driver),
    Check("gpu.links", "peer access fits the links", _links),
)
