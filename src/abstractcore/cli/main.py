"""The entry point: finds the command, and turns errors into messages and exit codes."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module
from typing import Final, NamedTuple, NoReturn

import click

from .. import __version__
from ..errors import AbstractCoreError, ConnectionFailedError
from .visible import visible

UNREACHABLE: Final = 4
INTERRUPTED: Final = 130


class Row(NamedTuple):
    """One command: where it is, and what the list of commands says of it."""

    module: str
    summary: str


COMMANDS: Final = {
    "adapters": Row("adapters", "List, load and unload LoRA adapters."),
    "ask": Row("ask", "Answer a prompt (the default command)."),
    "batch": Row("batch", "Answer a file of prompts, many at once."),
    "chat": Row("chat", "Talk with a model: a conversation at the terminal."),
    "check": Row("check", "Try all that is promised on a live server, and through a gateway."),
    "completion": Row("completion", "Print what a shell needs to complete commands."),
    "config": Row("config", "Show the settings, and where each came from."),
    "demo": Row("demo", "Start a real vLLM with a small model here, and see what it can do."),
    "diff": Row("diff", "Compare what runs with what was planned, flag by flag."),
    "doctor": Row("doctor", "Say what is wrong with a server, its containers and the way to it."),
    "down": Row("down", "Stop what `up` started, and remove it."),
    "embed": Row("embed", "Turn texts into vectors."),
    "keys": Row("keys", "Make, list and remove keys for clients of the gateway."),
    "logs": Row("logs", "Show what the server or the client writes."),
    "models": Row("models", "List what a provider has."),
    "plan": Row("plan", "Say what fits on which GPUs, before anything is launched."),
    "providers": Row("providers", "List the backends: which could answer now, and what each can do."),
    "render": Row("render", "Write a deployment down for docker, compose, podman, systemd and others."),
    "serve": Row("serve", "Serve all backends behind one OpenAI-compatible address, with a chat page."),
    "status": Row("status", "Say how a deployment fares."),
    "up": Row("up", "Start a server and its client in containers, and prove that they answer."),
}

EPILOG: Final = """\b
abstractcore "Why is the sky blue?"
git diff | abstractcore "Write a commit message"
abstractcore "List 3 colors" --guided-json schema.json

\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check or plan says no, 4 server unreachable, 130 interrupted."""


class Commands(click.Group):
    """A group whose commands are imported when they are called, and whose default command is ``ask``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name."""
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        command: click.Command = getattr(import_module(f"abstractcore.cli.{row.module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.summary) for name, row in COMMANDS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes what is no command as a prompt."""
        if ctx.resilient_parsing:  # a shell asks what could come next
            return super().parse_args(ctx, args)
        if not args and not sys.stdin.isatty():
            args = ["ask"]
        elif args and args[0] not in COMMANDS and args[0] not in ("--help", "-h", "--version"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1, 0.75)
            if near and len(args) == 1:
                raise click.UsageError(
                    f"no command {args[0]!r}; did you mean {near[0]!r}? As a prompt: abstractcore ask {args[0]}", ctx
                )
            args = ["ask", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=Commands,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="abstractcore")
def cli() -> None:
    """One interface for language models: ask them, and run vLLM well."""


def main() -> NoReturn:
    """Runs the command line."""
    try:
        code = cli.main(prog_name="abstractcore", standalone_mode=False)  # click hands the code of an Exit back
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has left; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except AbstractCoreError as error:
        show(error)
        sys.exit(UNREACHABLE if isinstance(error, ConnectionFailedError) else 1)
    sys.exit(code if isinstance(code, int) else 0)


def show(error: AbstractCoreError) -> None:
    """Prints an error: what failed, the measured fact, what to do next."""
    for label, text, color in (
        ("error", error.message, "red"),
        ("why", error.why, "yellow"),
        ("try", error.hint, "cyan"),
    ):
        if text and (label == "error" or text not in error.message):
            click.echo(f"{paint(label, color)} {visible(text)}", err=True)


def paint(label: str, color: str) -> str:
    """A label before a line of an error."""
    return click.style(f"{label}:", fg=color, bold=True) if "NO_COLOR" not in os.environ else f"{label}:"
