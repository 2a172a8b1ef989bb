"""What each release of vLLM does with a GPU's memory: one row a release, between the rows the older one holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from .versions import Match, Version

GIB: Final = 2**30
TokenCount: TypeAlias = Literal["requests", "blocks"]
"""What the log's ``KV cache size`` counts: tokens of whole requests, or blocks of one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingFacts:
    """One release's constants. Bytes unless said otherwise."""

    version: Version
    utilization: float
    """Default of ``--gpu-memory-utilization``."""
    sampler_bytes: float
    """For each sequence and vocabulary entry, at the peak of the profile run: logits and what sorting them takes."""
    graphs_counted: bool
    """CUDA graphs are estimated before the KV cache takes what is left; else they come on top of the budget."""
    tokens_of: TokenCount
    """What the log's ``KV cache size`` means."""
    async_scheduling: bool
    """Two steps are under way at once, so that a sliding window holds the tokens of both."""
    least_capability: tuple[int, int]
    """Below it the official image has no kernels."""
    image: str
    old_engine: bool = False
    """Runs the V0 engine where the GPU has no V1."""
    context: int = int(0.51 * GIB)
    """The CUDA context: outside the budget, on one GPU."""
    context_many: int = int(1.8 * GIB)
    """The same with NCCL, on NVLink cards."""

    @property
    def counts_requests(self) -> bool:
        """Whether the log counts tokens of whole requests, and says so in one line."""
        return self.tokens_of == "requests"


_V0_8_5: Final = SizingFacts(
    version=(0, 8, 5),
    utilization=0.90,
    sampler_bytes=38.0,
    graphs_counted=False,
    tokens_of="blocks",
    async_scheduling=False,
    least_capability=(7, 0),
    image="vllm/vllm-openai:v0.8.5",
    old_engine=True,
)
_V0_11: Final = replace(
    _V0_8_5, version=(0, 11, 0), old_engine=False, least_capability=(7, 0), image="vllm/vllm-openai:v0.11.0"
)
_V0_14: Final = replace(_V0_11, version=(0, 14, 0), async_scheduling=True, image="vllm/vllm-openai:v0.14.1")
_V0_17: Final = replace(_V0_14, version=(0, 17, 0), sampler_bytes=15.0, image="vllm/vllm-openai:v0.17.0")
_V0_20: Final = replace(
    _V0_17,
    version=(0, 20, 0),
    utilization=0.92,
    tokens_of="requests",
    least_capability=(7, 5),
    image="vllm/vllm-openai:v0.20.0",
)
_V0_21: Final = replace(_V0_20, version=(0, 21, 0), graphs_counted=True, image="vllm/vllm-openai:v0.21.0")
_V0_28: Final = replace(_V0_21, version=(0, 28, 0), graphs_counted=False, image="vllm/vllm-openai:v0.28.0")
_V0_32: Final = replace(_V0_28, version=(0, 32, 0), graphs_counted=True, image="vllm/vllm-openai:v0.32.0")

SIZING: Final = (_V0_8_5, _V0_11, _V0_14, _V0_17, _V0_20, _V0_21, _V0_28, _V0_32)
NEWEST: Final = SIZING[-1]


def sizing_for(version: Version) -> tuple[SizingFacts, Match]:
    """The row for a release, and how well it fits: outside the rows everything is extrapolated."""
    if version < SIZING[0].version:
        return SIZING[0], "older"
    row = [facts for facts in SIZING if facts.version <= version][-1]
    if version == row.version:
        return row, "exact"
    return row, "newer" if row is NEWEST else "between"
