"""Records what a real Docker says, for tests/recordings/engine.

    python scripts/record_engine.py tests/recordings/engine

Needs a daemon without a GPU runtime that may not raise memlock. Makes containers of an image that holds nothing, starts
none that could run, and removes all. Addresses and identities of the recording machine are replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from abstractcore.deploy.container import Deployment, Port
from abstractcore.deploy.hardware import parse_gpus
from abstractcore.deploy.lifecycle import record
from abstractcore.deploy.model_files import find_model
from abstractcore.deploy.options import LaunchOptions
from abstractcore.deploy.plan import make_plan
from abstractcore.deploy.profiles import deployment
from abstractcore.deploy.render.docker import create_argv, network_argv, volume_argv
from abstractcore.vllm_facts.gpus import GIB

IMAGE: Final = "abstractcore-recording:1"
HERE: Final = "abstractcore-recording"
NOTHING: Final = ("--rm", "--network", "none", "--entrypoint", "/nothing")
CONFIG: Final = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16", "hidden_size": 896,
    "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
    "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True,
}  # fmt: skip
TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "memlock": ("run", *NOTHING, "--ulimit", "memlock=-1", IMAGE),
    "nofile": ("run", *NOTHING, "--ulimit", "nofile=99999999", IMAGE),
    "gpus": ("run", *NOTHING, "--gpus", "all", IMAGE),
    "cdi": ("run", *NOTHING, "--device", "nvidia.com/gpu=all", IMAGE),
    "runtime": ("run", *NOTHING, "--runtime", "nvidia", IMAGE),
    "device": ("run", *NOTHING, "--device", "/dev/nvidia0", IMAGE),
    "entrypoint": ("run", *NOTHING, IMAGE),
    "program": ("run", "--rm", "--entrypoint", "nothing", IMAGE),
    "source": ("run", *NOTHING, "--mount", "type=bind,source=/no/such/folder,target=/x", IMAGE),
    "network": ("run", "--rm", "--network", "no-such-network", "--entrypoint", "/nothing", IMAGE),
    "registry": ("pull", "registry.invalid/vllm:v1"),
    "manifest": ("manifest", "inspect", "registry.invalid/vllm:v1"),
    "no-image": ("image", "inspect", "--format", "{{json .}}", "no-such-image"),
    "no-container": ("container", "inspect", "--format", "{{json .}}", "no-such-container"),
    "no-network": ("network", "inspect", "--format", "{{json .}}", "no-such-network"),
    "no-volume": ("volume", "inspect", "--format", "{{json .}}", "no-such-volume"),
}


def docker(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Both outputs of a command, however it ends."""
    return subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, check=False
    ).stdout


def plain(text: str) -> str:
    """Without what belongs to this machine only."""
    text = re.sub(r"on \d+\.\d+\.\d+\.\d+:53", "on 192.0.2.53:53", text)
    return re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, text)


def deployments(model: Path, folder: PurePosixPath) -> dict[str, Deployment]:
    """What is recorded: each profile, for a GPU or for the CPU.

    Args:
        model: Gets the configuration of a model.
        folder: Where model and key are, as the containers' mounts name it.
    """
    (model / "config.json").write_text(json.dumps(CONFIG))
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "host": ("2xL4", {"profile": "host", "gpu_ids": ("0", "1"), "allow": {"memlock": "8MiB"}}),
        "host-cpu": ("cpu", {"profile": "host"}),
        "private": ("cpu", {"profile": "private", "publish": Port(8000, 18000)}),
        "sealed": ("1xH100", {"profile": "sealed"}),
    }
    found = {}
    for name, (gpus, changes) in kinds.items():
        cards = parse_gpus(gpus)
        if gpus == "cpu":
            cards = tuple(replace(card, total=16 * GIB, free=8 * GIB) for card in cards)
        options = LaunchOptions(
            model="m", weights=folder / "model", key_file=folder / "key", project=HERE, image=IMAGE,
            client_image=IMAGE, **changes,
        )  # fmt: skip
        found[name] = deployment(make_plan(find_model(str(model)), cards), options)
    return found


def inspect_all(folder: Path) -> dict[str, Any]:
    """What inspect says of each of them."""
    (folder / "model").mkdir()
    (folder / "key").write_text("recorded\n")
    planned = deployments(folder / "model", PurePosixPath(folder))
    return {name: made(each, str(folder)) for name, each in planned.items()}


def made(planned: Deployment, folder: str) -> dict[str, Any]:
    """The plan, and what inspect says of its containers."""
    label = f"io.abstractcore.project={HERE}"
    for network in planned.networks:
        docker(*network_argv(network, label))
    for volume in planned.volumes:
        docker(*volume_argv(volume, label))
    try:
        for spec in planned.containers:
            said = docker(*create_argv(spec))
            assert "rror" not in said, said
        text = docker("container", "inspect", *(spec.name for spec in planned.containers))
    finally:
        docker("rm", "--force", *(spec.name for spec in planned.containers))
        for network in planned.networks:
            docker("network", "rm", network)
        for volume in planned.volumes:
            docker("volume", "rm", volume.name)
    rows = json.loads(text.replace(folder, "/host").replace(socket.gethostname(), "machine"))
    for row in rows:
        del row["GraphDriver"]
    plan = json.dumps(record.as_data(planned)).replace(folder, "/host")
    return {"deployment": json.loads(plan), "containers": rows}


def main() -> None:
    """Records all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    target = parser.parse_args().folder
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch, "nothing.tar")
        with tarfile.open(archive, "w") as file:
            entry = tarfile.TarInfo("nothing-here")
            entry.type = tarfile.DIRTYPE
            file.addfile(entry)
        changes = ("--change", 'CMD ["/nothing"]', "--change", "ENV FROM_THE_IMAGE=1")
        docker("import", *changes, str(archive), IMAGE)
        try:
            texts = {name: docker(*argv) for name, argv in TEXTS.items()}
            texts |= refusals()
            inspected = inspect_all(Path(scratch))
            image = json.loads(docker("image", "inspect", IMAGE))
        finally:
            docker("rmi", "--force", IMAGE)
    del image[0]["GraphDriver"]
    for name, text in texts.items():
        (target / f"{name}.txt").write_text(plain(text), encoding="utf-8")
    for name, found in {**inspected, "image": {"images": image}}.items():
        (target / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def refusals() -> dict[str, str]:
    """Those that need something to be there first."""
    found = {}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found["port"] = docker("run", "--rm", "-p", f"127.0.0.1:{port}:80", "--entrypoint", "/nothing", IMAGE)
        found["port"] = found["port"].replace(str(port), "18000")
    docker("create", "--name", HERE, IMAGE, "x")
    found["name"] = docker("create", "--name", HERE, IMAGE, "x")
    found["start"] = docker("start", HERE)
    docker("rm", HERE)
    gone = {"DOCKER_HOST": "unix:///nowhere.sock", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    found["no-daemon"] = docker("info", "--format", "{{json .}}", env=gone)
    return found


if __name__ == "__main__":
    main()
