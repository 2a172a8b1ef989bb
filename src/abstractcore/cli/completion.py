"""``abstractcore completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog='\b\neval "$(abstractcore completion bash)"      # in ~/.bashrc\nabstractcore completion fish | source'
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Prints the script by which SHELL completes commands and options."""
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(root.command, {}, "abstractcore", "_ABSTRACTCORE_COMPLETE").source())
