"""Gets images that are missing, with progress; or finds out cheaply that they can't be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import DeployError
from ..engine import Engine
from ..progress import Progress, Report
from .checks import Facts


class Layers:
    """Counts the layers of an image by what the engine prints while it pulls."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._done: set[str] = set()

    def read(self, line: str) -> float | None:
        """Takes a line; gives the fraction of layers that are here, once there are any."""
        layer, colon, state = line.partition(": ")
        if colon and " " not in layer:
            if state.startswith(("Pulling fs layer", "Waiting", "Downloading")):
                self._seen.add(layer)
            elif state.startswith(("Pull complete", "Already exists")):
                self._seen.add(layer)
                self._done.add(layer)
        return len(self._done) / len(self._seen) if self._seen else None


def pull(engine: Engine, facts: Facts, images: Sequence[str], *, is_worth_it: bool, report: Report) -> Facts:
    """Pulls images; what can't be had is added to the facts.

    Args:
        engine: The engine of containers.
        facts: What is known so far.
        images: Those that are not here.
        is_worth_it: Nothing else stands in the way. If something does, only the registry is asked, so that the user
            need not wait for gigabytes to hear it.
        report: Gets the progress, phase ``pull``.
    """
    failed = dict(facts.missing_images)
    for image in images:
        layers = Layers()

        def take(line: str, layers: Layers = layers, image: str = image) -> None:
            report(Progress("pull", image, layers.read(line)))

        report(Progress("pull", image))
        if is_worth_it:
            try:
                engine.pull(image, take)
            except DeployError as error:
                failed[image] = "\n".join(error.log_tail) or error.why or error.message
        elif not (reply := engine.ask("manifest", "inspect", image)).ok:
            failed[image] = reply.text
    return replace(facts, missing_images=failed)
