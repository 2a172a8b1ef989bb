"""What a deployment can't be: options that contradict each other, the profile, or the planned release."""

from __future__ import annotations

import re
from typing import Final

from ..errors import ConfigurationError
from ..vllm_facts.versions import exposure
from .options import LaunchOptions
from .plan import Plan

_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_USER: Final = re.compile(r"\d+(:\d+)?")
_LOOPBACK: Final = ("127.", "::1", "localhost")
_HAS_UDS: Final = (0, 10, 2)


def check(plan: Plan, options: LaunchOptions) -> None:
    """Refuses what can't be, with the reason.

    Raises:
        ConfigurationError: The options contradict each other, the profile or the planned release.
    """
    _check_names(options)
    _check_network(options)
    _check_exposure(plan, options)
    _check_gpus(plan, options)
    if options.profile == "sealed":
        _check_sealed(plan, options)


def _check_names(options: LaunchOptions) -> None:
    for said, name in (("model", options.model), ("served name", options.served_name or "m")):
        if name.startswith("-") or not name.strip() or not name.isprintable():
            raise ConfigurationError(f"{name!r} can't be the {said}", why="vLLM would read it as a flag or as nothing")
    if not _PROJECT.fullmatch(options.project):
        raise ConfigurationError(
            f"{options.project!r} can't name a project", hint="lower-case letters, digits, - and _; at most 41"
        )
    if not _USER.fullmatch(options.user):
        raise ConfigurationError(f"{options.user!r} is no user", hint="as numbers: --user 1000:1000")


def _check_network(options: LaunchOptions) -> None:
    if options.profile == "host" and (options.publish or options.publish_client):
        raise ConfigurationError(
            "the host profile publishes no ports",
            why="on the host's own network there is nothing to publish: Docker drops the ports in silence",
            hint="--bind ADDRESS says where the server listens, or take --profile private",
        )
    if options.profile == "sealed" and options.publish:
        raise ConfigurationError(
            "the sealed profile publishes no port of the server",
            why="its server has no network, only a socket",
            hint="take --profile private, or talk to it from the client's container",
        )
    if options.profile != "host" and options.bind != "127.0.0.1":
        raise ConfigurationError(
            "--bind is for the host profile", why="elsewhere the server's network is its own", hint="--publish"
        )


def _check_exposure(plan: Plan, options: LaunchOptions) -> None:
    addresses = [options.bind] + [port.address for port in (options.publish,) if port]
    is_open = any(not address.startswith(_LOOPBACK) for address in addresses)
    if is_open and exposure(plan.version) == "refuse":
        raise ConfigurationError(
            f"vLLM {'.'.join(map(str, plan.version))} must not listen on an open network",
            why="it predates security fixes; its key guards /v1 only, and not against all of them",
            hint="keep it on 127.0.0.1 and put the client beside it",
        )


def _check_gpus(plan: Plan, options: LaunchOptions) -> None:
    if not options.gpu_ids:
        return
    if plan.gpus[0].is_cpu:
        raise ConfigurationError("a plan for the CPU has no GPU ids", hint="leave --gpu-ids out")
    flags = plan.chosen.flags
    needed = flags.tp * flags.pp * flags.replicas
    if len(set(options.gpu_ids)) != len(options.gpu_ids) or len(options.gpu_ids) < needed:
        raise ConfigurationError(
            f"--gpu-ids names {len(set(options.gpu_ids))} GPUs, the plan uses {needed}",
            hint=f"name {needed}, or plan for fewer: --gpus {len(options.gpu_ids)}x{plan.gpus[0].name}",
        )


def _check_sealed(plan: Plan, options: LaunchOptions) -> None:
    if plan.version < _HAS_UDS:
        raise ConfigurationError(
            "the sealed profile needs vLLM 0.10.2 or later",
            why=f"{'.'.join(map(str, plan.version))} can't listen on a socket (--uds)",
            hint="--profile private publishes nothing either",
        )
    if options.weights is None and options.hf_cache is None:
        raise ConfigurationError(
            "the sealed profile can't download a model",
            why="its server has no network",
            hint="give the model's folder, or --hf-cache FOLDER with the model in it",
        )
