"""How GPUs of one machine talk to each other: peer-to-peer on or off, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .options import P2p
from .plan import Plan

VOLTA: Final = (7, 0)
OFF_ENV: Final[Mapping[str, str]] = {"NCCL_P2P_DISABLE": "1", "VLLM_ALLREDUCE_USE_SYMM_MEM": "0"}
"""Only the value 1 counts. It is read by the server's worker processes, and doesn't reach symmetric memory."""
OFF_ARGS: Final = ("--disable-custom-all-reduce",)
"""vLLM's own all-reduce goes from peer to peer, whatever NCCL does."""


@dataclass(frozen=True, slots=True)
class PeerToPeer:
    """What is set on the server, and why."""

    off: bool
    reason: str
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()


def peer_to_peer(plan: Plan, asked: P2p) -> PeerToPeer:
    """Decides by the links between the GPUs and their generation, unless the user has decided."""
    if asked == "off":
        return _off("asked for; it switches NVLink off too")
    if asked == "on":
        return PeerToPeer(off=False, reason="peer-to-peer stays on: asked for")
    flags = plan.chosen.flags
    if plan.gpus[0].is_cpu or flags.tp * flags.pp == 1:
        return PeerToPeer(off=False, reason="peer-to-peer plays no part: one rank holds the whole model")
    is_volta = min(gpu.capability for gpu in plan.gpus) <= VOLTA
    has_links = all(gpu.link == "nvlink" for gpu in plan.gpus)
    name = plan.gpus[0].name
    if is_volta and not has_links:
        return _off(f"{name} without NVLink: peers behind PCIe hang or corrupt data on many hosts of that age")
    if is_volta:
        return PeerToPeer(
            off=False,
            reason=f"peer-to-peer stays on: {name} with NVLink, and NCCL_P2P_DISABLE=1, which is often advised for "
            "this card, would switch NVLink off and send all traffic through shared memory; --p2p off sets it",
        )
    return PeerToPeer(off=False, reason=f"peer-to-peer stays on: NCCL finds the best way between {name} cards itself")


def _off(why: str) -> PeerToPeer:
    return PeerToPeer(off=True, reason=f"peer-to-peer is off: {why}", env=OFF_ENV, args=OFF_ARGS)
