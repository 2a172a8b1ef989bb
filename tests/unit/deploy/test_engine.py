"""The engine's command line: what is asked, and what becomes of its answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from abstractcore.deploy.engine import Engine, find_engine
from abstractcore.errors import DeployError

from .engine_recordings import FOLDER, said


def program(folder: Path, answers: Mapping[str, tuple[int, str]]) -> Engine:
    """A docker that gives these answers (exit code, file or text) to commands that begin like this."""
    lines = ["#!/bin/sh", f'echo "$*" >> {shlex.quote(str(folder / "asked"))}', 'case "$*" in']
    for begin, (code, text) in answers.items():
        source = folder / f"answer-{len(lines)}"
        source.write_text(text)
        lines.append(f"{shlex.quote(begin)}*) cat {shlex.quote(str(source))}; exit {code};;")
    path = folder / "docker"
    path.write_text("\n".join([*lines, "esac", "echo unexpected; exit 9", ""]))
    path.chmod(0o755)
    return Engine(str(path), {"PATH": "/usr/bin:/bin"})


def test_documents_are_found_among_warnings(tmp_path: Path) -> None:
    engine = program(tmp_path, {"container inspect": (0, 'WARNING: something\n{"Name": "/a"}\n')})
    assert engine.inspect("a") == {"Name": "/a"}
    assert (tmp_path / "asked").read_text() == "container inspect --format {{json .}} a\n"


@pytest.mark.parametrize("kind", ["container", "image", "network", "volume"])
def test_what_is_not_there_is_none(tmp_path: Path, kind: str) -> None:
    engine = program(tmp_path, {f"{kind} inspect": (1, said(f"no-{kind}"))})
    if kind == "container":
        assert engine.inspect("x") is None
    elif kind == "image":
        assert engine.image("x") is None
    else:
        assert engine.exists(kind, "x") is False


def test_a_daemon_that_is_gone_is_not_taken_for_an_absent_container(tmp_path: Path) -> None:
    engine = program(tmp_path, {"": (1, said("no-daemon").splitlines()[-1])})
    with pytest.raises(DeployError, match="no Docker daemon answers"):
        engine.inspect("x")


def test_without_a_daemon_info_is_an_error_though_docker_prints_a_document(tmp_path: Path) -> None:
    engine = program(tmp_path, {"info": (1, said("no-daemon"))})
    with pytest.raises(DeployError) as caught:
        engine.info()
    assert caught.value.message == "no Docker daemon answers"
    assert "unix:///nowhere.sock" in str(caught.value.why)
    assert "systemctl start docker" in str(caught.value.hint)


@pytest.mark.parametrize("recording", sorted(path.stem for path in FOLDER.glob("*.txt")))
def test_a_refusal_has_its_cause_first_and_the_engines_own_words(tmp_path: Path, recording: str) -> None:
    engine = program(tmp_path, {"start": (1, said(recording))})
    with pytest.raises(DeployError) as caught:
        engine.do("start", "x")
    assert caught.value.why
    assert caught.value.why.split(" ")[0] in said(recording)
    assert "Run 'docker" not in str(caught.value)


def test_a_refusal_that_nobody_knows(tmp_path: Path) -> None:
    engine = program(tmp_path, {"start": (7, "the moon is in the wrong phase\n")})
    with pytest.raises(DeployError) as caught:
        engine.do("start", "x")
    assert caught.value.message == "docker start failed"
    assert caught.value.why == "the moon is in the wrong phase"


def test_labelled_names(tmp_path: Path) -> None:
    engine = program(tmp_path, {"container ls": (0, "one\ntwo\n"), "volume ls": (0, "")})
    assert engine.labelled("container", "p") == ("one", "two")
    assert engine.labelled("volume", "p") == ()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[0] == "container ls --all --filter label=io.abstractcore.project=p --format {{.Names}}"


def test_removing_what_is_gone_is_no_failure(tmp_path: Path) -> None:
    program(tmp_path, {"rm": (1, "Error: No such container: x\n")}).remove("x")
    with pytest.raises(DeployError):
        program(tmp_path, {"rm": (1, "device or resource busy\n")}).remove("x")


def test_a_log_is_followed_until_a_callback_has_enough(tmp_path: Path) -> None:
    engine = program(tmp_path, {"logs --follow": (0, "one\ntwo\nthree\n")})
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        if line == "two":
            raise StopIteration

    with pytest.raises(StopIteration):
        engine.follow("x", take)
    assert lines == ["one", "two"]


def test_which_engine(tmp_path: Path) -> None:
    assert program(tmp_path, {}).name == "docker"
    assert find_engine(environ={"PATH": str(tmp_path)}).program == str(tmp_path / "docker")
    with pytest.raises(DeployError, match="podman is not installed here"):
        find_engine("podman", environ={"PATH": str(tmp_path)})
    with pytest.raises(DeployError, match="neither docker nor podman is installed here"):
        find_engine(environ={"PATH": ""})
