"""What a start-up log of vLLM measured, and where it is kept for the next plan."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import ConfigurationError
from ..vllm_facts.gpus import GIB
from .choose import Wish
from .memory import Flags, Measured

_NUMBER: Final = r"(\d[\d,]*(?:\.\d+)?)"
_WEIGHTS: Final = re.compile(rf"Model loading took {_NUMBER} (?:GiB|GB)")
_KV: Final = re.compile(rf"Available KV cache memory: {_NUMBER} GiB")
_TOKENS: Final = re.compile(rf"KV cache size: {_NUMBER} tokens")
_CONCURRENCY: Final = re.compile(rf"Maximum concurrency for {_NUMBER} tokens per request: {_NUMBER}x")
_GRAPHS: Final = re.compile(rf"[Gg]raph capturing finished in [\d.]+ \S+, took {_NUMBER} GiB")
_ACTUAL: Final = re.compile(
    rf"Actual usage is {_NUMBER} GiB for weight, {_NUMBER} GiB for peak activation, {_NUMBER} GiB for "
    rf"non-torch memory, and {_NUMBER} GiB for CUDAGraph"
)
_PEAK: Final = re.compile(rf"PyTorch activation peak memory takes {_NUMBER} ?GiB")
_ARGUMENTS: Final = re.compile(r"non-default args: (\{.*\})")
_SAME: Final = {"tp": "tensor_parallel_size", "pp": "pipeline_parallel_size", "utilization": "gpu_memory_utilization",
                "max_num_seqs": "max_num_seqs", "max_num_batched_tokens": "max_num_batched_tokens", "dtype": "dtype",
                "quantization": "quantization", "kv_cache_dtype": "kv_cache_dtype"}  # fmt: skip
_WORDS: Final = ("dtype", "quantization", "kv_cache_dtype")
_VERSION: Final = re.compile(r"vLLM (?:API server )?version (\d+\.\d+\.\d+)|LLM engine \(v(\d+\.\d+\.\d+)")


def read_log(text: str) -> dict[str, float]:
    """The numbers that a log has: GiB, and the tokens and concurrency that it names.

    Raises:
        ConfigurationError: It has none; it is no log of a start that came far enough.
    """
    found: dict[str, float] = {}
    for name, pattern in (
        ("weights", _WEIGHTS),
        ("kv", _KV),
        ("tokens", _TOKENS),
        ("graphs", _GRAPHS),
        ("activation", _PEAK),
    ):
        values = [_float(match) for match in pattern.findall(text)]
        if values:
            found[name] = max(values) if name in {"weights", "graphs", "activation"} else min(values)
    if match := _ACTUAL.search(text):
        found |= dict(zip(("weights", "activation", "non_torch", "graphs"), map(_float, match.groups()), strict=True))
    if match := _CONCURRENCY.search(text):
        found["length"], found["concurrency"] = _float(match[1]), _float(match[2])
    if "weights" not in found and "kv" not in found and "tokens" not in found:
        raise ConfigurationError(
            "this log has no measurements",
            why='none of "Model loading took", "Available KV cache memory" and "KV cache size" is in it',
            hint="give the log of a vLLM server from its start until it was ready, at log level INFO",
        )
    return found


def version_in(text: str) -> str | None:
    """The release that wrote a log."""
    match = _VERSION.search(text)
    return (match[1] or match[2]) if match else None


def _float(text: str) -> float:
    return float(text.replace(",", ""))


def arguments_in(text: str) -> dict[str, Any]:
    """The arguments that a log says the server was started with."""
    match = _ARGUMENTS.search(text)
    try:
        found = ast.literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last one where it is nested too deeply
        return {}
    return found if isinstance(found, dict) else {}


def _said(found: Mapping[str, Any], name: str, default: Any) -> Any:
    """An argument, where it has the type of what stands for it otherwise."""
    value = found.get(name)
    kinds = {"gpu_memory_utilization": (int, float), **dict.fromkeys(_WORDS, (str,))}.get(name, (int,))
    return value if isinstance(value, kinds) and not isinstance(value, bool) else default


def wish_in(text: str, wish: Wish) -> Wish | None:
    """The launch that wrote a log, to be judged as it was; ``None`` if the log does not say.

    Args:
        text: The log.
        wish: What the user asks for; it fills in what the log leaves open.
    """
    found = arguments_in(text)
    if not found:
        return None
    return replace(
        wish,
        as_is=True,
        context=_said(found, "max_model_len", wish.context),
        adapters=_said(found, "max_loras", 1) if found.get("enable_lora") else 0,
        lora_rank=_said(found, "max_lora_rank", wish.lora_rank),
        enforce_eager=bool(found.get("enforce_eager", False)),
        kv_cache_memory=_said(found, "kv_cache_memory_bytes", wish.kv_cache_memory),
        **{ours: _said(found, theirs, getattr(wish, ours)) for ours, theirs in _SAME.items()},
    )


def as_measured(found: Mapping[str, float], flags: Flags, budget: int) -> Measured:
    """Measured terms, in bytes.

    Args:
        found: From ``read_log``.
        flags: The launch that they belong to.
        budget: What it could take of a GPU.
    """

    def size(name: str) -> int | None:
        return int(found[name] * GIB) if name in found else None

    kv = size("kv")
    return Measured(
        weights=size("weights"),
        activation=size("activation"),
        non_torch=size("non_torch"),
        graphs=size("graphs"),
        used=budget - kv if kv is not None and flags.kv_cache_memory is None else None,
        max_num_seqs=flags.max_num_seqs,
        max_num_batched_tokens=flags.max_num_batched_tokens,
    )


def flags_key(flags: Flags) -> str:
    """What of a launch its measured terms depend on, other than the limits of a step."""
    return (
        f"tp{flags.tp} pp{flags.pp} {flags.dtype} {flags.quantization or 'as stored'} {flags.kv_cache_dtype} "
        f"{'eager' if flags.enforce_eager else 'graphs'} lora {flags.lora_slots}x{flags.lora_rank}"
    )


def record_path(folder: Path, model: str, gpu: str, version: str) -> Path:
    """The file that keeps what was measured for a model, a kind of GPU and a release."""
    name = re.sub(r"[^\w.-]+", "_", f"{model.rstrip('/').rsplit('/', 1)[-1]}--{gpu}--{version}")
    return folder / "plans" / f"{name}-{sha256(model.encode()).hexdigest()[:8]}.json"


def save(path: Path, flags: Flags, measured: Measured) -> None:
    """Keeps measured terms, beside those of other launches."""
    records = _records(path)
    records[flags_key(flags)] = asdict(measured)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")


def load(path: Path, flags: Flags) -> Measured | None:
    """What was measured with a launch like this, if anything."""
    record = _records(path).get(flags_key(flags))
    try:
        return msgspec.convert(record, Measured) if record else None
    except ValueError:  # of another version, or damaged: it is measured anew
        return None


def _records(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}
