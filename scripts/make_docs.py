"""Write what is made of data in docs/: all of docs/versions.md, and the tables of other pages.

Nothing in them is claimed by hand. docs/versions.md says what each release of vLLM is asked for: each cell is what the
code of the provider decides for the OpenAPI document that a real server of that release has given (tests/recordings).
The tables of docs/providers.md are those that the code obeys; docs/faults.md lists what tests/unit/faults plays, and
what those in tests/live do to a real server; docs/speed.md holds what bench/clients.py measured last.

    python scripts/make_docs.py            # write
    python scripts/make_docs.py --check    # say whether a page is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from abstractcore import UnsupportedFeatureError, VLLMProvider  # noqa: E402
from abstractcore.capability import ENGINES, KNOBS, Capability, Support, support  # noqa: E402
from abstractcore.providers.exchange import Job  # noqa: E402
from abstractcore.providers.registry import BUILT_IN, ProviderInfo  # noqa: E402
from abstractcore.providers.request import build_request  # noqa: E402
from abstractcore.providers.vllm import server  # noqa: E402
from abstractcore.providers.vllm.dialect import Dialect  # noqa: E402
from abstractcore.providers.vllm.job import decide  # noqa: E402
from abstractcore.server.config import BackendConfig, GatewayConfig, Limits  # noqa: E402
from abstractcore.server.field_docs import field_docs  # noqa: E402
from abstractcore.server.metrics import FAMILIES  # noqa: E402
from abstractcore.server.routes import ROUTES  # noqa: E402
from abstractcore.settings import TABLE  # noqa: E402
from abstractcore.testing import FakeServer, Reply  # noqa: E402
from abstractcore.transport import SyncDriver  # noqa: E402
from bench import client_page  # noqa: E402
from tests.live.real_faults import REAL_FAULTS, Errors  # noqa: E402
from tests.recordings import VERSIONS, openapi, recorded  # noqa: E402
from tests.unit.faults.play import Fault  # noqa: E402
from tests.unit.faults.table import FAULTS  # noqa: E402
from tests.unit.server.fault_table import FAULTS as GATEWAY_FAULTS  # noqa: E402
from tests.unit.server.fault_table import Gets, Way, gets  # noqa: E402

VERSIONS_PAGE: Final = ROOT / "docs" / "versions.md"
PROVIDERS_PAGE: Final = ROOT / "docs" / "providers.md"
FAULTS_PAGE: Final = ROOT / "docs" / "faults.md"
KEYS_PAGE: Final = ROOT / "docs" / "gateway-keys.md"
ENDPOINTS_PAGE: Final = ROOT / "docs" / "gateway-endpoints.md"
SPEED_PAGE: Final = ROOT / "docs" / "speed.md"
CLIENT_FIGURES: Final = ROOT / "bench" / "results" / "clients.json"

SCHEMA: Final = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TAG: Final = {
    "type": "structural_tag",
    "format": {"type": "const_string", "value": "hello"},
}
TOOL: Final = {"type": "function", "function": {"name": "get_n", "description": "A number.", "parameters": SCHEMA}}
RAW: Final = {"raw_prompt": True}


class Asked(NamedTuple):
    """One row: what a user writes, and whether as a stream. Adding a feature to the page is adding one of these."""

    title: str
    options: Mapping[str, Any]
    stream: bool = False


GENERATE: Final = (
    Asked("`guided_regex`, chat", {"guided_regex": "[0-9]+"}),
    Asked("`guided_regex`, raw prompt", {"guided_regex": "[0-9]+", **RAW}),
    Asked("`guided_choice`, chat", {"guided_choice": ["a", "b"]}),
    Asked("`guided_choice`, raw prompt", {"guided_choice": ["a", "b"], **RAW}),
    Asked("`guided_grammar`, chat", {"guided_grammar": 'root ::= "a"'}),
    Asked("`guided_grammar`, raw prompt", {"guided_grammar": 'root ::= "a"', **RAW}),
    Asked("`guided_json`, chat", {"guided_json": SCHEMA}),
    Asked("`guided_json`, raw prompt", {"guided_json": SCHEMA, **RAW}),
    Asked("`guided_structural_tag`", {"guided_structural_tag": TAG}),
    Asked("beam search", {"use_beam_search": True, "best_of": 3}),
    Asked("beam search, chat, streamed", {"use_beam_search": True, "n": 3}, stream=True),
    Asked("beam search, raw prompt, streamed", {"use_beam_search": True, "n": 3, **RAW}, stream=True),
    Asked("beam search with a constraint", {"use_beam_search": True, "n": 3, "guided_regex": "[0-9]+"}),
    Asked(
        "the same with `emulate=True`",
        {"use_beam_search": True, "n": 3, "guided_regex": "[0-9]+", "emulate": True, "temperature": 0.8},
    ),
    Asked("`best_of`", {"best_of": 3, "temperature": 0.8}),
    Asked('tools, `tool_choice="auto"`, with `--enable-auto-tool-choice`', {"tools": [TOOL]}),
    Asked('tools, `tool_choice="required"`', {"tools": [TOOL], "tool_choice": "required"}),
    Asked("tools, one by name", {"tools": [TOOL], "tool_choice": "get_n"}),
    Asked("`n`, `seed`, `stop`, `logprobs`", {"n": 2, "seed": 1, "stop": ["x"], "logprobs": 2, "temperature": 0.8}),
    Asked("`priority`, with `--scheduling-policy priority`", {"priority": 5}),
    Asked('`thinking="low"`', {"thinking": "low"}),
    Asked("`thinking=100` (tokens)", {"thinking": 100}),
    Asked("`chat_template_kwargs`", {"chat_template_kwargs": {"x": 1}}),
    Asked('`extra_body={"min_tokens": ...}`', {"extra_body": {"min_tokens": 2}}),
    Asked('`extra_body={"guided_regex": ...}`', {"extra_body": {"guided_regex": "[0-9]+"}}),
    Asked("`extra_body` with an unknown field", {"extra_body": {"nonsense": 1}}),
)


def adapter_in_place(dialect: Dialect) -> str:
    """What `load_adapter(..., replace=True)` does: in place, or by unloading the one and loading the other."""
    if dialect.lists("LoadLoRAAdapterRequest", "load_inplace"):
        return "native"
    return "emulated"


BESIDES: Final[Sequence[tuple[str, Callable[[Dialect], str]]]] = (
    ("`load_adapter`, `unload_adapter`, with `--enable-lora`", lambda dialect: "native"),
    ("`load_adapter(..., replace=True)`", adapter_in_place),
    ("`tokenize`, `count_tokens`", lambda dialect: "native" if "/tokenize" in dialect.paths else "refused"),
)
"""Rows for what is not `generate`."""

HEAD: Final = """\
# What each release of vLLM is asked for

Made by `scripts/make_docs.py` from the code that decides and the OpenAPI documents of eight real servers; the tests
hold it against both. A release between two of these is judged by its own schema, or, where it hides that, like the one
before it; a newer one by its schema, with a note in the answer's metadata.

- **native**: sent in the spelling that this release obeys, and proved where there is something to prove.
- **emulated**: done by this library with the same meaning; `metadata["emulated"]` says how.
- **refused**: raises `UnsupportedFeatureError` before anything is sent, because this release would answer 200 and
  ignore it, or could not do it.
"""


def decided(version: str, asked: Asked) -> Job | UnsupportedFeatureError:
    """What the provider makes of a request, for a server of this release."""
    number = recorded(version, "GET /version")
    fake = FakeServer({"GET /version": Reply((number.body,)), "GET /openapi.json": Reply.json(openapi(version))})
    llm = VLLMProvider("m", base_url=f"http://{version}.test", **fake.transports)
    plan = decide(llm._endpoint, build_request("x", asked.options), "m", stream=asked.stream)  # noqa: SLF001
    try:
        return SyncDriver(fake.transports["transport"]).run(plan)
    except UnsupportedFeatureError as error:
        return error


def verdict(outcome: Job | UnsupportedFeatureError) -> str:
    """A cell of the first table."""
    if isinstance(outcome, UnsupportedFeatureError):
        return "refused"
    return "emulated" if outcome.metadata.get("emulated") else "native"


def versions_page() -> str:
    """All of docs/versions.md."""
    outcomes = [(asked, [decided(version, asked) for version in VERSIONS]) for asked in GENERATE]
    dialects = [dialect_of(version) for version in VERSIONS]
    features = [(asked.title, [verdict(outcome) for outcome in row]) for asked, row in outcomes]
    features += [(title, [cell(dialect) for dialect in dialects]) for title, cell in BESIDES]
    spellings = [
        (asked.title, [f"`{outcome.spelling}`" if isinstance(outcome, Job) else "refused" for outcome in row])
        for asked, row in outcomes
        if asked.title.startswith("`guided_")
    ]
    parts = [
        HEAD,
        table("Feature", VERSIONS, features),
        "## How constraints are spelled\n",
        table("Constraint", VERSIONS, spellings),
        "## Why something is refused or emulated\n",
        "\n".join(f"- {line}" for line in reasons(outcomes)) + "\n",
    ]
    return "\n".join(parts)


def dialect_of(version: str) -> Dialect:
    """What the provider learns of a server of this release."""
    fake = FakeServer({"GET /version": Reply((recorded(version, "GET /version").body,))})
    fake.route("GET /openapi.json", Reply.json(openapi(version)))
    llm = VLLMProvider("m", base_url=f"http://{version}.test", **fake.transports)
    return SyncDriver(fake.transports["transport"]).run(server.learn(llm._endpoint))  # noqa: SLF001


def reasons(outcomes: Iterable[tuple[Asked, Iterable[Job | UnsupportedFeatureError]]]) -> list[str]:
    """The sentences that users get, each once for a feature."""
    lines: dict[str, None] = {}
    for asked, row in outcomes:
        for outcome in row:
            if isinstance(outcome, UnsupportedFeatureError):
                lines[f"{asked.title}: {outcome.why}"] = None
            else:
                for text in outcome.metadata.get("emulated", {}).values():
                    lines[f"{asked.title}, emulated: {text}"] = None
    return list(lines)


def table(first: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """A table; ``first`` stands over the titles of its rows."""
    lines = [f"| {first} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {' | '.join((title, *cells))} |" for title, cells in rows]
    return "\n".join(lines) + "\n"


NAMES: Final = [row.name for row in BUILT_IN]


def made_providers() -> str:
    """Where each provider is, and what it needs."""
    heads = ("what it is", "address", "key", "model when none is named", "to install")
    return table("Provider", heads, [(f"`{row.name}`", provider_cells(row)) for row in BUILT_IN])


def provider_cells(row: ProviderInfo) -> Sequence[str]:
    """A row of the table of providers."""
    extras = " or ".join(f"`abstractcore[{extra}]`" for extra in row.requires)
    model = f"`{row.default_model}`" if row.default_model else "what is served"
    if row.in_process:
        return (row.description, "in this process", "", model, extras)
    address, key = TABLE[f"{row.name}.base_url"], TABLE[f"{row.name}.api_key"]
    needed = " or ".join(f"`{name}`" for name in key.env)
    needed = needed if row.authentication_required else f"{needed}, if the server asks for one"
    return (row.description, f"`{address.env[0]}`, else `{address.default}`", needed, model, extras)


def made_capabilities() -> str:
    """What each provider can do."""
    cells = {Support.NATIVE: "native", Support.EMULATED: "emulated", Support.UNSUPPORTED: ""}
    columns = {row: row for row in NAMES} | {engine: f"{engine} files" for engine in ENGINES}
    rows = [(f"`{known}`", [cells[support(row, known)] for row in columns]) for known in Capability]
    return table("Promise", list(columns.values()), rows)


def made_knobs() -> str:
    """Which sampling parameters each provider has."""
    knobs = sorted(frozenset().union(*(KNOBS[name] for name in NAMES)))
    return table(
        "Knob", NAMES, [(f"`{knob}`", ["yes" if knob in KNOBS[name] else "" for name in NAMES]) for knob in knobs]
    )


def made_faults() -> str:
    """What callers get of each fault that the tests play to them."""
    rows = [
        (fault.breaks, [outcome_of(fault, stream=False), outcome_of(fault, stream=True)])
        for fault in sorted(FAULTS, key=lambda fault: fault.gives(stream=True) is None)
    ]
    return table("The server", ["plain request", "stream"], rows)


def outcome_of(fault: Fault, *, stream: bool) -> str:
    """What the caller gets."""
    error = fault.gives(stream=stream)
    if error is None:
        return "the answer"
    kept = " with the text so far" if stream and fault.partial else ""
    return f"`{error.__name__}`{kept}"


def made_gateway_faults() -> str:
    """What clients of a gateway with two replicas get of each fault of one of them."""
    order = (Gets.OTHER, Gets.BROKEN, Gets.LATE, Gets.REFUSED, Gets.ANSWER)
    rows = [
        (fault.breaks, [gateway_cell(fault, stream=stream) for stream in (False, True)]) for fault in GATEWAY_FAULTS
    ]
    rows.sort(key=lambda row: next(at for at, one in enumerate(order) if row[1][1].startswith(one.value)))
    return table("One of two replicas", ["plain request", "stream"], rows)


def gateway_cell(fault: Fault, *, stream: bool) -> str:
    """What the client gets, passed on or proved."""
    passed, proved = (gets(fault, Way(stream, kind)).value for kind in (False, True))
    return passed if passed == proved else f"{passed}; proved: {proved}"


def made_real_faults() -> str:
    """What callers get of each fault of a real server that the live tests bring about."""
    rows = [
        (
            fault.breaks,
            [
                errors_or_answer(fault.plain, partial=False),
                errors_or_answer(fault.stream, partial=fault.partial),
                f"`{fault.says}`" if fault.says else "",
            ],
        )
        for fault in REAL_FAULTS
    ]
    return table("The server", ["plain request", "stream", "the error says"], rows)


def errors_or_answer(errors: Errors, *, partial: bool) -> str:
    """What the caller gets, where there may be several errors."""
    kept = " with the text so far" if partial else ""
    return " or ".join(f"`{error.__name__}`" for error in errors) + kept if errors else "the answer"


def made_metrics() -> str:
    """What the gateway counts."""
    rows = [
        (f"`{row.name}`", [row.kind, ", ".join(f"`{label}`" for label in row.labels), row.about]) for row in FAMILIES
    ]
    return table("Metric", ["kind", "labels", "what"], rows)


def made_fields(kind: type[Struct]) -> str:
    """The fields of a part of the gateway's configuration, with their defaults and what the code says of them."""
    docs = field_docs(kind)
    blank = kind()
    rows = [
        (f"`{name}`", [shown_default(getattr(blank, name)), docs[name].replace("``", "`")])
        for name in kind.__struct_fields__
        if not isinstance(getattr(blank, name), (Struct, dict))
    ]
    return table("Field", ["default", "what"], rows)


def shown_default(value: Any) -> str:
    """A default as TOML writes it."""
    return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"


PASSED: Final[Mapping[str, tuple[str, str]]] = {
    "/v1/chat/completions": (
        "vllm and openai, where nothing is promised; else by the provider, on all backends",
        "constraints, tool calls, number of answers, their ends, adapters",
    ),
    "/v1/completions": ("the same", "the same, without tools"),
    "/v1/responses": ("vllm, openai, lmstudio", "JSON schemas, structured outputs, `guided_*`, tool calls, the end"),
    "/v1/responses/*": ("the server that keeps it", ""),
    "/v1/messages": ("vllm, anthropic, lmstudio", "JSON schemas, tool calls, the end"),
    "/v1/messages/count_tokens": ("vllm, anthropic, lmstudio", "that there is a number"),
    "/v1/embeddings": ("vllm, openai, lmstudio; else by the provider", "a vector for each text, their length"),
    "/v1/rerank": ("vllm", "that there are results"),
    "/v1/score": ("vllm", "that there are scores"),
    "/tokenize": ("vllm", "that there is a count"),
    "/detokenize": ("vllm", "that there is a text"),
}
"""What becomes of requests to the paths that lead to backends, and what is proved of the answers."""


def made_endpoints() -> str:
    """All endpoints, in the order of the table."""
    shown = [route for route in ROUTES if route.spec is not None]
    missing = PASSED.keys() - {route.path for route in shown}
    assert not missing, missing
    rows = [(f"`{route.method} {route.path}`", [route.summary, *PASSED.get(route.path, ("", ""))]) for route in shown]
    return table("Endpoint", ["what it does", "passed on to", "proved"], rows)


def made_figures(make: Callable[[client_page.Found], str]) -> str:
    """A table of what the clients cost, as it was last measured."""
    return make(msgspec.json.decode(CLIENT_FIGURES.read_bytes()))


MADE: Final[Mapping[Path, Mapping[str, Callable[[], str]]]] = {
    PROVIDERS_PAGE: {"providers": made_providers, "capabilities": made_capabilities, "knobs": made_knobs},
    FAULTS_PAGE: {"faults": made_faults, "real faults": made_real_faults, "gateway": made_gateway_faults},
    KEYS_PAGE: {
        "metrics": made_metrics,
        "settings": partial(made_fields, GatewayConfig),
        "backend": partial(made_fields, BackendConfig),
        "limits": partial(made_fields, Limits),
    },
    ENDPOINTS_PAGE: {"endpoints": made_endpoints},
    SPEED_PAGE: {
        name: partial(made_figures, make)
        for name, make in (
            ("goals", client_page.goals),
            ("costs", client_page.costs),
            ("imports", client_page.imports),
        )
    },
}
"""Parts of pages, by the name in the comment that stands before each."""


def with_tables(path: Path) -> str:
    """A page with its tables as they are today."""
    page = path.read_text(encoding="utf-8")
    for name, make in MADE[path].items():
        head, begin, rest = page.partition(f"<!-- made: {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        assert end, name
        page = f"{head}{begin}\n{make()}\n{end}{tail}"
    return page


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    VERSIONS_PAGE: versions_page,
    **{path: partial(with_tables, path) for path in MADE},
}


def main(arguments: Sequence[str]) -> int:
    """Writes the pages, or checks them."""
    code = 0
    for path, make in PAGES.items():
        made = make()
        if "--check" not in arguments:
            path.write_text(made, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.exists() or path.read_text(encoding="utf-8") != made:
            print(f"{path.relative_to(ROOT)} is out of date: python scripts/make_docs.py")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
