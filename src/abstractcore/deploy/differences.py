"""How what is in force in a container differs from what was planned, flag by flag. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .container import ContainerSpec, Gpus, Healthcheck, Mount, Port
from .inspected import HIDDEN, ImageDefaults, Inspected, is_secret, security_options, without_keys

_ANONYMOUS: Final = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Difference:
    """A flag that is not in force as planned."""

    flag: str
    """As on a command line: ``--ipc``, ``--ulimit memlock``, ``--env NAME``."""
    planned: str
    in_force: str

    def __str__(self) -> str:
        return f"{self.flag}: planned {self.planned}, in force {self.in_force}"


def differences(spec: ContainerSpec, found: Inspected, image: ImageDefaults | None = None) -> tuple[Difference, ...]:
    """All flags that are not in force as planned.

    Args:
        spec: What was planned.
        found: What is in force.
        image: What the image of that name brings along; without it, what the plan leaves to the image is not judged.
    """
    return tuple(_differences(spec, found, image))


def _differences(spec: ContainerSpec, found: Inspected, image: ImageDefaults | None) -> Iterator[Difference]:
    rows: list[tuple[str, Any, Any]] = [
        ("image", spec.image, found.image),
        ("--gpus", _gpus_text(spec.gpus), _gpus_text(found.gpus)),
        ("--ipc", spec.ipc, found.ipc),
        ("--network", spec.network, found.network),
        ("--publish", _ports_text(spec.ports), _ports_text(found.ports)),
        ("--cap-drop", _set_text(spec.cap_drop), _set_text(found.cap_drop)),
        ("--cap-add", "none", _set_text(found.cap_add)),
        ("--privileged", "no", "yes" if found.privileged else "no"),
        ("--read-only", _yes(spec.read_only), _yes(found.read_only)),
        ("--stop-timeout", spec.stop_grace, found.stop_grace),
        ("--restart", spec.restart, found.restart),
        ("--init", _yes(spec.init), _yes(found.init)),
    ]
    if spec.ipc == "private" and found.ipc == "private" and spec.shm_size is not None:
        rows.append(("--shm-size", spec.shm_size, found.shm_size))
    if spec.user is not None or image is not None:
        planned = spec.user if spec.user is not None else (image.user if image else "")
        rows.append(("--user", planned or "the image's", found.user or "the image's"))
    yield from (Difference(flag, str(planned), str(actual)) for flag, planned, actual in rows if planned != actual)
    yield from _limits(spec, found)
    yield from _command(spec, found, image)
    yield from _environment(spec, found, image)
    yield from _files(spec, found)
    yield from _health(spec, found, image)
    yield from _attachment(spec, found)
    if image and image.id and found.image_id and image.id != found.image_id:
        yield Difference("image", f"{spec.image} as it is now ({_short(image.id)})", _short(found.image_id))


def _limits(spec: ContainerSpec, found: Inspected) -> Iterator[Difference]:
    actual = {limit.name: limit.value for limit in found.ulimits}
    for limit in spec.ulimits:
        if actual.get(limit.name) != limit.value:
            in_force = actual.get(limit.name)
            yield Difference(
                f"--ulimit {limit.name}", str(limit.value), "not set" if in_force is None else str(in_force)
            )
    planned = {limit.name for limit in spec.ulimits}
    # podman sets these two by itself.
    for name in sorted(set(actual) - planned - {"nofile", "nproc"}):
        yield Difference(f"--ulimit {name}", "not set", str(actual[name]))


def _command(spec: ContainerSpec, found: Inspected, image: ImageDefaults | None) -> Iterator[Difference]:
    if not spec.entrypoint and image is None:
        planned = without_keys(spec.command)
        same = found.argv[len(found.argv) - len(planned) :] == planned
    else:
        entrypoint = spec.entrypoint or (image.entrypoint if image else ())
        command = spec.command or (image.command if image and not spec.entrypoint else ())
        planned = without_keys((*entrypoint, *command))
        same = found.argv == planned
    if not same:
        yield from _words(planned, found.argv)


def _words(planned: Sequence[str], found: Sequence[str]) -> Iterator[Difference]:
    """What differs of two command lines: flag by flag where only flags do."""
    wanted, given = _split(planned), _split(found)
    if wanted.head != given.head or wanted.flags == given.flags:
        yield Difference("command", _shown(planned), _shown(found))
        return
    for flag in dict.fromkeys((*wanted.flags, *given.flags)):
        if wanted.flags.get(flag) != given.flags.get(flag):
            yield Difference(f"vllm {flag}", wanted.text(flag), given.text(flag))


@dataclass(frozen=True, slots=True)
class _Line:
    """A command line: what comes before its flags, and its flags with all that follows each."""

    head: tuple[str, ...]
    flags: Mapping[str, tuple[str, ...]]

    def text(self, flag: str) -> str:
        values = self.flags.get(flag)
        return "not given" if values is None else shlex.join(values) or "given"


def _split(words: Sequence[str]) -> _Line:
    starts = [at for at, word in enumerate(words) if word.startswith("--")] or [len(words)]
    flags: dict[str, tuple[str, ...]] = {}
    for at, end in zip(starts, (*starts[1:], len(words)), strict=True):
        for flag in words[at : at + 1]:
            flags[flag] = (*flags.get(flag, ()), *words[at + 1 : end])
    return _Line(tuple(words[: starts[0]]), flags)


def _shown(words: Sequence[str]) -> str:
    """A command line to be read: programs within it are left out."""
    return " ".join("..." if "\n" in word else shlex.quote(word) for word in words)


def _environment(spec: ContainerSpec, found: Inspected, image: ImageDefaults | None) -> Iterator[Difference]:
    for name, value in spec.environment.items():
        shown = HIDDEN if is_secret(name) else value
        if found.environment.get(name) != shown:
            yield Difference(f"--env {name}", shown, found.environment.get(name, "not set"))
    if image is not None:
        for name in sorted(set(found.environment) - set(spec.environment) - set(image.environment)):
            if not _is_engines_own(name):
                yield Difference(f"--env {name}", "not set", found.environment[name])


def _is_engines_own(name: str) -> bool:
    return name in {"PATH", "HOME", "HOSTNAME", "TERM", "container"} or name.lower().endswith("_proxy")


def _files(spec: ContainerSpec, found: Inspected) -> Iterator[Difference]:
    actual = {mount.target: mount for mount in found.mounts}
    for mount in spec.mounts:
        if actual.get(mount.target) != mount:
            in_force = actual.get(mount.target)
            yield Difference(
                f"--mount {mount.target}",
                _mount_text(mount),
                "not mounted" if in_force is None else _mount_text(in_force),
            )
    for target in sorted(set(actual) - {mount.target for mount in spec.mounts}):
        if not _ANONYMOUS.match(actual[target].source):  # the image asks for those
            yield Difference(f"--mount {target}", "not mounted", _mount_text(actual[target]))
    planned = dict(entry.partition(":")[::2] for entry in spec.tmpfs)
    for target in sorted(planned.keys() | found.tmpfs.keys()):
        wanted, given = planned.get(target), found.tmpfs.get(target)
        if wanted is None or given is None or not set(wanted.split(",")) <= {*given.split(","), ""}:
            yield Difference(f"--tmpfs {target}", _or_not(wanted), _or_not(given))


def _health(spec: ContainerSpec, found: Inspected, image: ImageDefaults | None) -> Iterator[Difference]:
    planned = spec.healthcheck
    if planned is None and (image is None or image.healthcheck == found.healthcheck):
        return
    if planned != found.healthcheck:
        yield Difference("--health", _health_text(planned), _health_text(found.healthcheck))


def _attachment(spec: ContainerSpec, found: Inspected) -> Iterator[Difference]:
    if missing := [alias for alias in spec.aliases if alias not in found.aliases and alias != found.name]:
        yield Difference("--network-alias", ", ".join(missing), _set_text(found.aliases))
    if extra := [name for name in found.networks if name != spec.network]:
        yield Difference("--network", spec.network, ", ".join((spec.network, *extra)))
    for name, address in spec.extra_hosts.items():
        if found.extra_hosts.get(name) != address:
            yield Difference(f"--add-host {name}", address, found.extra_hosts.get(name, "not set"))
    missing = [option for option in security_options(spec.security_opt) if option not in found.security_opt]
    allowed = {*security_options(spec.security_opt), "label=disable"}  # an engine adds this one beside --ipc=host
    if missing or set(found.security_opt) - allowed:
        yield Difference(
            "--security-opt", _set_text(tuple(security_options(spec.security_opt))), _set_text(found.security_opt)
        )
    for name, value in spec.labels.items():
        if found.labels.get(name) != value:
            yield Difference(f"--label {name}", value, found.labels.get(name, "not set"))


def _yes(given: bool) -> str:  # noqa: FBT001 - it is the value that is put into words
    return "yes" if given else "no"


def _or_not(given: str | None) -> str:
    return "not mounted" if given is None else given or "as the engine makes it"


def _set_text(given: Sequence[str]) -> str:
    return ", ".join(sorted(given)) or "none"


def _gpus_text(gpus: Gpus | None) -> str:
    return "none" if gpus is None else ",".join(gpus.ids) or "all"


def _ports_text(ports: Sequence[Port]) -> str:
    return ", ".join(sorted(f"{port.address}:{port.host}:{port.container}" for port in ports)) or "none"


def _mount_text(mount: Mount) -> str:
    return f"{mount.source} ({mount.kind}{', read-only' if mount.read_only else ''})"


def _health_text(check: Healthcheck | None) -> str:
    if check is None:
        return "none"
    times = f"every {check.interval} s, {check.timeout} s each, {check.retries} times, from {check.start_period} s"
    return f"{_shown(check.command)} ({times})"


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]
