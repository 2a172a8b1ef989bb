"""``abstractcore logs``: what the server or the client writes."""

from __future__ import annotations

import click

from .deployed import engine_option, nothing_runs, project_name, project_option


@click.command()
@click.argument("role", type=click.Choice(["server", "client"]), default="server")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends, or Ctrl-C.")
@click.option("--tail", type=click.IntRange(0), metavar="LINES", help="Only the last lines.")
@project_option
@engine_option
def logs(role: str, follow: bool, tail: int | None, project: str | None, engine: str | None) -> None:
    """Prints the log of the server, or of the client."""
    from ..deploy.container import LABEL
    from ..deploy.engine import find_engine
    from ..deploy.inspected import read_container

    found, wanted = find_engine(engine), project_name(project)
    found.info()
    for name in found.labelled("container", wanted):
        document = found.inspect(name)
        if document is None or read_container(document).labels.get(f"{LABEL}.role") != role:
            continue
        if follow:
            found.follow(name, click.echo, tail=tail)
        else:
            for line in found.logs(name, tail=tail):
                click.echo(line)
        return
    raise nothing_runs(wanted)
