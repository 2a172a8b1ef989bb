"""``abstractcore demo``: a real vLLM on this machine, asked through the library."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..settings import resolve
from .progress import ProgressLine
from .signals import signals_interrupt

if TYPE_CHECKING:
    from ..deploy.demo_server import DemoServer
    from ..types import GenerateResponse

SCHEMA: Final = "abstractcore.demo/1"
_COLOURS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}
_FUNCTION: Final = r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+"

QUESTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("What is the capital of France?", {"temperature": 0}),
    ("Name three colors.", {"guided_json": _COLOURS, "temperature": 0}),
    # This regex can always go on: the token limit ends it, and what is whole so far is kept.
    (
        "Write a Python function",
        {"guided_regex": _FUNCTION, "on_cut": "trim", "max_output_tokens": 60, "temperature": 0},
    ),
)


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port of the server; by default 8000, or the next free one."
)
@click.option("--cpu", is_flag=True, help="Run on the CPU even if there is a GPU.")
@click.option("--yes", is_flag=True, help="Don't ask before downloading.")
@click.option("--stop", is_flag=True, help="Stop the server of an earlier demo.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def demo(*, port: int | None, cpu: bool, yes: bool, stop: bool, as_json: bool) -> None:
    """Gets a small model and a real vLLM server, starts it here and asks it three questions.

    Everything goes into the cache folder; a second run starts at once. The server stays until `demo --stop`.
    """
    from ..deploy import demo_server

    if stop:
        pid = demo_server.stop()
        click.echo(f"stopped the demo server (pid {pid})" if pid else "no demo server was running", err=True)
        return
    with signals_interrupt():
        server = _server(port, cpu=cpu, yes=yes)
        try:
            answers = _ask(server, as_json=as_json)
        except BaseException:
            if server.started_now:
                demo_server.stop()
            raise
    if as_json:
        click.echo(json.dumps(_document(server, answers), indent=2))
    else:
        _say_where_next(server)


def _server(port: int | None, *, cpu: bool, yes: bool) -> DemoServer:
    from ..deploy import demo_server

    found = demo_server.named_server() or demo_server.running()
    if found:
        _tell(f"using the server at {found.base_url}")
        return found
    parts = demo_server.needed(cpu=cpu)
    if parts.parts:
        _tell(f"The first run gets, into {parts.cache}:")
        for part in parts.parts:
            _tell(f"  {part}")
        if sys.stdin.isatty() and sys.stderr.isatty() and not yes:
            click.confirm("Go on?", default=True, abort=True, err=True)
    with ProgressLine() as progress:
        server = demo_server.ensure(parts, port=port, report=progress)
    _tell(f"{server.model} is served at {server.base_url}")
    return server


def _ask(server: DemoServer, *, as_json: bool) -> list[dict[str, Any]]:
    from .. import create_llm

    answers = []
    options = {"model": server.model} if server.model else {}
    options["base_url"] = server.base_url
    _show("", f">>> llm = {as_code('create_llm', 'vllm', options)}", quiet=as_json)
    with create_llm("vllm", **options) as llm:
        for prompt, asked in QUESTIONS:
            code = as_code("llm.generate", prompt, asked) + ".content"
            _show("", f">>> {code}", quiet=as_json)
            response = llm.generate(prompt, **asked)
            _show(response.content.rstrip("\n"), *_proof(response), quiet=as_json)
            constraint = response.metadata.get("constraint")
            answers.append({"code": code, "content": response.content, "constraint": constraint})
    return answers


def as_code(function: str, first: str, options: Mapping[str, Any]) -> str:
    """A call as one would type it."""
    return (
        f"{function}({', '.join([_literal(first), *(f'{name}={_literal(given)}' for name, given in options.items())])})"
    )


def _literal(value: Any) -> str:
    if isinstance(value, str) and "\\" in value and '"' not in value:
        return f'r"{value}"'
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _proof(response: GenerateResponse) -> list[str]:
    """What the library knows about a constrained answer, as a comment."""
    record = response.metadata.get("constraint")
    if not record:
        return []
    server = f"vLLM {response.metadata.get('server_version', '')}".rstrip()
    lines = [f"# proved by {record['checker']}; sent to {server} as {record['spelling']}"]
    if record.get("trimmed"):
        lines.append(f"# {record['cut_by']} ended it; the unfinished rest was cut off: {record['cut_text']!r}")
    return lines


def _document(server: DemoServer, answers: list[dict[str, Any]]) -> dict[str, Any]:
    place = {"base_url": server.base_url, "model": server.model, "pid": server.pid, "log": server.log}
    return {"schema": SCHEMA, **place, "started": server.started_now, "answers": answers}


def _say_where_next(server: DemoServer) -> None:
    root = server.base_url.removesuffix("/v1")
    program = as_typed(sys.argv[0])
    rows = [("ask it", f"{program} 'Explain quantum computing'"), ("its interface", f"{root}/docs")]
    context = click.get_current_context()
    group = context.find_root().command
    if isinstance(group, click.Group) and "chat" in group.list_commands(context):
        rows.insert(1, ("talk to it", f"{program} chat"))
    if resolve("vllm.base_url").value not in (server.base_url, server.base_url.replace("127.0.0.1", "localhost")):
        rows.insert(0, ("point to it", f"export VLLM_BASE_URL={server.base_url}"))
    if server.log:
        rows.append(("its log", server.log))
    if server.pid:
        rows.append(("stop it", f"{program} demo --stop"))
    click.echo()
    for label, text in rows:
        click.echo(f"{label + ':':<15}{text}")


def as_typed(argv0: str) -> str:
    """How this program is called from the shell: by its name if that finds it, else as it was called now."""
    found = shutil.which("abstractcore")
    if Path(argv0).name != "abstractcore" or (found and Path(found).resolve() == Path(argv0).resolve()):
        return "abstractcore"
    return argv0


def _show(*lines: str, quiet: bool) -> None:
    for line in () if quiet else lines:
        click.echo(line)


def _tell(line: str) -> None:
    click.echo(line, err=True)
