"""Texts of real engines and servers lead to their causes."""

from __future__ import annotations

import re

import pytest

from abstractcore.deploy.catalogue import CAUSES
from abstractcore.deploy.causes import explain, first_error
from abstractcore.vllm_facts import refusals

from .engine_recordings import log, said


@pytest.mark.parametrize(
    ("recording", "cause", "what"),
    [
        ("memlock", "limit.memlock", "the engine may not raise the memlock limit that far"),
        ("nofile", "limit.other", "(RLIMIT number 7)"),
        ("gpus", "gpu.runtime", "no GPU runtime"),
        ("cdi", "gpu.runtime", "no GPU runtime"),
        ("runtime", "gpu.runtime", "no runtime called nvidia"),
        ("device", "gpu.device", "/dev/nvidia0 is not on this host"),
        ("entrypoint", "image.entrypoint", "no program /nothing"),
        ("program", "image.entrypoint", "no program nothing"),
        ("source", "mount.source", "/no/such/folder that is to be mounted does not exist"),
        ("network", "network.missing", "the network no-such-network is gone"),
        ("registry", "image.registry", "can't be reached"),
        ("manifest", "image.registry", "can't be reached"),
        ("no-image", "image.missing", "the image no-such-image is not here"),
        ("port", "port.taken", "the port 127.0.0.1:18000 is taken"),
        ("name", "name.taken", "another container called abstractcore-recording"),
        ("start", "image.entrypoint", "no program x"),
        ("no-daemon", "engine.down", "no Docker daemon answers"),
        ("no-bridge", "network.bridge", "docker0 is gone"),
    ],
)
def test_what_a_real_docker_says(recording: str, cause: str, what: str) -> None:
    found = explain(said(recording))
    assert found is not None
    assert found.id == cause
    assert what in found.what
    assert found.words in said(recording)
    assert not re.search(r"\{\d\}", found.what + found.matters + found.cure)


@pytest.mark.parametrize(
    ("recording", "cause", "what"),
    [
        ("small-shm", "shm.small", "vLLM needs 160 MiB in /dev/shm, 64 MiB are free"),
        ("port-taken", "port.taken", "the port of the server is taken"),
        ("no-weights", "model.weights", "no weights"),
        ("cut-weights", "model.damaged", "incomplete metadata, file not fully covered"),
        ("too-much-cache", "memory.host", "not enough memory"),
        ("bad-argument", "arguments", "--structured-outputs-config: 1 validation error"),
        ("unknown-argument", "arguments", "does not know the arguments: --frobnicate"),
        ("unreadable-weights", "weights.unreadable", "can't open the weights (/models/closed/model.safetensors)"),
        ("no-model", "model.missing", "not where the server looks for it"),
    ],
)
def test_what_a_real_vllm_says(recording: str, cause: str, what: str) -> None:
    found = explain(log(recording))
    assert found is not None
    assert found.id == cause
    assert what in found.what


def test_a_log_without_trouble_has_no_cause() -> None:
    assert explain(log("started")) is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (refusals.HEADS.format(heads=14, tp=4), "model.heads"),
        (refusals.TOO_LONG.format(asked=9000, key="max_position_embeddings", derived=4096), "model.context"),
        (
            refusals.ONE_REQUEST.format(length=9, needed=1, available=0) + refusals.LONGEST.format(longest=8),
            "memory.cache",
        ),
        (refusals.NO_MEMORY, "memory.cache"),
        (refusals.FREE.format(device="cuda:0", free=1, total=22, utilization=0.9, wanted=20), "memory.device"),
        (refusals.BFLOAT, "gpu.bfloat16"),
        (refusals.QUANTIZATION.format(method="fp8", least=75, number=70), "gpu.quantization"),
        (refusals.ARCHITECTURE.format(name="NewForCausalLM"), "model.architecture"),
        (refusals.NO_KERNEL, "gpu.kernels"),
        (refusals.SAMPLER.format(seqs=256), "memory.sampler"),
        (refusals.OUT_OF_MEMORY, "memory.gpu"),
    ],
)
def test_what_the_planner_knows_vllm_to_say_is_explained_too(text: str, cause: str) -> None:
    found = explain(f"(EngineCore pid=1) ERROR 11-22 02:30:59 [core.py:1] ValueError: {text}")
    assert found is not None
    assert found.id == cause


def test_the_cause_wins_over_what_follows_from_it() -> None:
    lines = log("small-shm")
    assert lines[-1].startswith("RuntimeError: Engine core initialization failed")
    assert explain(lines[-1:]).id == "engine.failed"  # type: ignore[union-attr]
    assert explain(lines).id == "shm.small"  # type: ignore[union-attr]


def test_the_first_error_of_a_log_is_found_where_no_cause_is_known() -> None:
    assert first_error(log("no-weights")) == "RuntimeError: Cannot find any model weights with `./nov`"
    assert first_error(log("started")) is None
    found = first_error(log("bad-argument"))
    assert found is not None
    assert "Value error, disable_any_whitespace is only supported" in found  # the line below has the detail


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.id}: {cause.text[:30]}")
def test_every_row_says_what_why_and_how(cause: object) -> None:
    from abstractcore.deploy.catalogue import Cause

    assert isinstance(cause, Cause)
    groups = re.compile(cause.text).groups
    named = {int(number) for number in re.findall(r"\{(\d)\}", cause.what + cause.matters + cause.cure)}
    assert not named or max(named) < groups
    assert cause.what
    assert cause.matters
    assert cause.cure
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9-]+)?", cause.id)
