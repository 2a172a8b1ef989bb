"""How close planners come to real start-up logs: abstractcore, aiconfigurator and vllm-wizard on the same launches.

    python bench/planner.py [--folder ~/.cache/abstractcore/bench] [--limit N]

The launches are those of ``tests/unit/deploy/fixtures/calibration.csv`` (vLLM 0.15 to 0.19 on H100 cards) whose logs
say how many tokens the cache holds; some constants of abstractcore were found on them. Each peer is installed into a
venv of its own below the folder (aiconfigurator takes about 850 MB) and asked through its own interface, with the
card's memory as CUDA reports it and the same flags; the models are folders with nothing but a config.json. A peer that
answers with an error has no figure for that launch.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from abstractcore.deploy.choose import Wish
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.model_files import find_model
from abstractcore.deploy.plan import make_plan
from abstractcore.settings import cache_dir

FIXTURES = Path(__file__).parents[1] / "tests" / "unit" / "deploy" / "fixtures"
TOTAL = parse_gpus("1xH100")[0].total
SEQUENCES, TOKENS = 1024, 8192
"""What the API server takes on this card by default."""

Launch = dict[str, Any]

AICONFIGURATOR = """
import json, sys
from aiconfigurator_core.sdk.memory import estimate_kv_cache
for line in sys.stdin:
    case = json.loads(line)
    try:
        moe = {"moe_tp_size": case["tp"], "moe_ep_size": 1} if case["moe"] else {}
        found = estimate_kv_cache(
            case["folder"], "h100_sxm", "vllm", "current", max_num_tokens=case["tokens"],
            max_batch_size=case["sequences"],
            memory_fraction_kind="of_total", memory_fraction_value=case["utilization"], tp_size=case["tp"],
            pp_size=case["pp"], kvcache_quant_mode="fp8" if case["kv"] == "fp8" else None,
            gpu_memory_capacity_bytes_override=case["total"], **moe)
        print(json.dumps([case["id"], found["total_kv_size_tokens"]]), flush=True)
    except Exception as error:
        print(json.dumps([case["id"], None, str(error)[:200]]), flush=True)
"""

WIZARD = """
import json, sys
from pathlib import Path
from vllm_wizard.planning.planner import run_plan
from vllm_wizard.schemas import inputs
for line in sys.stdin:
    case = json.loads(line)
    try:
        request = inputs.PlanRequest(
            model=inputs.ModelInput(model=case["folder"], max_model_len=case["length"],
                                    kv_cache_dtype="fp8_e4m3fn" if case["kv"] == "fp8" else "auto"),
            hardware=inputs.HardwareInput(gpu="H100 80GB", gpus=case["tp"] * case["pp"], vram_gb=case["total"] / 2**30,
                                          tensor_parallel_size=case["tp"]),
            policy=inputs.PolicyInput(gpu_memory_utilization=case["utilization"]))
        found = run_plan(request).feasibility
        print(json.dumps([case["id"], found.max_context_at_concurrency]), flush=True)
    except Exception as error:
        print(json.dumps([case["id"], None, str(error)[:200]]), flush=True)
"""

PEERS = {"aiconfigurator": ("aiconfigurator==0.12.0", AICONFIGURATOR), "vllm-wizard": ("vllm-wizard==0.2.0", WIZARD)}


def launches(folder: Path) -> list[Launch]:
    """The launches whose logs name the tokens of the cache."""
    configs = json.loads(gzip.decompress((FIXTURES / "configs.json.gz").read_bytes()))
    found = []
    with (FIXTURES / "calibration.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kv_tokens"] and row["outcome"] == "fits"]
    for number, row in enumerate(rows):
        model = folder / "models" / row["model"]
        model.mkdir(parents=True, exist_ok=True)
        for name, content in configs[row["model"]].items():
            (model / name).write_text(json.dumps(content))

        def flag(name: str, default: str, text: str = row["flags"]) -> str:
            match = re.search(rf"--{name} (\S+)", text)
            return match[1] if match else default

        text = configs[row["model"]]["config.json"]
        inner = text.get("text_config", text)
        found.append(
            {
                "id": number, "model": row["model"], "folder": str(model), "truth": int(row["kv_tokens"]),
                "total": TOTAL,
                "version": row["vllm_version"], "tp": int(flag("tensor-parallel-size", "1")),
                "pp": int(flag("pipeline-parallel-size", "1")), "length": int(flag("max-model-len", "8192")),
                "utilization": float(flag("gpu-memory-utilization", "0.9")), "kv": flag("kv-cache-dtype", "auto"),
                "dtype": flag("dtype", "auto"), "fp8": "[quant fp8]" in row["flags"], "tokens": TOKENS,
                "sequences": SEQUENCES,
                "moe": any(inner.get(key) for key in ("num_experts", "num_local_experts", "n_routed_experts")),
            }
        )  # fmt: skip
    return found


def ours(case: Launch) -> int:
    """The tokens of our plan."""
    wish = Wish(
        context=case["length"], tp=case["tp"], pp=case["pp"], utilization=case["utilization"], dtype=case["dtype"],
        kv_cache_dtype=case["kv"], quantization="fp8" if case["fp8"] else None, max_num_seqs=SEQUENCES,
        max_num_batched_tokens=TOKENS, as_is=True,
    )  # fmt: skip
    major, minor, patch = (int(part) for part in case["version"].split("."))
    gpus = parse_gpus(f"{case['tp'] * case['pp']}xH100")
    return make_plan(find_model(case["folder"]), gpus, wish, version=(major, minor, patch)).chosen.best.tokens


def ask(name: str, cases: list[Launch], folder: Path) -> dict[int, int | None]:
    """The tokens that a peer names."""
    requirement, script = PEERS[name]
    python = folder / name / "bin" / "python"
    if not python.exists():
        print(f"installing {requirement} into {folder / name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=True)
    text = "".join(json.dumps(case) + "\n" for case in cases)
    argv = [python, "-c", script]
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for number, tokens, *error in answers:
        if tokens is None:
            print(f"{name}, {cases[number]['model']}: {error[0]}", file=sys.stderr)
    return {answer[0]: answer[1] for answer in answers}


def summary(name: str, cases: list[Launch], tokens: dict[int, int | None]) -> str:
    """One row of the table."""
    off = [found / case["truth"] - 1 for case in cases if (found := tokens.get(case["id"]))]
    if not off:
        return f"| {name} | 0 of {len(cases)} | | | |"
    sizes = sorted(abs(error) for error in off)
    within = sum(size <= 0.03 for size in sizes)
    middle, worst = statistics.median(sizes), max(off, key=abs)
    return f"| {name} | {len(off)} of {len(cases)} | {middle:.2%} | {within} | {worst:+.1%} |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=cache_dir() / "bench", help="for venvs and models")
    parser.add_argument("--limit", type=int, help="only so many launches")
    given = parser.parse_args()
    folder = given.folder.expanduser()
    cases = launches(folder)[: given.limit]
    rows = [summary("abstractcore", cases, {case["id"]: ours(case) for case in cases})]
    rows += [summary(name, cases, ask(name, cases, folder)) for name in PEERS]
    print("Tokens of the KV cache, against the log:\n")
    print("| planner | answered | median error | within 3 % | worst |\n|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
