"""Model folders: where they are on this machine, and what their files say without the weights being read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..extras import need
from .engine import EngineError

_PATTERNS: Final = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "*.txt")
"""What is fetched of a repository: weights only as safetensors, which can't run code, and no Python."""
_CONTEXT: Final = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")


def hub_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's own library keeps what it fetched."""
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    if environ.get("HF_HOME"):
        return Path(environ["HF_HOME"]).expanduser() / "hub"
    base = environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "huggingface" / "hub"


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user keeps the hub's library off the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def cached(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """The models in the hub's cache folder that have weights as safetensors, by their ids."""
    found = {}
    for folder in sorted(hub_folder(environ).glob("models--*--*")):
        name = folder.name.removeprefix("models--").replace("--", "/")
        at = _snapshot(folder)
        if at is not None and (at / "config.json").exists() and any(at.glob("*.safetensors")):
            found[name] = at
    return found


def _snapshot(folder: Path, revision: str = "main") -> Path | None:
    try:
        revision = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except OSError:
        pass  # the name of a commit has no file of its own
    at = folder / "snapshots" / revision
    return at if at.is_dir() else None


def find(name: str, environ: Mapping[str, str] = os.environ, filename: str = "config.json") -> Path | None:
    """The folder of a model or adapter: a path, or a hub id that is in the cache.

    Args:
        name: What the user calls it.
        environ: The environment.
        filename: The file that must be in it.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    at = _snapshot(hub_folder(environ) / f"models--{name.replace('/', '--')}")
    return at if at is not None and (at / filename).exists() else None


def fetch(name: str, provider: str, token: str | None) -> Path:
    """The folder of a model; fetched from the hub if it is nowhere else and the user allows the network.

    Raises:
        EngineError: It is nowhere.
        MissingExtraError: The hub's library is not installed.
    """
    found = find(name)
    if found is not None:
        return found
    if Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise missing(name, "it is no folder, and no id of the hub, which is like org/name")
    if is_offline():
        raise missing(name, f"it is not in {hub_folder()}, and HF_HUB_OFFLINE keeps the hub from being asked")
    hub = need("huggingface_hub", provider)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(_PATTERNS), token=token))
    except (OSError, ValueError) as error:  # both are bases of what the library raises
        reason = str(error).strip().splitlines()[0]
        raise missing(name, f"it is not in {hub_folder()}, and the hub says: {reason}") from error


def missing(name: str, why: str) -> EngineError:
    """The error for a model that is not there."""
    return EngineError(f"there is no model {name!r} here: {why}", status=404, code="model_not_found")


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a model's folder; empty if there is none.

    Raises:
        EngineError: It is damaged.
    """
    try:
        document = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"{folder / name} can't be read: {error}", status=500) from error
    return document if isinstance(document, dict) else {}


def context_length(config: Mapping[str, Any]) -> int | None:
    """The most tokens of prompt and answer together, by ``config.json``."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for name in _CONTEXT:
            if isinstance(part.get(name), int):
                return int(part[name])
    return None


def end_tokens(*configs: Mapping[str, Any]) -> frozenset[int]:
    """The tokens that end an answer, of all configurations that name some."""
    found: set[int] = set()
    for config in configs:
        for part in (config, config.get("text_config") or {}):
            ends = part.get("eos_token_id")
            found.update(ends if isinstance(ends, list) else [ends] if isinstance(ends, int) else [])
    return frozenset(found)


def sampling_defaults(generation: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's makers recommend for sampling, by ``generation_config.json``."""
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    return {name: generation[name] for name in names if generation.get(name) is not None}


def rope_overrides(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary embedding in the fields that were used before transformers 5, which mlx-lm reads.

    Checkpoints saved by transformers 5 have it in ``rope_parameters`` alone; mlx-lm would take its own defaults, and
    every answer would be wrong without an error.
    """
    rope = config.get("rope_parameters")
    if isinstance(config.get("text_config"), Mapping):
        inner = rope_overrides(config["text_config"])
        return {"text_config": {**config["text_config"], **inner}} if inner else {}
    if not isinstance(rope, Mapping):
        return {}
    found: dict[str, Any] = {}
    if isinstance(rope.get("sliding_attention"), Mapping) and "rope_theta" in rope["sliding_attention"]:
        found["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    rope = rope.get("full_attention", rope)
    if not isinstance(rope, Mapping):
        return found
    found |= {name: rope[name] for name in ("rope_theta", "partial_rotary_factor") if name in rope}
    if rope.get("rope_type", "default") != "default":
        found["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    return {name: value for name, value in found.items() if name not in config}
