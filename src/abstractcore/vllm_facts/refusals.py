"""vLLM's own words for what it refuses at start, and the rules behind them."""

from __future__ import annotations

from typing import Final

LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)

LORA_RANK: Final = "Input should be 1, 8, 16, 32, 64, 128, 256, 320 or 512"

LEAST_CAPABILITY: Final[dict[str, int]] = {
    "awq": 75, "gptq": 75, "fp8": 75, "compressed-tensors": 75, "mxfp4": 80, "modelopt": 89, "modelopt_fp4": 75,
    "bitsandbytes": 70,
}  # fmt: skip
"""Of each way to quantize; below it the engine does not start."""

HEADS: Final = "Total number of attention heads ({heads}) must be divisible by tensor parallel size ({tp})."
DIVISIBLE: Final = "{number} is not divisible by {tp}"
TOO_LONG: Final = (
    "User-specified max_model_len ({asked}) is greater than the derived max_model_len ({key}={derived} or "
    "model_max_length=None in model's config.json)."
)
ONE_REQUEST: Final = (
    "To serve at least one request with the model's max seq len ({length}), ({needed} GiB KV cache is needed, which is "
    "larger than the available KV cache memory ({available} GiB)."
)
LONGEST: Final = "Based on the available memory, the estimated maximum model length is {longest}."
NO_MEMORY: Final = "No available memory for the cache blocks."
FREE: Final = (
    "Free memory on device {device} ({free}/{total} GiB) on startup is less than desired GPU memory utilization "
    "({utilization}, {wanted} GiB)."
)
WORLD: Final = "World size ({world}) is larger than the number of available GPUs ({gpus}) in this node."
DATA_PARALLEL: Final = "DP adjusted local rank {rank} is out of bounds"
BFLOAT: Final = "Bfloat16 is only supported on GPUs with compute capability of at least 8.0."
QUANTIZATION: Final = (
    "The quantization method {method} is not supported for the current GPU. Minimum capability: {least}. "
    "Current capability: {number}."
)
SCHEME: Final = (
    "Quantization scheme is not supported for the current GPU. Min capability: {least}. Current capability: {number}."
)
MARLIN: Final = (
    "Marlin does not support weight_bits = {kind}. Only types = [] are supported (for group_size = {group}, "
    "device_capability = {number}, zp = False)."
)
METHOD_NAMES: Final = {"awq": "auto_awq", "gptq": "auto_gptq", "mxfp4": "gpt_oss_mxfp4"}
"""What the engine calls the methods that checkpoints name otherwise."""
FP8_CACHE: Final = (
    "FP8 KV cache is not supported by the Triton attention backend on {device} (compute capability {capability}); "
    "native FP8 (fp8e4nv) requires SM89+. Re-run with --kv-cache-dtype {dtype}."
)
ARCHITECTURE: Final = "Model architectures ['{name}'] are not supported for now."
NO_KERNEL: Final = "no kernel image is available for execution on the device"
SAMPLER: Final = "CUDA out of memory occurred when warming up sampler with {seqs} dummy requests."
OUT_OF_MEMORY: Final = "CUDA out of memory."
ACT_ORDER: Final = "GPTQ group activation ordering (desc_act=True) is no longer supported."
COMPRESSED_ORDER: Final = (
    "Compressed-tensors group/dynamic activation ordering (actorder='group') is no longer supported."
)
UNKNOWN_METHOD: Final = "Unknown quantization method: {method}."
EXPERT_GROUPS: Final = (
    "CompressedTensors WNA16 MoE with static group scales requires the MoE intermediate size per tensor-parallel "
    "partition ({width}) to be divisible by group_size ({group})."
)
UNALIGNED: Final = (
    "The input size is not aligned with the quantized weight shape. This can be caused by too large tensor parallel "
    "size."
)
BATCHED_TOKENS: Final = "max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs})."
