"""What a deployment can't be: options that contradict each other, the profile, or the planned release."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import ConfigurationError
from ..vllm_facts.serve_flags import check_flags, flag_names, has_flag
from ..vllm_facts.versions import exposure
from .nccl import peer_to_peer
from .options import LaunchOptions
from .plan import Plan

_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_USER: Final = re.compile(r"\d+(:\d+)?")
_LOOPBACK: Final = ("127.", "::1", "localhost")
_OWN: Final[Mapping[str, str]] = {
    "--api-key": "the key comes from --key-file, so that no list of processes shows it",
    "--config": "give its entries one by one",
    "--host": "--bind ADDRESS",
    "--max-model-len": "--context TOKENS",
    "--model": "it is the first argument",
    "--port": "--port NUMBER in front of --",
    "--served-model-name": "--served-name NAME",
    "--shutdown-timeout": "--shutdown-timeout SECONDS in front of --",
    "--tensor-parallel-size": "--tp NUMBER",
    "-tp": "--tp NUMBER",
    "--pipeline-parallel-size": "--pp NUMBER",
    "-pp": "--pp NUMBER",
    "--data-parallel-size": "--replicas NUMBER",
    "-dp": "--replicas NUMBER",
    "--gpu-memory-utilization": "--utilization SHARE",
    "--kv-cache-memory-bytes": "--kv-memory GIB",
    "--uds": "--profile sealed",
}
"""Flags of vLLM that are not passed on, since the plan or the profile stands on them; and how the same is said here."""
_SECRET: Final = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD)$")


def check(plan: Plan, options: LaunchOptions) -> tuple[str, ...]:
    """Refuses what can't be, with the reason.

    Returns:
        What remains unsure, one sentence each.

    Raises:
        ConfigurationError: The options contradict each other, the profile or the planned release.
    """
    unsure = _check_arguments(plan, options)
    _check_environment(options)
    _check_names(options)
    _check_network(options)
    _check_exposure(plan, options)
    _check_gpus(plan, options)
    if options.profile == "sealed":
        _check_sealed(plan, options)
    return unsure


def _check_arguments(plan: Plan, options: LaunchOptions) -> tuple[str, ...]:
    planned = set(flag_names(plan.arguments()))
    for name in flag_names(options.vllm_args):
        if name in _OWN or name in planned:
            raise ConfigurationError(
                f"{name} is not passed on to vLLM",
                why="the plan or the profile decides it, and the last of two would win in silence",
                hint=_OWN.get(name) or f"{name} in front of --, as for abstractcore plan",
            )
    return check_flags(plan.version, [*plan.arguments(), *peer_to_peer(plan, options.p2p).args, *options.vllm_args])


def _check_environment(options: LaunchOptions) -> None:
    for name in options.env:
        if _SECRET.search(name.upper()):
            raise ConfigurationError(
                f"--env {name} would show a secret",
                why="docker inspect prints the environment to everyone who may use Docker",
                hint="--key-file and --hf-token-file hand secrets over as files",
            )
        if name == "VLLM_SERVER_DEV_MODE":
            raise ConfigurationError(
                "VLLM_SERVER_DEV_MODE is refused", why="it opens endpoints that run what a caller sends", hint="without"
            )


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
    page = options.publish_client
    if page and not page.address.startswith(_LOOPBACK) and not options.client_keys:
        raise ConfigurationError(
            f"the client's gateway would answer everybody who reaches {page.address}:{page.host}",
            why="it is published beyond this machine, and no keys were given",
            hint="abstractcore keys add NAME --keys FILE, then --client-keys FILE",
        )
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
    if not has_flag(plan.version, "--uds"):
        raise ConfigurationError(
            f"vLLM {'.'.join(map(str, plan.version))} can't be sealed",
            why="it can't listen on a socket (--uds came with 0.10.2)",
            hint="--profile private publishes nothing either",
        )
    if options.weights is None and options.hf_cache is None:
        raise ConfigurationError(
            "the sealed profile can't download a model",
            why="its server has no network",
            hint="give the model's folder, or --hf-cache FOLDER with the model in it",
        )
