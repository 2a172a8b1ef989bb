"""``up``: checks everything, makes the containers, proves that they are as planned, and that they answer.

What was made by a call that fails, or is interrupted, is removed again: there is no half-started state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DeployError
from ..container import LABEL, ContainerSpec, Deployment
from ..differences import Difference, differences
from ..engine import Engine, refused
from ..inspected import ImageDefaults, read_container, read_image
from ..lock import locked
from ..progress import Progress, Report, silent
from ..render import docker, podman
from . import record
from .canary import Canary, Completion, ask_for_a_token, read_completion
from .checks import Facts, PreflightError, Problem, problems
from .down import FAILED, LOCK, take_down
from .key import ensure_key
from .measure import measure, missing_images
from .pulling import pull
from .waiting import wait_for_client, wait_for_server

PROMPT = "Say hello."
_SLOW = 600.0
"""Seconds that the completion in the client's container may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How ``up`` is to go about it."""

    folder: Path
    """Where what is known of the project is kept."""
    replace: bool = False
    """Take another deployment of the same name down first."""
    keep: bool = False
    """Leave what was made where it is if the start fails."""
    limit: float = 1800.0
    """Seconds until the server has to answer."""
    download: int = 0
    """Bytes that the hub would send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A deployment that runs, and the proofs."""

    deployment: Deployment
    ran_already: bool
    canary: Canary
    """The token that the server gave, asked from inside its container."""
    completion: Completion | None
    """The answer that the client got; ``None`` without a client."""
    seconds: float


@dataclass(slots=True)
class _Made:
    """What a call has made, to be removed if it fails."""

    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    key: Path | None = None


def up(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report = silent) -> Outcome:
    """Brings a deployment up, or finds it running; either way it is proved to answer.

    Args:
        engine: The engine of containers.
        deployment: What is to run.
        wishes: How to go about it.
        report: Gets the progress: phases ``check``, ``pull``, ``create``, ``load``, ``weights``, ``compile``,
            ``ready``, ``client``, ``proof``.

    Raises:
        PreflightError: Something stands in the way; nothing was made.
        DeployError: Another deployment of that name runs, what was made is not as planned, or it does not answer.
    """
    began = time.monotonic()
    with locked(wishes.folder / LOCK, lambda: report(Progress("check", "another run is at work, waiting"))):
        engine.info()
        if _runs_already(engine, deployment, wishes, report):
            canary, completion = _prove(engine, deployment, wishes, report)
            return _outcome(deployment, canary, completion, began, ran_already=True)
        facts = check(engine, deployment, wishes, report)
        with _nothing_half_made(engine, deployment.project, wishes, report) as made:
            _make(engine, deployment, made, facts, report)
            canary, completion = _start(engine, deployment, wishes, report)
        record.save(wishes.folder, deployment, engine.name)
        return _outcome(deployment, canary, completion, began, ran_already=False)


def check(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report = silent) -> Facts:
    """Finds all that stands in the way, and gets the images that are missing.

    Raises:
        PreflightError: With everything that was found.
    """
    facts = measure(engine, deployment, download=wishes.download, report=report)
    missing = missing_images(engine, deployment)
    facts = pull(engine, facts, missing, is_worth_it=not problems(deployment, facts), report=report)
    found = problems(deployment, facts)
    if found:
        raise PreflightError(found)
    return facts


def look(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report = silent) -> tuple[Problem, ...]:
    """All that stands in the way; nothing is downloaded.

    Raises:
        DeployError: The engine does not answer.
    """
    facts = measure(engine, deployment, download=wishes.download, report=report)
    facts = pull(engine, facts, missing_images(engine, deployment), is_worth_it=False, report=report)
    runs = bool(engine.labelled("container", deployment.project))
    return tuple(row for row in problems(deployment, facts) if not (runs and row.id == "port.taken"))


def _runs_already(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report) -> bool:
    """Whether this very deployment runs; what is left of it, or has another plan, is removed if that was asked."""
    names = engine.labelled("container", deployment.project)
    if not names:
        return False
    report(Progress("check", f"looking at {', '.join(names)}"))
    documents = [document for name in names if (document := engine.inspect(name)) is not None]
    running = {found.name: found for found in map(read_container, documents)}
    planned = record.plan_of(deployment)
    same = all(found.labels.get(f"{LABEL}.plan") == planned for found in running.values())
    alive = {name for name, found in running.items() if found.state.running}
    if same and alive == {spec.name for spec in deployment.containers}:
        return True
    if not same and not wishes.replace:
        raise _differs(engine, deployment)
    # What has stopped is made anew: a container that failed once may be in any state.
    take_down(engine, deployment.project, report=report, folder=wishes.folder)
    return False


def _differs(engine: Engine, deployment: Deployment) -> DeployError:
    rows = [str(row) for spec in deployment.containers for row in in_force(engine, spec) if f"{LABEL}." not in row.flag]
    return DeployError(
        f"{deployment.project} runs already, with another plan",
        why="; ".join(rows) or "its labels name another plan",
        hint="abstractcore up ... --replace, or abstractcore down first, or another --project",
    )


def in_force(engine: Engine, spec: ContainerSpec) -> tuple[Difference, ...]:
    """How a container differs from its plan."""
    document = engine.inspect(spec.name)
    if document is None:
        return (Difference("container", spec.name, "not there"),)
    return differences(spec, read_container(document), image_defaults(engine, spec.image))


def image_defaults(engine: Engine, image: str) -> ImageDefaults | None:
    """What an image brings along; ``None`` if it is gone."""
    document = engine.image(image)
    return None if document is None else read_image(document)


def _make(engine: Engine, deployment: Deployment, made: _Made, facts: Facts, report: Report) -> None:
    label = f"{LABEL}.project={deployment.project}"
    create_argv = podman.create_argv if engine.name == "podman" else docker.create_argv
    if deployment.key_file is not None:
        path = Path(deployment.key_file)
        if ensure_key(path, deployment.server.user, is_rootless=facts.is_rootless):
            made.key = path
    for network in deployment.networks:
        if not engine.exists("network", network):
            report(Progress("create", f"network {network}"))
            engine.do(*docker.network_argv(network, label))
            made.networks.append(network)
    for volume in deployment.volumes:
        if not engine.exists("volume", volume.name):
            report(Progress("create", f"volume {volume.name}"))
            engine.do(*docker.volume_argv(volume, label))
            made.volumes.append(volume.name)
    for spec in deployment.containers:
        report(Progress("create", spec.name))
        made.containers.append(spec.name)
        engine.do(*create_argv(spec))
        if rows := in_force(engine, spec):
            raise DeployError(
                f"{engine.name} did not make {spec.name} as planned", why="; ".join(map(str, rows)), hint=None
            )


def _start(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report) -> tuple[Canary, Completion | None]:
    server, client = deployment.server, deployment.client
    report(Progress("load", f"starting {server.name}"))
    engine.do("start", server.name, limit=300)
    canary = wait_for_server(engine, server, deployment.served_name, report, limit=wishes.limit)
    if client is None:
        return canary, None
    engine.do("start", client.name, limit=300)
    completion = _ask_in_client(engine, deployment, client, report)
    wait_for_client(engine, client, report)
    return canary, completion


def _prove(engine: Engine, deployment: Deployment, wishes: Wishes, report: Report) -> tuple[Canary, Completion | None]:
    report(Progress("proof", "a token from the server"))
    rows = [row for spec in deployment.containers for row in in_force(engine, spec)]
    if rows:
        raise DeployError(
            f"{deployment.project} runs, but not as planned any more",
            why="; ".join(map(str, rows)),
            hint="abstractcore up ... --replace",
        )
    canary = ask_for_a_token(engine, deployment.server, deployment.served_name, limit=120)
    if canary.health is None:  # it was started a moment ago, by its engine or by hand
        canary = wait_for_server(engine, deployment.server, deployment.served_name, report, limit=wishes.limit)
    if not canary.answers:
        raise DeployError(
            f"{deployment.server.name} runs, but gives no token",
            why=f"/health: {canary.health}, one token: {canary.status} {canary.said}".rstrip(),
            hint="abstractcore logs; abstractcore up ... --replace",
        )
    client = deployment.client
    return canary, None if client is None else _ask_in_client(engine, deployment, client, report)


def _ask_in_client(engine: Engine, deployment: Deployment, client: ContainerSpec, report: Report) -> Completion:
    report(Progress("proof", f"an answer inside {client.name}"))
    began = time.monotonic()
    argv = ("abstractcore", "ask", "--json", "--max-tokens", "16", "--temperature", "0")
    reply = engine.execute(client.name, (*argv, "--model", deployment.served_name, PROMPT), limit=_SLOW)
    try:
        if reply.ok:
            return read_completion(reply.lines[-1], round(time.monotonic() - began, 3))
        said = refused(f"{client.name} gets no answer from {deployment.base_url}", reply)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        said = DeployError(f"{client.name} gave no answer that can be read", why=f"{error}: {reply.text[:300]}")
    raise said


@contextmanager
def _nothing_half_made(engine: Engine, project: str, wishes: Wishes, report: Report) -> Iterator[_Made]:
    """If the block fails, its logs are kept in a file, and what it made is removed."""
    made = _Made()
    try:
        yield made
    except BaseException as error:
        place = _keep_logs(engine, made, wishes.folder)
        if isinstance(error, DeployError) and place:
            error.hint = "; ".join(part for part in (error.hint, f"the whole log: {place}") if part)
        if wishes.keep and not isinstance(error, KeyboardInterrupt):
            raise
        report(Progress("undo", "removing what was made"))
        ours = engine.labelled("container", project)  # another one may have had the name of ours
        engine.remove(*(name for name in made.containers if name in ours))
        for kind, names in (("network", made.networks), ("volume", made.volumes)):
            for name in names:
                engine.ask(kind, "rm", name)
        if made.key:
            made.key.unlink(missing_ok=True)
        raise


def _keep_logs(engine: Engine, made: _Made, folder: Path) -> Path | None:
    logs = [(name, reply.lines) for name in made.containers if (reply := engine.ask("logs", name)).ok and reply.lines]
    if not logs:
        return None
    path = folder / FAILED
    text = "\n".join(f"==> {name}\n" + "\n".join(lines) for name, lines in logs)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _outcome(
    deployment: Deployment, canary: Canary, completion: Completion | None, began: float, *, ran_already: bool
) -> Outcome:
    return Outcome(
        deployment=deployment,
        ran_already=ran_already,
        canary=canary,
        completion=completion,
        seconds=round(time.monotonic() - began, 1),
    )
