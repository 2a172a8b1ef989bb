"""``status`` and ``diff``: how a deployment fares, and whether it still is what was planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..container import LABEL, Deployment
from ..differences import Difference
from ..engine import Engine
from ..inspected import Inspected, read_container
from . import record
from .up import in_force


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One container."""

    name: str
    role: str
    """``server`` or ``client``."""
    status: str
    """``running``, ``exited`` ..., or ``missing``."""
    health: str | None
    since: str | None
    """When it was started, as the engine writes times."""
    restarts: int
    exit_code: int
    image: str
    differences: tuple[Difference, ...] | None
    """From what was planned; ``None`` where the plan is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A deployment."""

    project: str
    profile: str | None
    base_url: str | None
    model: str | None
    allowed: dict[str, str]
    """Promises that were given up."""
    rows: tuple[Row, ...]

    @property
    def runs(self) -> bool:
        """Whether all its containers run and none is unwell."""
        return bool(self.rows) and all(row.status == "running" and row.health != "unhealthy" for row in self.rows)


def status(engine: Engine, project: str, folder: Path) -> Status | None:
    """How a deployment fares; ``None`` if there is none of that name.

    Args:
        engine: The engine of containers.
        project: The deployment's name.
        folder: Where what is known of it is kept.

    Raises:
        DeployError: The engine does not answer.
    """
    engine.info()
    planned = record.load(folder)
    names = engine.labelled("container", project)
    documents = [document for name in names if (document := engine.inspect(name)) is not None]
    if not documents and planned is None:
        return None
    found = {container.name: container for container in map(read_container, documents)}
    rows = [_row(engine, container, planned) for container in found.values()]
    rows += [_missing(spec.name) for spec in planned.containers if spec.name not in found] if planned else []
    labels = next((container.labels for container in found.values()), {})
    allow = f"{LABEL}.allow."
    return Status(
        project=project,
        profile=labels.get(f"{LABEL}.profile") or (planned.profile if planned else None),
        base_url=planned.base_url if planned else None,
        model=planned.served_name if planned else None,
        allowed={name.removeprefix(allow): value for name, value in labels.items() if name.startswith(allow)},
        rows=tuple(sorted(rows, key=lambda row: row.role != "server")),
    )


def _row(engine: Engine, container: Inspected, planned: Deployment | None) -> Row:
    spec = next((spec for spec in planned.containers if spec.name == container.name), None) if planned else None
    return Row(
        name=container.name,
        role=container.labels.get(f"{LABEL}.role", ""),
        status=container.state.status,
        health=container.state.health,
        since=container.state.started,
        restarts=container.state.restarts,
        exit_code=container.state.exit_code,
        image=container.image,
        differences=None if spec is None else in_force(engine, spec),
    )


def _missing(name: str) -> Row:
    return Row(
        name=name,
        role="",
        status="missing",
        health=None,
        since=None,
        restarts=0,
        exit_code=0,
        image="",
        differences=(Difference("container", name, "not there"),),
    )


def compare(engine: Engine, deployment: Deployment) -> dict[str, tuple[Difference, ...]]:
    """How each container of a deployment differs from its plan, by name.

    Raises:
        DeployError: The engine does not answer.
    """
    engine.info()
    return {spec.name: in_force(engine, spec) for spec in deployment.containers}
