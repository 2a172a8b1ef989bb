"""Shows what a vLLM server offers, and talks with it: a first try of a GPU machine.

    python scripts/test-repl-gpu.py
    VLLM_BASE_URL=http://gpu:8000/v1 python scripts/test-repl-gpu.py -m Qwen/Qwen2.5-Coder-7B-Instruct

The server is the one of VLLM_BASE_URL, by default http://localhost:8000/v1; its key comes from VLLM_API_KEY. The
conversation is `abstractcore chat`: /help lists its commands. What the server can do is what is known of its kind;
`abstractcore check` tries it out.

Exit codes: 0 done, 1 failed, 2 wrong usage, 4 server unreachable, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import NoReturn

from abstractcore.capability import Support
from abstractcore.cli.main import INTERRUPTED, UNREACHABLE, main, show
from abstractcore.cli.visible import visible
from abstractcore.errors import AbstractCoreError, ConnectionFailedError
from abstractcore.providers import VLLMProvider
from abstractcore.types import ModelInfo


def arguments() -> argparse.Namespace:
    """The command line."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-m", "--model", help="model to ask; what the server serves when left out")
    parser.add_argument("--base-url", metavar="URL", help="address of the server, in the place of VLLM_BASE_URL")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="wait for a server that is starting")
    parser.add_argument("--no-chat", action="store_true", help="only show what was found")
    return parser.parse_args()


def found(llm: VLLMProvider) -> Iterator[tuple[str, str]]:
    """What the server offers, in rows of a name and what is to be said about it.

    Raises:
        ProviderError: It does not answer.
    """
    rows = llm.list_models()
    yield "server", f"vLLM {llm.server_version() or '(it hides its version)'} at {', '.join(llm.base_urls)}"
    for row in rows:
        if row.parent is None:
            yield "model", described(row)
    adapters = llm.list_adapters()
    yield "adapters", ", ".join(f"{row.name} ({row.path})" for row in adapters) or "none is loaded"
    table = llm.capabilities()
    for name, kind in (("can", Support.NATIVE), ("emulated", Support.EMULATED)):
        yield name, ", ".join(feature for feature, support in table.items() if support is kind)


def described(row: ModelInfo) -> str:
    """A model in one line."""
    length = f"{row.context_length} tokens of context" if row.context_length else "context unknown"
    return f"{row.id}, {length}" + (f", from {row.root}" if row.root and row.root != row.id else "")


def look(given: argparse.Namespace) -> int:
    """Shows what is there; gives the exit code."""
    try:
        with VLLMProvider(given.model, **({"base_url": given.base_url} if given.base_url else {})) as llm:
            if given.wait is not None:
                llm.wait_until_ready(given.wait)
            for name, text in found(llm):
                print(f"{name:<9} {visible(text)}")
    except AbstractCoreError as error:
        show(error)
        return UNREACHABLE if isinstance(error, ConnectionFailedError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    print(flush=True)
    return 0


def talk(given: argparse.Namespace) -> NoReturn:
    """Becomes ``abstractcore chat``."""
    chosen = [("--model", given.model), ("--base-url", given.base_url)]
    words = [word for option, value in chosen if value for word in (option, value)]
    sys.argv = ["abstractcore", "chat", "--provider", "vllm", *words]
    main()


if __name__ == "__main__":
    given = arguments()
    code = look(given)
    if code or given.no_chat:
        sys.exit(code)
    talk(given)
