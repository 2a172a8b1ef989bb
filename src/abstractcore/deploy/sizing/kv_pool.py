"""The pool of blocks that all layers share: how vLLM groups layers, and how much the pool holds.

Follows vLLM 0.32 (``v1/core/kv_cache_utils.py``) step by step, since its integers have to come out the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from ...vllm_facts.sizing import TokenCount
from .kv_layout import CachedLayer, Page
from .tensors import stages


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share one block table."""

    layers: tuple[CachedLayer, ...]
    pages: frozenset[Page] = field(init=False)
    """The different pages of its layers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pages", frozenset(entry.page for entry in self.layers))

    def blocks_per_request(self, length: int, in_flight: int) -> int:
        """Blocks that one request holds of this group."""
        return max(page.blocks_per_request(length, in_flight) for page in self.pages)


@dataclass(frozen=True, slots=True)
class Pool:
    """All groups of a model, and the layers of each pipeline stage."""

    groups: tuple[Group, ...]
    stages: tuple[range, ...]
    sizes: tuple[int, ...] = field(init=False)
    """Bytes of one block on a rank of each stage."""

    def __post_init__(self) -> None:
        sizes = tuple(
            max((sum(e.page.size for e in group.layers if e.layer in mine) for group in self.groups), default=0)
            for mine in self.stages
        )
        object.__setattr__(self, "sizes", sizes)

    def bytes_per_block(self, stage: int = 0) -> int:
        """Bytes of one block on a rank of a stage."""
        return self.sizes[stage]

    def blocks_per_request(self, length: int, in_flight: int) -> int:
        """Blocks of the pool that one request of this length holds."""
        return sum(group.blocks_per_request(length, in_flight) for group in self.groups)

    def blocks(self, memory: Sequence[int]) -> int:
        """Blocks that fit into the memory of each stage; the smallest stage decides."""
        counts = [int(m) // self.bytes_per_block(s) for s, m in enumerate(memory) if self.bytes_per_block(s)]
        return max(0, min(counts, default=1))

    def needed(self, length: int, in_flight: int, stage: int = 0) -> int:
        """Bytes that one request of this length needs on a rank, without the block that is never handed out."""
        return self.bytes_per_block(stage) * self.blocks_per_request(length, in_flight)

    def longest(self, memory: Sequence[int], limit: int, in_flight: int) -> int:
        """The longest request that fits, at most ``limit``; 0 if none does."""

        def fits(length: int) -> bool:
            return all(self.needed(length, in_flight, s) <= m - self.bytes_per_block(s) for s, m in enumerate(memory))

        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return low

    def concurrency(self, blocks: int, length: int, in_flight: int) -> float:
        """Requests of this length that the pool holds at once."""
        per_request = self.blocks_per_request(length, in_flight)
        return blocks / per_request if per_request else 0.0

    def tokens(self, blocks: int, length: int, in_flight: int, meaning: TokenCount = "requests") -> int:
        """Tokens that the log speaks of: of whole requests, or in older releases of a group's share of the blocks."""
        if not self.groups:
            return 0
        if meaning == "requests":
            return int(self.concurrency(blocks, length, in_flight) * length)
        return blocks // len(self.groups) * min(page.block for group in self.groups for page in group.pages)


def pool(layers: Sequence[CachedLayer], *, total_layers: int, pp: int = 1, hybrid: bool = True) -> Pool:
    """Groups the layers of a model.

    Args:
        layers: What each layer caches.
        total_layers: Layers of the model, those without a cache included.
        pp: Stages of the pipeline.
        hybrid: Whether layers of different kinds keep their own ways; else all are given blocks for all tokens.
    """
    if not hybrid:
        layers = [CachedLayer(e.layer, _as_full(e.page)) for e in layers]
    return Pool(_groups(tuple(layers)), stages(total_layers, pp))


def _as_full(page: Page) -> Page:
    return replace(page, kind="full", window=0) if page.kind in {"sliding", "chunked"} else page


def _groups(layers: tuple[CachedLayer, ...]) -> tuple[Group, ...]:
    if not layers:
        return ()
    if _one_type([entry.page for entry in layers]):
        return (Group(layers),)
    largest = max(entry.page.size for entry in layers)
    level = [CachedLayer(entry.layer, _widened(entry.page, largest)) for entry in layers]
    buckets: dict[Page, list[CachedLayer]] = {}
    for entry in level:
        buckets.setdefault(entry.page, []).append(entry)
    counts = [len(bucket) for bucket in buckets.values()]
    size = min(counts)
    if max(counts) < size * 1.5:
        size = max(counts)
    groups = []
    for bucket in buckets.values():
        number = ceil(len(bucket) / size)
        groups += [Group(tuple(bucket[start::number])) for start in range(number)]
    return tuple(groups)


def _one_type(pages: list[Page]) -> bool:
    """Whether all layers always need blocks for the same tokens."""
    first = pages[0]
    if any(page.block != first.block for page in pages):
        return False
    if first.kind in {"full", "latent"}:
        return all(page.kind in {"full", "latent"} for page in pages)
    same_size = first.kind != "state" or all(page.size == first.size for page in pages)
    return same_size and all(page.kind == first.kind and page.window == first.window for page in pages)


def _widened(page: Page, size: int) -> Page:
    """A page brought to the common size: by more tokens where that comes out even, else by padding."""
    if page.size == size:
        return page
    if page.kind != "state" and size % page.size == 0:
        return replace(page, block=page.block * (size // page.size), size=size)
    return replace(page, size=size)
