"""Checks of a container that runs a server: what is in force, as the engine and a probe inside say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..deploy.causes import explain, first_error
from ..deploy.container import UNLIMITED, option
from ..deploy.inspected import HIDDEN, Inspected, State
from ..deploy.preflight import LEAST_SHM
from ..deploy.supervisor import KEY_VARIABLE, SUPERVISOR
from .check import Check
from .facts import Facts
from .finding import Finding, Fix, error, ok, unknown, warning

_MIB: Final = 2**20
_LOG: Final = 2000
"""Lines of a log that are read for the cause of an end."""
_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - it is looked for, not bound


def model_of(arguments: Sequence[str]) -> str | None:
    """The model of a command line: the word after ``serve``, or the value of ``--model``."""
    named = option(arguments, "--model")
    if named is not None or "serve" not in arguments:
        return named
    word = list(arguments)[list(arguments).index("serve") + 1 :][:1]
    return word[0] if word and not word[0].startswith("-") else None


def open_addresses(container: Inspected) -> list[str]:
    """Where others than this machine reach it."""
    if container.network == "host":
        if option(container.argv, "--uds") is not None:
            return []
        host = option(container.argv, "--host")
        return [f"{host or 'all interfaces'} (host network)"] if host in (None, *_EVERYWHERE) else []
    return [f"{port.address}:{port.host} (published)" for port in container.ports if port.address in _EVERYWHERE]


def _running(facts: Facts) -> Iterator[Finding]:
    name = facts.subject.server
    if name is None:
        return
    if facts.server is None:
        yield error(
            f"there is no container {name!r}",
            expected="a running one",
            why="nothing is served",
            cure="abstractcore up MODEL",
            subject=name,
        )
        return
    state = facts.server.state
    if state.running:
        if state.restarts:
            yield warning(
                f"running, after {state.restarts} restarts",
                expected="no restarts",
                why="the engine died, or the configuration does not start every time",
                cure=f"abstractcore logs    (docker logs {name})",
                subject=name,
            )
        else:
            yield ok(f"running since {(state.started or '')[:19]}", name)
        return
    yield _ended(facts, name, state)


def _ended(facts: Facts, name: str, state: State) -> Finding:
    """Why a container does not run: the cause that its log names, which the last line seldom is."""
    killed = " by the kernel, out of memory" if state.out_of_memory else ""
    ended = f"it is {state.status}, exit code {state.exit_code}{killed}"
    log = facts.engine.logs(name, tail=_LOG) if facts.engine else ()
    known = explain([state.error, *log])
    if known is None:
        why = state.error or first_error(log) or "nothing is served"
        return error(ended, expected="running", why=why, cure=f"docker logs {name}", subject=name)
    return error(
        f"{known.what} ({ended})",
        expected="running",
        why=f"{known.matters}; its log says: {known.words}",
        cure=known.cure,
        subject=name,
    )


def _flags(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    in_force = _in_force(facts.server)
    if facts.planned is None:
        yield ok(in_force, facts.server.name)
        return
    differences = facts.planned()
    if not differences:
        yield ok(f"as planned: {in_force}", facts.server.name)
    for text in differences:
        yield error(
            text,
            expected="as planned",
            why="what runs is not what was asked for",
            cure="abstractcore down && abstractcore up MODEL    (abstractcore diff lists all)",
            subject=facts.server.name,
        )


def _in_force(server: Inspected) -> str:
    """The flags that decide about speed and safety, as the engine tells them."""
    gpus = "no GPUs" if server.gpus is None else f"GPUs {','.join(server.gpus.ids) or 'all'}"
    memory = f"ipc {server.ipc}" + (f", shm {server.shm_size // _MIB} MiB" if server.shm_size else "")
    limits = ", ".join(
        f"{limit.name} {'unlimited' if limit.value == UNLIMITED else limit.value}" for limit in server.ulimits
    )
    return f"{gpus}, network {server.network}, {memory}, {limits or 'no limits set'}"


def _shm(facts: Facts) -> Iterator[Finding]:
    name = facts.subject.server
    if name is None or facts.server is None:
        return
    try:
        found = facts.inside(name)["shm"]
    except LookupError as problem:
        if not facts.server.shm_size:
            yield unknown(str(problem), subject=name)
            return
        found = {"total": facts.server.shm_size}
    ranks = int(option(facts.server.argv, "--tensor-parallel-size") or 1)
    least = LEAST_SHM * max(1, ranks // 2)
    total = int(found["total"]) if found else 0
    if total >= least:
        yield ok(f"shared memory (/dev/shm) inside has {total // _MIB} MiB", name)
        return
    yield warning(
        f"shared memory (/dev/shm) inside has {total // _MIB} MiB",
        expected=f"{least // _MIB} MiB or more",
        why="with several ranks, and always on a CPU, vLLM ends in 'Insufficient space in /dev/shm'",
        cure="--shm-size 1g, or --ipc=host: abstractcore up sets one of them",
        subject=name,
    )


def _user(facts: Facts) -> Iterator[Finding]:
    for container in facts.containers:
        name, user = container.name, container.user
        if user.partition(":")[0] not in ("", "0", "root"):
            yield ok(f"runs as {user}", name)
            continue
        yield warning(
            "runs as root",
            expected="a user without rights",
            why="who breaks out of the server owns what the container holds, and the host where nothing else stops it",
            cure="--user 2000:0 --cap-drop ALL --security-opt no-new-privileges",
            subject=name,
        )


def _privileges(facts: Facts) -> Iterator[Finding]:
    for container in facts.containers:
        name, dropped = container.name, [entry.upper() for entry in container.cap_drop]
        if container.privileged:
            yield error(
                "it is privileged",
                expected="no privileges: GPUs need none",
                why="it can do anything on the host",
                cure="start it without --privileged",
                subject=name,
            )
        elif "ALL" in dropped or "CAP_ALL" in dropped:
            yield ok("all capabilities are dropped", name)
        else:
            yield warning(
                "it keeps the engine's default capabilities",
                expected="--cap-drop ALL",
                why="vLLM needs none of them",
                cure="--cap-drop ALL --security-opt no-new-privileges",
                subject=name,
            )


def _image(facts: Facts) -> Iterator[Finding]:
    for container in facts.containers:
        name, image = container.name, container.image
        tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
        if "@sha256:" in image or tag not in ("", "latest", "nightly"):
            yield ok(image, name)
        else:
            yield warning(
                image,
                expected="a pinned tag or a digest",
                why="the next pull brings another server: the newest image does not even start on older GPUs",
                cure="abstractcore plan MODEL names the image for these GPUs",
                subject=name,
            )


def _exposure(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    found = open_addresses(facts.server)
    if not found:
        yield ok("nobody outside this machine reaches it")
        return
    arguments, variables = facts.server.argv, facts.server.environment
    named = {"VLLM_API_KEY", KEY_VARIABLE} & variables.keys()
    has_key = option(arguments, "--api-key") is not None or bool(named) or option(arguments, "--config") is not None
    tell = warning if has_key else error
    yield tell(
        f"listens on {', '.join(found)}" + ("" if has_key else ", and no key is set"),
        expected="loopback, or a network of its own",
        why="whoever reaches the port can use the model, and /invocations even without the key; a published port"
        " also passes by the host's firewall rules",
        cure="abstractcore up MODEL --profile private    (or --host 127.0.0.1, -p 127.0.0.1:8000:8000)",
    )


def _secrets(facts: Facts) -> Iterator[Finding]:
    for container in facts.containers:
        name = container.name
        shown = [key for key, value in container.environment.items() if value == HIDDEN]
        shown += ["--api-key"] if option(container.argv, "--api-key") else []
        if shown:
            yield warning(
                f"{', '.join(sorted(shown))} can be read by everyone who may inspect the container",
                expected="secrets in files",
                why="docker inspect shows the environment and the command line",
                cure="abstractcore up gives both a file; by hand: VLLM_API_KEY_FILE in the client",
                subject=name,
            )
        else:
            yield ok("no secret is shown by inspect", name)


def _development(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    variables = facts.server.environment
    if variables.get("VLLM_SERVER_DEV_MODE") not in (None, "", "0"):
        yield error(
            "VLLM_SERVER_DEV_MODE is on",
            expected="off",
            why="it opens endpoints that reset, sleep and reconfigure the engine to everyone who reaches the port",
            cure="start it without VLLM_SERVER_DEV_MODE",
        )
    if variables.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in ("1", "true"):
        yield warning(
            "adapters can be loaded at run time",
            expected="only where it is needed",
            why="whoever has the key makes the server read any folder it can reach",
            cure="leave out --allow-adapters, or keep the adapters in one read-only folder",
        )


def _nccl(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    variables = facts.server.environment
    value = variables.get("NCCL_P2P_DISABLE")
    if value is None:
        return
    if value != "1":
        yield error(
            f"NCCL_P2P_DISABLE is {value!r}",
            expected="exactly 1, or nothing",
            why="NCCL reads every other value as off",
            cure="abstractcore up MODEL --p2p off",
        )
        return
    missing = []
    if "--disable-custom-all-reduce" not in facts.server.argv:
        missing.append("--disable-custom-all-reduce")
    if variables.get("VLLM_ALLREDUCE_USE_SYMM_MEM") != "0":
        missing.append("VLLM_ALLREDUCE_USE_SYMM_MEM=0")
    if missing:
        yield warning(
            f"NCCL_P2P_DISABLE=1 without {' and '.join(missing)}",
            expected="all three",
            why="vLLM's own all-reduce and symmetric memory use peer access too, and hang where it is broken",
            cure="abstractcore up MODEL --p2p off",
        )
    else:
        yield ok("peer access is off in all three places")


def _restart(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    policy = facts.server.restart
    if policy.startswith("on-failure") and SUPERVISOR not in facts.server.argv:
        yield warning(
            "restarts on failure only",
            expected="unless-stopped",
            why="vLLM ends with exit code 0 when its engine dies, so this never restarts it",
            cure=_engine_command(facts, "update", "--restart", "unless-stopped", facts.server.name),
            fix=_fix(facts, "update", "--restart", "unless-stopped", facts.server.name),
        )
    else:
        yield ok(f"restart policy {policy!r}")


def _engine_command(facts: Facts, *arguments: str) -> str:
    return " ".join((facts.engine.name if facts.engine else "docker", *arguments))


def _fix(facts: Facts, *arguments: str) -> Fix | None:
    """A command of the engine as a repair."""
    engine = facts.engine
    return Fix(_engine_command(facts, *arguments), lambda: engine.do(*arguments)) if engine else None


def _healthcheck(facts: Facts) -> Iterator[Finding]:
    if facts.server is None:
        return
    words = " ".join(facts.server.healthcheck.command) if facts.server.healthcheck else ""
    if not words:
        yield warning(
            "the engine of containers does not ask whether it is well",
            expected="a check of /health",
            why="a dead server looks alive, and others start before it is ready",
            cure="abstractcore render compose MODEL",
        )
    elif "/v1/models" in words:
        yield warning(
            "the health check asks /v1/models",
            expected="/health",
            why="once a key is set it gets 401 for ever",
            cure="abstractcore render compose MODEL",
        )
    else:
        yield ok("its health is asked for")


def _noexec(facts: Facts) -> Iterator[Finding]:
    name = facts.subject.server
    if name is None or facts.server is None:
        return
    try:
        found = facts.inside(name)["noexec"]
    except LookupError as problem:
        yield unknown(str(problem), subject=name)
        return
    if not found:
        yield ok("caches lie where code can be executed", name)
    for variable, folder in found.items():
        yield error(
            f"{variable} leads to {folder}, which is mounted noexec",
            expected="a folder from which code can be mapped",
            why="compiled kernels end in 'failed to map segment from shared object'",
            cure=f"--tmpfs {folder}:exec, or {variable} on another volume",
            subject=name,
        )


def _weights(facts: Facts) -> Iterator[Finding]:
    name = facts.subject.server
    if name is None or facts.server is None:
        return
    model = model_of(facts.server.argv)
    if model is None or not model.startswith("/"):
        return
    try:
        found = facts.inside(name, paths=[model])["unreadable"]
    except LookupError as problem:
        yield unknown(str(problem), subject=name)
        return
    if not found:
        yield ok("the weights can be read", name)
    for unreadable in found.values():
        yield error(
            unreadable,
            expected="readable by the container's user",
            why="the server ends in 'PermissionError'",
            cure=f"chmod -R a+rX {model}    (on the host, the folder mounted there)",
            subject=name,
        )


CHECKS: Final = (
    Check("container.running", "the server's container runs", _running),
    Check("container.flags", "it runs with the flags that were planned", _flags),
    Check("container.shm", "shared memory is large enough", _shm),
    Check("container.noexec", "compiled kernels can be loaded", _noexec),
    Check("container.weights", "the weights can be read", _weights),
    Check("container.nccl", "peer access is set where it counts", _nccl),
    Check("container.restart", "it comes back after an engine's death", _restart),
    Check("container.healthcheck", "its health is watched", _healthcheck),
    Check("container.exposure", "only the client reaches it", _exposure),
    Check("container.development", "no doors for developers are open", _development),
    Check("container.secrets", "no secret is shown", _secrets),
    Check("container.user", "it does not run as root", _user),
    Check("container.privileges", "it has no rights that it does not need", _privileges),
    Check("container.image", "its image is pinned", _image),
)
