"""The options by which ``up``, ``render`` and ``diff`` say what is to run, and what they come to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from .. import __version__
from .planning import planned, planning

if TYPE_CHECKING:
    from ..deploy.container import Mount, Port
    from ..deploy.options import LaunchOptions
    from ..deploy.plan import Plan

F = TypeVar("F", bound=Callable[..., Any])
CLIENT_IMAGE: Final = f"chatbot-main-gpu-agent:{__version__}"
_ADAPTERS: Final = 4
"""Adapters held at once where they may be loaded and no number is given."""

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_OPTIONS: Final = (
    click.argument("model"),
    click.argument("vllm_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- VLLM_ARGS...]"),
    click.option(
        "--profile",
        "profiles",
        type=click.Choice(["host", "private", "sealed"]),
        multiple=True,
        help="How much the containers share with the host.  [default: host]",
    ),
    click.option("--project", help="Names the deployment; a second one needs a name of its own."),
    click.option("--image", help="Image of the server.  [default: the one pinned for these GPUs]"),
    click.option("--client-image", default=CLIENT_IMAGE, show_default=True, help="Image of the client."),
    click.option("--no-client", is_flag=True, help="The server alone."),
    click.option("--served-name", help="The model's name in requests."),
    click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Of the server."),
    click.option("--bind", default="127.0.0.1", show_default=True, help="Address it listens on (host profile)."),
    click.option("--publish", metavar="[ADDRESS:]PORT", help="Port of the host that leads to the server."),
    click.option("--publish-client", metavar="[ADDRESS:]PORT", help="The same for the client's page."),
    click.option("--client-keys", type=_FILE, help="File with the keys of the client's own users, as for serve."),
    click.option("--gpu-ids", metavar="0,1", help="GPUs to use.  [default: all]"),
    click.option("--p2p", type=click.Choice(["auto", "on", "off"]), default="auto", show_default=True,
                 help="Whether GPUs talk to each other directly."),
    click.option("--shm-size", metavar="SIZE", help="Of /dev/shm where it is the container's own, such as 4g."),
    click.option("--allow", multiple=True, metavar="NAME=VALUE",
                 help="Give a promise of the profile up, such as memlock=8MiB; it is recorded."),
    click.option("--allow-adapters", type=_FOLDER, help="Let adapters of this folder be loaded while it runs."),
    click.option("--hf-cache", type=_FOLDER, help="A Hugging Face cache of this machine in place of a volume."),
    click.option("--hf-token-file", type=_FILE, help="File with the token for the hub."),
    click.option("--key-file", type=_FILE, help="File with the key of server and client; made when missing."),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment of the server; never a secret."),
    click.option("--mount", "mounts", multiple=True, metavar="SOURCE:TARGET[:ro]", help="More folders of the server."),
    click.option("--user", metavar="UID:GID", help="Who the processes are.  [default: you; 1000:1000 for root]"),
    click.option("--python", default="python3", show_default=True, help="Interpreter of the image that has vLLM."),
    click.option("--shutdown-timeout", type=click.IntRange(0), default=30, show_default=True,
                 help="Seconds that requests in flight get when it is stopped."),
)  # fmt: skip


def launching(command: F) -> F:
    """Adds MODEL, the options of a plan, and those of the containers."""
    command = planning(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def launch(options: dict[str, Any]) -> tuple[Plan, LaunchOptions, tuple[str, ...]]:
    """What the options come to: the plan, how it is put into containers, and what is odd about this machine.

    Args:
        options: The parameters of ``launching``; those of the command itself must be taken out.

    Raises:
        ConfigurationError: An option makes no sense, or the model or the GPUs are not known.
    """
    from ..deploy.allowances import parse_size
    from ..deploy.options import PROJECT, LaunchOptions

    profile = _one_profile(options["profiles"])
    gpu_ids = tuple(name.strip() for name in (options["gpu_ids"] or "").split(",") if name.strip())
    adapters = options["allow_adapters"]
    if adapters and not options["adapters"]:
        options = {**options, "adapters": _ADAPTERS}
    plan, warnings = planned(options["model"], options, gpu_ids)
    project = options["project"] or PROJECT
    weights = Path(options["model"]).expanduser()
    launched = LaunchOptions(
        model=options["model"],
        weights=_absolute(weights) if weights.is_dir() else None,
        served_name=options["served_name"],
        key_file=_absolute(options["key_file"] or default_key_file(project)),
        profile=profile,
        project=project,
        image=options["image"],
        client_image=None if options["no_client"] else options["client_image"],
        python=options["python"],
        user=options["user"] or default_user(),
        port=options["port"],
        bind=options["bind"],
        publish=_port(options["publish"], options["port"]),
        publish_client=_port(options["publish_client"], 8080),
        client_keys=_absolute(options["client_keys"]),
        gpu_ids=gpu_ids,
        p2p=options["p2p"],
        shm_size=parse_size(options["shm_size"]) if options["shm_size"] else None,
        shutdown_timeout=options["shutdown_timeout"],
        hf_cache=_absolute(options["hf_cache"]),
        hf_token_file=_absolute(options["hf_token_file"]),
        adapters=_absolute(adapters),
        vllm_args=tuple(options["vllm_args"]),
        env=_pairs("--env", options["env"]),
        mounts=tuple(_mount(text) for text in options["mounts"]),
        allow=_pairs("--allow", options["allow"]),
    )
    return plan, launched, warnings


def stop_unless_it_fits(plan: Plan) -> None:
    """Ends the command with code 3, and vLLM's reason, when the plan says that the model doesn't fit."""
    if plan.verdict == "REFUSE":
        from .plan import REFUSED, explain_refusal

        explain_refusal(plan)
        raise click.exceptions.Exit(REFUSED)


def default_key_file(project: str) -> Path:
    """Where the key of a deployment lies."""
    from ..deploy.options import KEY_NAME
    from ..settings import state_dir

    return state_dir() / project / KEY_NAME


def default_user() -> str:
    """The caller, so that files of the caller can be read; never root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else "1000:1000"


def _one_profile(names: tuple[str, ...]) -> Any:
    if len(set(names)) > 1:
        raise click.UsageError(
            f"--profile is given as {' and as '.join(dict.fromkeys(names))}: their promises exclude each other"
        )
    return names[0] if names else "host"


def _absolute(path: Path | None) -> Any:
    from pathlib import PurePosixPath

    return None if path is None else PurePosixPath(path.expanduser().absolute())


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.UsageError(f"{option} {text}: write it as NAME=VALUE")
        found[name] = value
    return found


def _port(text: str | None, container: int) -> Port | None:
    from ..deploy.container import Port

    if text is None:
        return None
    address, _, number = text.rpartition(":")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise click.UsageError(f"{text!r} is no port: write it as 8000, or with an address as 127.0.0.1:8000")
    return Port(container, int(number), address.strip("[]") or "127.0.0.1")


def _mount(text: str) -> Mount:
    from ..deploy.container import Mount

    parts = text.split(":")
    if len(parts) not in {2, 3} or not parts[1].startswith("/") or parts[2:] not in ([], ["ro"], ["rw"]):
        raise click.UsageError(f"--mount {text}: write it as SOURCE:TARGET or SOURCE:TARGET:ro")
    return Mount(str(_absolute(Path(parts[0]))), parts[1], read_only=parts[2:] == ["ro"])
