"""vLLM's own answers, and the models and launches that they are about."""

from __future__ import annotations

import csv
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from abstractcore.deploy.choose import batch_defaults, dtype_for
from abstractcore.deploy.hardware import Gpu, parse_gpus
from abstractcore.deploy.memory import Flags
from abstractcore.deploy.model_card import ModelCard, from_config
from abstractcore.deploy.refusals import derived_length
from abstractcore.vllm_facts.sizing import NEWEST

FIXTURES = Path(__file__).parent / "fixtures"
SHORT = {"V100-16": "V100-16GB", "A100-40": "A100-40GB", "A100-80": "A100-80GB"}

Golden = dict[str, Any]


@cache
def configs() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(gzip.decompress((FIXTURES / "configs.json.gz").read_bytes()))
    return found


@cache
def goldens() -> tuple[Golden, ...]:
    text = gzip.decompress((FIXTURES / "goldens.jsonl.gz").read_bytes()).decode()
    return tuple(json.loads(line) for line in text.splitlines())


def calibration() -> list[dict[str, str]]:
    with (FIXTURES / "calibration.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def card(model: str) -> ModelCard:
    files = configs()[model]
    return from_config(model, files["config.json"], quantization=files.get("hf_quant_config.json"))


def gpus(golden: Golden) -> tuple[Gpu, ...]:
    return _gpus(golden.get("gpu", "H100"))


@cache
def _gpus(kind: str) -> tuple[Gpu, ...]:
    return parse_gpus(f"32x{SHORT.get(kind, kind)}")


def launch(golden: Golden) -> Flags:
    """The flags that vLLM fills in for a case."""
    args, model, cards = golden["args"], card(golden["model"]), gpus(golden)
    tp, pp = golden.get("tp", 1), golden.get("pp", 1)
    asked = args.get("max_model_len")
    length = asked if asked and asked > 0 else derived_length(model, NEWEST) or 2048
    if asked is None or asked == -1:
        length = golden.get("max_model_len", length)
    tokens, sequences = batch_defaults(cards[0], tp * pp, length)
    return Flags(
        tp=tp,
        pp=pp,
        utilization=NEWEST.utilization,
        max_model_len=length,
        max_num_batched_tokens=args.get("max_num_batched_tokens", tokens),
        max_num_seqs=args.get("max_num_seqs", sequences),
        dtype=dtype_for(model, cards, args.get("dtype")),
        quantization=args.get("quantization"),
        kv_cache_dtype=args.get("kv_cache_dtype", "auto"),
        block=args.get("block_size"),
        prefix_caching=args.get("enable_prefix_caching", True),
        hybrid_cache=not args.get("disable_hybrid_kv_cache_manager", False),
        lora_slots=int(args.get("enable_lora", False)),
        lora_rank=args.get("max_lora_rank", 16),
        kv_cache_memory=golden.get("kv_bytes"),
    )
