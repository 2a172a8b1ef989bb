"""Steps through the library: what ``create_llm`` and ``generate`` promise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ..capability import Capability, Support
from ..errors import InvalidConstraintError, UnsupportedFeatureError
from .step import BrokenPromiseError, NotTriedError, Step

if TYPE_CHECKING:
    from ..types import GenerateResponse
    from .subject import Subject

COLORS: Final = {
    "type": "array",
    "items": {"type": "string", "maxLength": 12, "pattern": "^[A-Za-z ]+$"},
    "minItems": 3,
    "maxItems": 3,
}
DATE: Final = r"\d{4}-\d{2}-\d{2}"
FUNCTION: Final = r"def \w+\([^)]*\):\n(?:\s{4}.*\n)+"
"""It can always go on: the token limit ends it, and the longest part that is whole is kept."""
SUM: Final = 'root ::= digit " + " digit " = " digit digit?\ndigit ::= [0-9]'
_COUNT: Final = 8


def _registry(_: Subject) -> str:
    from ..providers import get_all_providers_status

    names = [row["name"] for row in get_all_providers_status()]
    if "vllm" not in names:
        raise BrokenPromiseError("vllm is no registered provider", why=f"there are: {', '.join(names)}")
    return f"{len(names)} providers: {', '.join(names)}"


def _server(subject: Subject) -> str:
    info = subject.llm.model_info()
    subject.model = info.id
    version = getattr(subject.llm, "server_version", lambda: None)()
    length = f", {info.context_length} tokens" if info.context_length else ""
    return f"{subject.llm.provider}{f' {version}' if version else ''} serves {info.id}{length}"


def _plain(subject: Subject) -> str:
    response = subject.llm.generate("Explain quantum computing in one sentence.", max_tokens=40, temperature=0)
    if not response.content.strip():
        raise BrokenPromiseError("the answer is empty", why=f"it ended with {response.finish_reason}")
    return f"{response.output_tokens} tokens, {_speed(response)}; {_short(response.content)}"


def _stream(subject: Subject) -> str:
    chunks = list(subject.llm.generate("Count from 1 to 10.", max_tokens=40, temperature=0, stream=True))
    texts = [chunk for chunk in chunks if chunk.content]
    last = chunks[-1]
    if len(texts) < 2:
        raise BrokenPromiseError("the stream came in one piece", why=f"{len(texts)} chunk with text")
    first = last.metadata["timings"].get("time_to_first_token")
    return f"{len(texts)} chunks, first after {first * 1e3:.0f} ms, {_speed(last)}, ended with {last.finish_reason}"


def _async(subject: Subject) -> str:
    async def both() -> list[str]:
        answers = await asyncio.gather(
            *(subject.llm.agenerate(f"Name a {what}.", max_tokens=8) for what in ("color", "city"))
        )
        return [answer.content for answer in answers]

    return f"two at once: {' | '.join(map(_short, asyncio.run(both())))}"


def _guided(prompt: str, limit: int, **constraint: Any) -> Any:
    def run(subject: Subject) -> str:
        response = subject.llm.generate(prompt, max_tokens=limit, temperature=0, **constraint)
        return f"{_proof(response)}; {_short(response.content)}"

    return run


def _function(subject: Subject) -> str:
    response = subject.llm.generate(
        "Write a Python function", guided_regex=FUNCTION, on_cut="trim", max_tokens=60, temperature=0
    )
    return f"{_proof(response)}; {_short(response.content)}"


def _proof(response: GenerateResponse) -> str:
    record = response.metadata.get("constraint") or {}
    if not record.get("proved"):
        raise BrokenPromiseError("the answer came without a proof", why=str(record))
    return f"proved by {record['checker']}, sent as {record['spelling']}"


def _broken(subject: Subject) -> str:
    try:
        subject.llm.generate("Anything", guided_regex="(unclosed", max_tokens=4)
    except InvalidConstraintError as error:
        return f"refused before it was sent: {_short(error.message)}"
    raise BrokenPromiseError("a regex that does not compile was answered")


def _unknown(subject: Subject) -> str:
    try:
        subject.llm.generate("Anything", extra_body={"no_such_field": 1}, max_tokens=4)
    except UnsupportedFeatureError as error:
        return f"refused before it was sent: {_short(error.message)}"
    raise BrokenPromiseError("a field that the server does not know was sent, and ignored")


def _beam(subject: Subject) -> str:
    _need(subject, Capability.BEAM_SEARCH)
    response = subject.llm.generate("The capital of France is", use_beam_search=True, best_of=3, max_tokens=8)
    answers = 1 + len(response.alternatives)
    if answers != 3:
        raise BrokenPromiseError(f"a beam search of width 3 gave {answers} answers")
    return f"3 beams, the best: {_short(response.content)}"


def _batch(subject: Subject) -> str:
    result = subject.llm.generate_batch(
        [f"Name a word that begins with {letter}." for letter in "abcdefgh"], max_tokens=8, progress=lambda _: None
    )
    if result.failures:
        raise result.failures[0].error or BrokenPromiseError("an item of the batch failed")
    return f"{_COUNT} prompts in {result.seconds:.1f} s, up to {result.concurrency} at once"


def _adapters(subject: Subject) -> str:
    from ..providers import VLLMProvider

    llm = subject.llm
    _need(subject, Capability.MULTI_LORA)
    if not isinstance(llm, VLLMProvider):
        raise NotTriedError(f"{llm.provider} loads its adapters in another way")
    if subject.adapters:
        said = [_load_and_ask(subject, llm, name, path) for name, path in subject.adapters.items()]
        return "; ".join(said)
    loaded = llm.list_adapters()
    if not loaded:
        raise NotTriedError(
            "no adapter is loaded, and none was named",
            hint="--adapter sql-expert=/models/adapters/sql-lora (the server needs --enable-lora and"
            " VLLM_ALLOW_RUNTIME_LORA_UPDATING=True)",
        )
    return "; ".join(_ask_adapter(subject, adapter.name) for adapter in loaded[:3])


def _load_and_ask(subject: Subject, llm: Any, name: str, path: str) -> str:
    was_there = name in llm.list_adapters()
    llm.load_adapter(name, path)
    try:
        if name not in llm.list_adapters():
            raise BrokenPromiseError(f"the adapter {name} was loaded, but is not in the list")
        return _ask_adapter(subject, name)
    finally:
        if not was_there:
            llm.unload_adapter(name)


def _ask_adapter(subject: Subject, name: str) -> str:
    response = subject.llm.generate("Write SQL query that counts users", model=name, max_tokens=12, temperature=0)
    if response.model != name:
        raise BrokenPromiseError(f"{name} was asked, and {response.model} answered")
    return f"{name} answered: {_short(response.content)}"


def _need(subject: Subject, capability: Capability) -> None:
    if subject.llm.capabilities()[capability] is Support.UNSUPPORTED:
        raise NotTriedError(f"{subject.llm.provider} has no {capability}")


def _speed(response: GenerateResponse) -> str:
    speed = response.metadata["timings"].get("tokens_per_second")
    return f"{speed:.0f} tokens/s" if speed else "speed unknown"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 48 else f"{line[:45]}...")


LIBRARY: Final = (
    Step("library.registry", "providers are registered", _registry),
    Step("library.server", "the server answers and serves a model", _server),
    Step("library.plain", "a plain answer", _plain),
    Step("library.stream", "a streamed answer", _stream),
    Step("library.async", "answers side by side", _async),
    Step("library.json", "guided JSON", _guided("List 3 colors", 80, guided_json=COLORS)),
    Step("library.regex", "guided regex", _guided("When did Apollo 11 land?", 24, guided_regex=DATE)),
    Step("library.function", "guided regex without an end", _function),
    Step("library.grammar", "guided grammar", _guided("Add 2 and 3", 24, guided_grammar=SUM)),
    Step("library.choice", "guided choice", _guided("Is water wet?", 8, guided_choice=["yes", "no"])),
    Step("library.broken", "a broken constraint is refused", _broken),
    Step("library.unknown", "an unknown field is refused", _unknown),
    Step("library.adapters", "adapters are loaded and routed to", _adapters),
    Step("library.beam", "beam search", _beam),
    Step("library.batch", "a batch", _batch),
)
