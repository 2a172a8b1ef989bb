from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import pytest

from abstractcore.deploy.preflight import Machine, can_execute_from, noexec_caches, probe


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise PermissionError(1, "Operation not permitted")


def test_code_can_be_mapped_here(tmp_path: Path) -> None:
    assert can_execute_from(tmp_path)


def test_a_folder_without_exec_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert not can_execute_from(tmp_path)
    found = noexec_caches({"TRITON_CACHE_DIR": str(tmp_path / "not" / "there" / "yet")})
    assert f"TRITON_CACHE_DIR={tmp_path}/not/there/yet" in found


def test_what_would_stop_a_server() -> None:
    machine = Machine((), 64 * 2**20, None, ("TMPDIR=/tmp",), "docker")
    words = " ".join(machine.warnings(ranks=2))
    assert "failed to map segment from shared object" in words
    assert "Insufficient space in /dev/shm" in words
    assert "/dev/shm" not in " ".join(machine.warnings(ranks=1))


def test_this_machine_can_be_looked_at() -> None:
    machine = probe({"PATH": ""})
    assert machine.shm is None or machine.shm > 0
    assert isinstance(machine.noexec, tuple)
