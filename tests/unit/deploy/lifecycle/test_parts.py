"""The small parts of the life cycle: phases, addresses, keys, records, listeners, layers, modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from abstractcore.deploy.engine import Reply
from abstractcore.deploy.lifecycle import record
from abstractcore.deploy.lifecycle.canary import ask_for_a_token, own_address
from abstractcore.deploy.lifecycle.checks import Listener
from abstractcore.deploy.lifecycle.key import ensure_key
from abstractcore.deploy.lifecycle.listeners import listeners
from abstractcore.deploy.lifecycle.measure import key_owner, open_secrets
from abstractcore.deploy.lifecycle.phases import Phases
from abstractcore.deploy.lifecycle.pulling import Layers
from abstractcore.deploy.lifecycle.reading import NOBODY, User, look, user_of
from abstractcore.errors import ConfigurationError

from ..deployments import deployed
from ..engine_recordings import KINDS, log, recorded
from .fake_engine import FakeEngine

ME = f"{os.getuid()}:{os.getgid()}"


def test_the_phases_of_a_real_start() -> None:
    phases, seen = Phases(), []
    for line in log("started"):
        assert not phases.listening
        if progress := phases.read(line):
            seen.append((progress.phase, progress.text, progress.fraction))
    assert phases.listening
    assert list(dict.fromkeys(phase for phase, _, _ in seen)) == ["load", "weights", "compile", "ready"]
    assert ("weights", "reading the weights", 1.0) in seen
    assert seen[-1] == ("ready", "waiting for the first token", None)


def test_an_address_as_the_server_itself_sees_it() -> None:
    assert own_address(deployed().server) == ("127.0.0.1", 8000)
    assert own_address(deployed(bind="192.0.2.7", port=9000).server) == ("192.0.2.7", 9000)
    assert own_address(deployed("private").server) == ("127.0.0.1", 8000)
    assert own_address(deployed("sealed").server) == ("/run/vllm/vllm.sock", 8000)


def test_a_canary_that_cannot_be_sent_is_no_token() -> None:
    engine = FakeEngine()
    engine.refuse["exec"] = Reply(126, ("OCI runtime exec failed: exec failed",))
    found = ask_for_a_token(engine, engine.deployment.server, "m", limit=1)
    assert not found.answers
    assert "exec failed" in found.said


def test_a_key_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    assert ensure_key(path, ME) is True
    key = path.read_text()
    assert len(key.strip()) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_key(path, ME) is False
    assert path.read_text() == key


def test_keys_that_are_no_good(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="is open to others"):
        ensure_key(path, ME)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="may not read the key file"):
        ensure_key(path, f"{os.getuid() + 1}:1")
    path.write_text("")
    with pytest.raises(ConfigurationError, match="is empty"):
        ensure_key(path, ME)


def test_who_can_be_given_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert key_owner("1000:1000") is None
    assert key_owner("vllm") is None  # only the image knows
    assert "uid 1000 may not give files away" in str(key_owner("2000:0"))
    assert key_owner("0:0", is_rootless=True) is None
    assert "another user than you" in str(key_owner("1000:1000", is_rootless=True))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert key_owner("2000:0") is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_deployment_is_remembered_as_it_was(tmp_path: Path, kind: str) -> None:
    assert record.load(tmp_path) is None
    planned = recorded(kind).deployment
    record.save(tmp_path, planned, "docker")
    assert record.load(tmp_path) == planned
    record.forget(tmp_path)
    assert record.load(tmp_path) is None


def test_a_damaged_record_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "deployment.json").write_text('{"deployment": {"project": 1}}')
    with pytest.raises(ConfigurationError, match="can't be read"):
        record.load(tmp_path)


def test_who_listens_by_the_kernels_tables(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0"
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        f"{head}   0: 0100007F:1F40 00000000:0000 0A {rest} 111 1\n   1: 0100007F:1F41 0100007F:1F40 01 {rest} 112 1\n"
    )
    zero = "0" * 32
    (tmp_path / "net" / "tcp6").write_text(f"{head}   0: {zero}:0050 {zero}:0000 0A {rest} 113 1\n")
    (tmp_path / "42" / "fd").mkdir(parents=True)
    (tmp_path / "42" / "comm").write_text("python3\n")
    (tmp_path / "42" / "fd" / "3").symlink_to("socket:[111]")
    assert listeners(tmp_path) == (Listener("127.0.0.1", 8000, "python3 (pid 42)"), Listener("::", 80, None))
    assert listeners(tmp_path / "nowhere") == ()


def test_layers_are_counted() -> None:
    layers = Layers()
    assert layers.read("v1: Pulling from vllm/vllm-openai") is None
    for name in ("a1", "b2"):
        assert layers.read(f"{name}: Pulling fs layer") == 0.0
    assert layers.read("a1: Downloading  [=>   ] 1MB/9MB") == 0.0
    assert layers.read("a1: Pull complete") == 0.5
    assert layers.read("b2: Already exists") == 1.0


def test_users_of_containers() -> None:
    assert user_of("1000:1001", capable=False) == User(1000, 1001)
    assert user_of("", capable=True) == User(0, 0, may_all=True)
    assert user_of("0", capable=False) == User(0, 0)
    assert user_of("vllm", capable=True) is None


@pytest.mark.parametrize(("mode", "is_open"), [(0o644, True), (0o640, True), (0o604, True), (0o600, False)])
def test_a_token_that_others_may_read_is_told(tmp_path: Path, mode: int, *, is_open: bool) -> None:
    token = tmp_path / "token"
    token.write_text("hf")
    token.chmod(mode)
    found = open_secrets(deployed(hf_token_file=token, key_file=tmp_path / "key"))
    assert list(found) == ([str(token)] if is_open else [])


def test_what_a_user_may_read_by_mode(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir(mode=0o755)
    for name, mode in (("open", 0o644), ("group", 0o640), ("closed", 0o600)):
        (model / name).write_text("x")
        (model / name).chmod(mode)
    owner, group = model.stat().st_uid, model.stat().st_gid

    def closed_to(user: User) -> set[str]:
        return {Path(name).name for name in look(model, user).closed}

    assert closed_to(User(owner, 0)) == set()
    assert closed_to(User(owner + 1, group)) == {"closed"}
    assert closed_to(NOBODY) == {"group", "closed"}
    assert closed_to(User(0, 0, may_all=True)) == set()
    model.chmod(0o711)
    assert "model" in closed_to(NOBODY)


def test_links_that_lead_out_of_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("x")
    model = tmp_path / "model"
    model.mkdir()
    (model / "inside").write_text("x")
    (model / "good").symlink_to("inside")
    (model / "bad").symlink_to("../blob")
    assert look(model, NOBODY).dangling == (str(model / "bad"),)
