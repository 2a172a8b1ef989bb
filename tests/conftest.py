"""Rules of the house: which tests may use the network, what they see of this machine, and when a skip is a failure."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from collections.abc import Generator
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

TESTS: Final = Path(__file__).parent
OFFLINE: Final = ("unit", "docs")
TIERS: Final = ("live", "container", "browser")
"""Folders whose tests need a real part; each is also a marker."""

# A runner in the background has Ctrl-C switched off, and hands that on to what it starts; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Busy machines are slow, not wrong. In CI hypothesis picks its own deterministic profile.
hypothesis.settings.register_profile("house", deadline=None)
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("house")


class Network(Enum):
    """What a test may reach."""

    NOTHING = auto()
    LOOPBACK = auto()
    EVERYTHING = auto()


class NetworkRefusedError(RuntimeError):
    """A test used the network that it may not use. No OSError: the code under test must not handle it."""


_allowed = Network.NOTHING
_ADDRESS_EVENTS: Final = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if not isinstance(host, str):
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: sees every use of the socket module, however it was imported."""
    if _allowed is Network.EVERYTHING:
        return
    if event in _ADDRESS_EVENTS:
        target = arguments[1]
        is_local = not isinstance(target, tuple) or _is_loopback(target[0])
    elif event == "socket.getaddrinfo":
        target = arguments[0]
        is_local = target is None or _is_loopback(target)
    else:
        return
    if target is None:  # sendmsg on a socket that is connected already
        return
    if _allowed is Network.NOTHING:
        raise NetworkRefusedError(f"{event} {target!r}: a unit test opens no socket; take the fixture `loopback`")
    if not is_local:
        raise NetworkRefusedError(f"{event} {target!r}: tests stay on this machine")


sys.addaudithook(_refuse_network)


def _folders(item: pytest.Item) -> tuple[str, ...]:
    return item.path.relative_to(TESTS).parts[:-1] if item.path.is_relative_to(TESTS) else ()


def _network_of(item: pytest.Item) -> Network:
    folders = _folders(item)
    if folders[:1] and folders[0] not in OFFLINE:
        return Network.EVERYTHING
    if folders[:2] == ("unit", "transport") or "loopback" in getattr(item, "fixturenames", ()):
        return Network.LOOPBACK
    return Network.NOTHING


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Opens the network for the whole run of a test, fixtures of wider scope included."""
    global _allowed  # noqa: PLW0603 - an audit hook can't be removed, so it reads a variable
    _allowed = _network_of(item)
    try:
        return (yield)
    finally:
        _allowed = Network.NOTHING


@pytest.fixture(scope="session")
def loopback() -> None:
    """Lets a unit test use sockets on this machine (session scope, so that it goes with @given)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder is the marker."""
    for item in items:
        for tier in set(_folders(item)) & set(TIERS):
            item.add_marker(tier)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a tier that was asked for fails when its part is missing."""
    report = yield
    is_tier = any(item.get_closest_marker(tier) for tier in TIERS)
    if os.environ.get("CI") and is_tier and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where every part has to be there: {reason}"
    return report


_FOREIGN_VARIABLES: Final = (
    "ABSTRACTCORE_", "ANTHROPIC_", "HF_", "LMSTUDIO_", "NCCL_", "OLLAMA_", "OPENAI_", "TRANSFORMERS_", "VLLM_",
)  # fmt: skip
_FOREIGN_NAMES: Final = {"CUDA_VISIBLE_DEVICES", "FORCE_COLOR", "NO_COLOR", "SSL_CERT_FILE", "SSL_CERT_DIR"}


def is_foreign(variable: str) -> bool:
    """Whether an environment variable of this machine could change what a unit test sees."""
    name = variable.upper()
    return name.startswith(_FOREIGN_VARIABLES) or name.endswith("_PROXY") or name in _FOREIGN_NAMES


@pytest.fixture(scope="session")
def _homes() -> list[Path]:
    """The empty home folder, if there is one. Thousands of folders would take most of the time of the offline tests."""
    return []


@pytest.fixture(autouse=True)
def _clean_machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _homes: list[Path]
) -> Generator[None]:
    """An offline test sees no setting, key, proxy or home folder of the machine it runs on, nor of another test."""
    if _folders(request.node)[:1] and _folders(request.node)[0] not in OFFLINE:
        yield
        return
    home = _homes.pop() if _homes else tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(is_foreign, list(os.environ)):
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        for variable, folder in (
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_STATE_HOME", ".local/state"),
        ):
            patch.setenv(variable, str(home / folder))
        patch.setattr("abstractcore.topology.ROOT", home)  # the tests themselves may run in a container
        yield
    if home.is_dir() and not any(home.iterdir()):
        _homes.append(home)
