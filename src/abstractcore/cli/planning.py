"""The options by which commands plan a server, and the plan that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from ..deploy.choose import Wish
    from ..deploy.hardware import Gpu
    from ..deploy.model_card import ModelCard
    from ..deploy.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])

_PASSED = ("context", "concurrency", "adapters", "lora_rank", "tp", "pp", "replicas", "utilization", "max_num_seqs",
           "max_num_batched_tokens", "dtype", "quantization", "kv_cache_dtype", "enforce_eager", "as_is")  # fmt: skip
_OPTIONS: Final = (
    click.option(
        "--gpus",
        help="GPUs such as 4xL4, 2xV100-16GB, cpu, or by hand 2xNAME@47.5GiB/9.0; this machine's when left out.",
    ),
    click.option(
        "--context", type=click.IntRange(1), help="Tokens of the longest request; the model's own when left out."
    ),
    click.option("--concurrency", type=click.IntRange(1), help="Requests of that length at once."),
    click.option("--adapters", type=click.IntRange(0), default=0, help="LoRA adapters held at once."),
    click.option(
        "--lora-rank", type=click.IntRange(1), default=16, show_default=True, help="Largest rank of an adapter."
    ),
    click.option("--vllm-version", help="Release to plan for, such as 0.19.0."),
    click.option("--tp", type=click.IntRange(1), help="Fix the tensor-parallel size."),
    click.option("--pp", type=click.IntRange(1), help="Fix the pipeline-parallel size."),
    click.option("--replicas", type=click.IntRange(1), help="Fix the number of replicas."),
    click.option("--utilization", type=click.FloatRange(0.01, 1.0), help="Fix --gpu-memory-utilization."),
    click.option("--max-num-seqs", type=click.IntRange(1), help="Fix the sequences at once."),
    click.option("--max-num-batched-tokens", type=click.IntRange(1), help="Fix the tokens of a step."),
    click.option(
        "--dtype", type=click.Choice(["auto", "half", "float16", "bfloat16", "float32"]), help="Fix the dtype."
    ),
    click.option("--quantization", type=click.Choice(["fp8"]), help="Quantize the weights at start."),
    click.option(
        "--kv-cache-dtype", type=click.Choice(["auto", "fp8", "fp8_e4m3", "fp8_e5m2", "bfloat16"]), help="Of the cache."
    ),
    click.option(
        "--as-is", is_flag=True, help="Judge these flags with vLLM's defaults for all others; choose nothing."
    ),
    click.option("--enforce-eager/--no-enforce-eager", default=None, help="Without or with CUDA graphs."),
    click.option(
        "--kv-memory",
        type=click.FloatRange(min=0.01),
        metavar="GIB",
        help="Memory of the cache, given instead of measured.",
    ),
    click.option("--free", type=click.FloatRange(min=0), metavar="GIB", help="What is free on each GPU."),
    click.option(
        "--learn",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Take measurements from a start-up log.",
    ),
)
NAMES: Final = (*_PASSED, "gpus", "vllm_version", "kv_memory", "free", "learn")
"""The parameters that the options become."""


def planning(command: F) -> F:
    """Adds the options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def planned(model: str, options: dict[str, Any], gpu_ids: tuple[str, ...] = ()) -> tuple[Plan, tuple[str, ...]]:
    """The plan that the options ask for, and what is odd about this machine.

    Args:
        model: A folder, or an id on the hub.
        options: The parameters of ``planning``.
        gpu_ids: Which of this machine's GPUs are used, where ``--gpus`` does not say it; all when empty.

    Raises:
        ConfigurationError: The model or the GPUs are not known, or an option makes no sense.
    """
    from ..deploy.choose import Wish
    from ..deploy.model_files import find_model
    from ..vllm_facts.gpus import GIB

    card = find_model(model)
    cards, warnings = cards_for(options["gpus"], options["free"])
    if gpu_ids and not options["gpus"]:
        cards = _only(cards, gpu_ids)
    held = int(options["kv_memory"] * GIB) if options["kv_memory"] else None
    wish = Wish(kv_cache_memory=held, **{name: options[name] for name in _PASSED})
    return _planned(card, cards, wish, _version(options["vllm_version"]), options["learn"]), warnings


def _only(cards: tuple[Gpu, ...], gpu_ids: tuple[str, ...]) -> tuple[Gpu, ...]:
    from ..errors import ConfigurationError

    numbers = [int(name) for name in gpu_ids if name.isdecimal()]
    if len(numbers) != len(gpu_ids):
        return cards[: len(gpu_ids)]  # UUIDs: any so many
    if not all(number < len(cards) for number in numbers):
        raise ConfigurationError(
            f"--gpu-ids {','.join(gpu_ids)} names a GPU that is not there",
            why=f"this machine has {len(cards)}, counted from 0",
            hint="nvidia-smi -L lists them",
        )
    return tuple(cards[number] for number in numbers)


def cards_for(text: str | None, free: float | None) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The GPUs to plan for, and what is odd about this machine."""
    from dataclasses import replace

    from ..deploy.hardware import parse_gpus
    from ..deploy.preflight import probe
    from ..vllm_facts.gpus import GIB

    if text:
        cards, warnings = parse_gpus(text), tuple[str, ...]()
    else:
        machine = probe()
        cards, warnings = machine.gpus, machine.warnings(len(machine.gpus))
    if free is not None:
        cards = tuple(replace(card, free=int(free * GIB)) for card in cards)
    return cards, warnings


def _version(text: str | None) -> tuple[int, int, int] | None:
    from ..errors import ConfigurationError
    from ..vllm_facts import parse_version

    if text is None:
        return None
    found = parse_version(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is no release of vLLM", hint="--vllm-version 0.32.0")
    return found


def _planned(
    card: ModelCard, cards: tuple[Gpu, ...], wish: Wish, version: tuple[int, int, int] | None, log: Path | None
) -> Plan:
    from ..deploy import startup_log
    from ..deploy.plan import make_plan
    from ..settings import cache_dir

    if log is not None:
        return _learn(card, cards, wish, version, log)
    made = make_plan(card, cards, wish, version=version)
    path = startup_log.record_path(cache_dir(), card.name, cards[0].name, release_of(made))
    known = startup_log.load(path, made.chosen.flags)
    return make_plan(card, cards, wish, version=version, measured=known) if known else made


def _learn(
    card: ModelCard, cards: tuple[Gpu, ...], wish: Wish, version: tuple[int, int, int] | None, log: Path
) -> Plan:
    from math import ceil

    from ..deploy import startup_log
    from ..deploy.plan import make_plan
    from ..settings import cache_dir
    from ..vllm_facts import parse_version

    text = log.read_text(encoding="utf-8", errors="replace")
    found = startup_log.read_log(text)
    wrote = startup_log.version_in(text)
    release = version or (parse_version(wrote) if wrote else None)
    launched = make_plan(card, cards, startup_log.wish_in(text, wish) or wish, version=release)
    flags = launched.chosen.flags
    budget = ceil(min(gpu.total for gpu in cards) * flags.utilization)
    measured = startup_log.as_measured(found, flags, budget)
    path = startup_log.record_path(cache_dir(), card.name, cards[0].name, release_of(launched))
    startup_log.save(path, flags, measured)
    click.echo(f"learned from {log}: {', '.join(f'{name} {value:g}' for name, value in found.items())}", err=True)
    return make_plan(card, cards, wish, version=release, measured=measured)


def release_of(made: Plan) -> str:
    """The release, as people write it."""
    return ".".join(map(str, made.version))
