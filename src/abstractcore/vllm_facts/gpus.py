"""NVIDIA GPUs as data: the memory that CUDA reports, the compute capability, and how cards of a kind are linked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class GpuKind:
    """One kind of card."""

    name: str
    """The short name that users write, such as ``A100-80GB``."""
    memory: int
    """Bytes in total, as CUDA reports them; less than what is printed on the box."""
    capability: tuple[int, int]
    full_name: str
    """What the driver calls it."""
    link: Literal["nvlink", "pcie"] = "pcie"
    measured: bool = False
    """The memory was read from a running card; else it is computed from cards of its kind."""


def _kind(
    name: str,
    gib: float,
    capability: tuple[int, int],
    full_name: str,
    link: Literal["nvlink", "pcie"] = "pcie",
    *,
    measured: bool = False,
) -> GpuKind:
    return GpuKind(name, int(gib * GIB), capability, full_name, link, measured)


KINDS: Final = (
    _kind("P100-16GB", 15.90, (6, 0), "Tesla P100-PCIE-16GB"),
    _kind("V100-16GB", 15.77, (7, 0), "Tesla V100-SXM2-16GB", "nvlink", measured=True),
    _kind("V100-32GB", 31.73, (7, 0), "Tesla V100-SXM2-32GB", "nvlink"),
    _kind("T4", 14.56, (7, 5), "Tesla T4", measured=True),
    _kind("RTX2080Ti", 10.75, (7, 5), "NVIDIA GeForce RTX 2080 Ti"),
    _kind("RTX3060", 11.75, (8, 6), "NVIDIA GeForce RTX 3060"),
    _kind("RTX3070", 7.78, (8, 6), "NVIDIA GeForce RTX 3070"),
    _kind("RTX3080", 9.77, (8, 6), "NVIDIA GeForce RTX 3080"),
    _kind("RTX3090", 23.57, (8, 6), "NVIDIA GeForce RTX 3090"),
    _kind("A100-40GB", 39.39, (8, 0), "NVIDIA A100-SXM4-40GB", "nvlink", measured=True),
    _kind("A100-80GB", 79.25, (8, 0), "NVIDIA A100-SXM4-80GB", "nvlink"),
    _kind("A30", 23.50, (8, 0), "NVIDIA A30"),
    _kind("A10", 22.06, (8, 6), "NVIDIA A10"),
    _kind("A10G", 22.06, (8, 6), "NVIDIA A10G", measured=True),
    _kind("A16", 14.53, (8, 6), "NVIDIA A16"),
    _kind("A40", 44.35, (8, 6), "NVIDIA A40"),
    _kind("A4000", 15.73, (8, 6), "NVIDIA RTX A4000"),
    _kind("A5000", 23.66, (8, 6), "NVIDIA RTX A5000"),
    _kind("A6000", 47.40, (8, 6), "NVIDIA RTX A6000"),
    _kind("RTX4060Ti-16GB", 15.58, (8, 9), "NVIDIA GeForce RTX 4060 Ti"),
    _kind("RTX4070", 11.60, (8, 9), "NVIDIA GeForce RTX 4070"),
    _kind("RTX4080", 15.58, (8, 9), "NVIDIA GeForce RTX 4080"),
    _kind("RTX4090", 23.52, (8, 9), "NVIDIA GeForce RTX 4090", measured=True),
    _kind("RTX6000Ada", 47.37, (8, 9), "NVIDIA RTX 6000 Ada Generation"),
    _kind("L4", 22.03, (8, 9), "NVIDIA L4", measured=True),
    _kind("L40", 44.40, (8, 9), "NVIDIA L40"),
    _kind("L40S", 44.40, (8, 9), "NVIDIA L40S"),
    _kind("H100", 79.19, (9, 0), "NVIDIA H100 80GB HBM3", "nvlink", measured=True),
    _kind("H100-PCIe", 79.19, (9, 0), "NVIDIA H100 PCIe"),
    _kind("H100-NVL", 93.11, (9, 0), "NVIDIA H100 NVL"),
    _kind("GH200-96GB", 94.50, (9, 0), "NVIDIA GH200 480GB"),
    _kind("H20", 95.00, (9, 0), "NVIDIA H20", "nvlink"),
    _kind("H200", 139.80, (9, 0), "NVIDIA H200", "nvlink", measured=True),
    _kind("B200", 178.40, (10, 0), "NVIDIA B200", "nvlink"),
    _kind("RTX5070Ti", 15.47, (12, 0), "NVIDIA GeForce RTX 5070 Ti"),
    _kind("RTX5080", 15.47, (12, 0), "NVIDIA GeForce RTX 5080"),
    _kind("RTX5090", 31.37, (12, 0), "NVIDIA GeForce RTX 5090"),
    _kind("RTXPRO6000", 94.97, (12, 0), "NVIDIA RTX PRO 6000 Blackwell Server Edition"),
)

OTHER_NAMES: Final = {
    "V100": "V100-16GB", "A100": "A100-40GB", "H100-80GB": "H100", "H100-SXM": "H100", "H100-SXM5-80GB": "H100",
    "A100-SXM4-80GB": "A100-80GB", "A100-SXM4-40GB": "A100-40GB", "A100-PCIE-40GB": "A100-40GB",
    "A100-PCIE-80GB": "A100-80GB", "V100-SXM2-16GB": "V100-16GB", "V100-SXM2-32GB": "V100-32GB", "3090": "RTX3090",
    "4090": "RTX4090", "5090": "RTX5090", "4080": "RTX4080", "3080": "RTX3080", "3060": "RTX3060",
    "RTX-A6000": "A6000", "P100": "P100-16GB", "H200-141GB": "H200", "RTX4060TI": "RTX4060Ti-16GB",
}  # fmt: skip
"""Other spellings that people use; a bare V100 or A100 is the smaller one."""
