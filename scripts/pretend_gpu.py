"""Makes a CPU build of vLLM take this machine for one with NVIDIA GPUs, so that its own code says what it would do.

No kernel runs: models are built on torch's meta device, and a group object stands in for NCCL. Used by
``sizing_oracle.py`` only.
"""

# ruff: noqa: SLF001 - it reaches into vLLM, which was not made for being asked

from __future__ import annotations

import dis
import importlib
import os
import sys
import types
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR", CUDA_VISIBLE_DEVICES="")

import torch

GIB = 2**30
CARDS: dict[str, tuple[str, float, tuple[int, int], int]] = {
    "T4": ("Tesla T4", 14.56, (7, 5), 40),
    "V100-16": ("Tesla V100-SXM2-16GB", 15.77, (7, 0), 80),
    "L4": ("NVIDIA L4", 22.03, (8, 9), 58),
    "A10G": ("NVIDIA A10G", 22.06, (8, 6), 80),
    "RTX3090": ("NVIDIA GeForce RTX 3090", 23.57, (8, 6), 82),
    "RTX4090": ("NVIDIA GeForce RTX 4090", 23.52, (8, 9), 128),
    "A100-40": ("NVIDIA A100-SXM4-40GB", 39.39, (8, 0), 108),
    "L40S": ("NVIDIA L40S", 44.40, (8, 9), 142),
    "A100-80": ("NVIDIA A100-SXM4-80GB", 79.25, (8, 0), 108),
    "H100": ("NVIDIA H100 80GB HBM3", 79.18, (9, 0), 132),
    "H200": ("NVIDIA H200", 139.8, (9, 0), 132),
    "B200": ("NVIDIA B200", 178.4, (10, 0), 148),
}
"""Name, memory as CUDA reports it in GiB, compute capability, multiprocessors."""

_KERNELS = ("_C", "_moe_C", "_C_cache_ops", "_C_cuda_utils", "_C_custom_ar", "_C_stable_libtorch",
            "_moe_C_stable_libtorch")  # fmt: skip


class _Kernel:
    """Stands for a compiled operator: it may be looked up, not called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(f"the kernel {self._name} was called")

    def __getattr__(self, name: str) -> _Kernel:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kernel(f"{self._name}.{name}")


def _is_read(frame: types.FrameType) -> bool:
    """Whether the caller reads the attribute, rather than asks if there is one."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith(("LOAD_ATTR", "LOAD_METHOD"))


def _pretend_kernels() -> None:
    namespace = torch._ops._OpNamespace
    real = namespace.__getattr__

    def lookup(self: Any, name: str) -> Any:
        try:
            return real(self, name)
        except AttributeError:
            if self.name in _KERNELS and not name.startswith("__") and _is_read(sys._getframe(1)):
                return _Kernel(f"{self.name}.{name}")
            raise

    namespace.__getattr__ = lookup
    sys.modules["vllm._C_stable_libtorch"] = types.ModuleType("vllm._C_stable_libtorch")
    # The torchvision of PyPI does not know the operators of a CPU torch; model code only wants its transforms.
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")


def _pretend_flash_attention(capability: tuple[int, int]) -> None:
    def supported(version: int, device: Any = None) -> bool:  # noqa: ARG001
        return {2: capability >= (8, 0), 3: capability[0] == 9, 4: capability[0] in {9, 10}}.get(version, False)

    package = types.ModuleType("vllm.vllm_flash_attn")
    package.__path__ = []
    interface = types.ModuleType("vllm.vllm_flash_attn.flash_attn_interface")
    for module in (package, interface):
        vars(module).update(
            FA2_AVAILABLE=True,
            FA3_AVAILABLE=True,
            is_fa_version_supported=supported,
            fa_version_unsupported_reason=lambda v, device=None: None if supported(v) else "not on this GPU",
            flash_attn_varlen_func=_Kernel("flash_attn_varlen_func"),
            get_scheduler_metadata=_Kernel("get_scheduler_metadata"),
            compile_flash_attn_varlen_func_from_specs=_Kernel("compile_flash_attn_varlen_func_from_specs"),
        )
    package.flash_attn_interface = interface  # type: ignore[attr-defined]
    sys.modules[package.__name__], sys.modules[interface.__name__] = package, interface


def install(card: str, count: int = 32) -> None:
    """Makes vLLM see ``count`` cards of this kind. To be called before anything else of vLLM is imported."""
    name, gib, capability, multiprocessors = CARDS[card]
    from vllm import platforms

    platforms.vllm_version_matches_substr = lambda _: False  # else it insists on being a CPU build
    _pretend_kernels()
    _pretend_flash_attention(capability)
    interface = importlib.import_module("vllm.platforms.interface")
    cuda = importlib.import_module("vllm.platforms.cuda")
    answers: dict[str, Any] = {
        "get_device_capability": lambda *_, **__: interface.DeviceCapability(*capability),
        "has_device_capability": lambda wanted, *_, **__: (
            capability >= wanted if isinstance(wanted, tuple) else capability[0] * 10 + capability[1] >= wanted
        ),
        "get_device_name": lambda *_, **__: name,
        "get_device_uuid": lambda *_, **__: "GPU-0",
        "get_device_total_memory": lambda *_, **__: int(gib * GIB),
        "is_fully_connected": lambda *_, **__: False,
        "device_count": lambda: count,
        "num_compute_units": lambda *_, **__: multiprocessors,
        "is_integrated_gpu": lambda *_, **__: False,
        "import_kernels": lambda: None,
        "set_device": lambda *_, **__: None,
        "get_device_numa_node": lambda *_, **__: None,
        "get_all_device_numa_nodes": lambda: None,
        "manual_seed_all": lambda *_, **__: None,
        "get_cuda_runtime_major": lambda: 13,
    }
    methods = {key: staticmethod(value) for key, value in answers.items()}
    platforms.current_platform = platforms._current_platform = type("PretendCuda", (cuda.CudaPlatformBase,), methods)()
    operators = importlib.import_module("vllm._custom_ops")
    number = capability[0] * 10 + capability[1]
    for operator, least in (
        ("cutlass_scaled_mm_supports_fp8", 89),
        ("cutlass_scaled_mm_supports_block_fp8", 90),
        ("cutlass_scaled_mm_supports_fp4", 100),
        ("cutlass_group_gemm_supported", 90),
    ):
        if hasattr(operators, operator):
            setattr(operators, operator, lambda *_, least=least, **__: number >= least)
