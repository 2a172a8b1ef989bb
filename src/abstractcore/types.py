"""What goes into a backend and what comes out, the same for all providers.

The records are ``msgspec.Struct``: typed, compared by value, and cheap enough to make one for every streamed token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

FinishReason: TypeAlias = str
"""``stop``, ``length``, ``tool_calls``, ``abort`` or whatever the server reports."""
OnCut: TypeAlias = Literal["raise", "trim"]
Thinking: TypeAlias = bool | int | str
"""Whether a model reasons before it answers: on or off, at most so many tokens, or an effort such as ``low``."""


class ToolCall(Struct, kw_only=True):
    """A tool that the model wants to have called."""

    name: str
    arguments: dict[str, Any]
    call_id: str | None = None
    raw_arguments: str | None = None
    """What the model wrote in place of a JSON object; only seen in errors."""


class Message(Struct):
    """One message of a conversation."""

    role: str
    """``system``, ``user``, ``assistant`` or ``tool``."""
    content: str | list[dict[str, Any]]
    """Text, or content parts in OpenAI's form."""
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_blocks: list[dict[str, Any]] | None = None
    """As in ``GenerateResponse``."""


class Usage(Struct):
    """Token counts as the server reports them. Readable by attribute and, as in earlier versions, by key."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    """Input tokens that the server took from its prefix cache, if it says."""
    cache_written_tokens: int | None = None
    """Input tokens that the server put into its cache, if it says: clouds bill them apart."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __getitem__(self, key: str) -> int:
        name = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}.get(key, key)
        if name not in ("input_tokens", "output_tokens", "total_tokens"):
            raise KeyError(key)
        value: int = getattr(self, name)
        return value

    def get(self, key: str, default: int | None = None) -> int | None:
        """Like ``dict.get``."""
        try:
            return self[key]
        except KeyError:
            return default


class TokenLogprob(Struct):
    """A generated token with its log probability (natural logarithm)."""

    token: str
    logprob: float
    top: dict[str, float] = field(default_factory=dict)
    """The likeliest tokens at this place, as many as were asked for."""


class Alternative(Struct, kw_only=True):
    """One of several answers to the same prompt (``n`` or beam search)."""

    index: int
    content: str
    finish_reason: FinishReason | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    reasoning_blocks: list[dict[str, Any]] | None = None
    """As in ``GenerateResponse``."""
    logprobs: list[TokenLogprob] | None = None
    score: float | None = None
    """Sum of the token log probabilities, where they are known; after a beam search the score that orders the beams."""


class GenerateResponse(Struct, kw_only=True):
    """An answer, or one chunk of a streamed answer.

    In a stream ``content`` holds what is new. The last chunk has no content; it carries ``finish_reason``, ``usage``
    and ``metadata``, and only comes when the stream ended well and a constraint, if any, was proved.
    """

    content: str = ""
    model: str | None = None
    """The model or adapter that answered, in the server's words."""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None
    reasoning_blocks: list[dict[str, Any]] | None = None
    """The reasoning in the backend's own form, signed; Anthropic wants it back, as it is, with the calls' results."""
    logprobs: list[TokenLogprob] | None = None
    alternatives: list[Alternative] = field(default_factory=list)
    """The other answers, best first after a beam search, in the server's order otherwise."""
    index: int = 0
    """In a stream with several answers: the one that this chunk belongs to."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """``request_id``, ``server_version``, ``constraint`` (kind, spelling, proof), ``emulated``, ``timings``, and
    ``retries`` where the request was sent more than once."""
    raw_body: bytes | None = None
    """The server's answer as it came; ``None`` in streams."""
    gen_time: float | None = None
    """Milliseconds from the request to the last byte."""
    score: float | None = None
    """That of ``content``, as in ``Alternative``."""
    partial: Any = None
    """In a stream with ``response_model``: the JSON so far as plain data, what is unfinished left out."""
    parsed: Any = None
    """With ``response_model``: the validated instance; in a stream on the last chunk."""

    @property
    def raw_response(self) -> Any:
        """The server's answer as it came, decoded; ``None`` in streams."""
        return None if self.raw_body is None else msgspec.json.decode(self.raw_body)

    @property
    def input_tokens(self) -> int | None:
        """Tokens of the prompt."""
        return self.usage.input_tokens if self.usage else None

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer."""
        return self.usage.output_tokens if self.usage else None

    @property
    def total_tokens(self) -> int | None:
        """Tokens of prompt and answer."""
        return self.usage.total_tokens if self.usage else None

    def has_tool_calls(self) -> bool:
        """Whether the model wants tools to be called."""
        return bool(self.tool_calls)


class Adapter(Struct, frozen=True, eq=False):
    """A LoRA adapter that a server has loaded. It equals its name too: ``"sql" in llm.list_adapters()`` works."""

    name: str
    path: str | None = None
    parent: str | None = None
    """The base model it belongs to."""
    missing_on: tuple[str, ...] = ()
    """Addresses of the replicas that lack it."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Adapter):
            return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)
        return self.name == other if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What a server says about a model that it serves."""

    id: str
    context_length: int | None = None
    """Most tokens of prompt and answer together."""
    parent: str | None = None
    """Set for adapters: their base model."""
    root: str | None = None
    """Where the weights come from: a hub id or a path on the server."""
    owned_by: str | None = None
    adapters: tuple[str, ...] = ()
    """Names of the adapters loaded on this model."""
    loaded: bool | None = None
    """Whether it is in memory now; ``None`` if the server does not say."""
    capabilities: tuple[str, ...] = ()
    """What the model can do beside plain chat, where the server says it: ``embeddings``, ``images``, ``tools``,
    ``thinking``. One with ``embeddings`` does no chat."""


class RankedDocument(Struct, frozen=True):
    """A document and how well it fits a query."""

    index: int
    """Its place among the documents that were given."""
    score: float
    document: str


class BeamSearch(Struct, frozen=True):
    """A search for the likeliest answers."""

    width: int
    """How many beginnings are followed at a time."""
    length_penalty: float = 1.0
    """Scores are divided by the length to this power: above 0 long answers gain, at 0 short ones win."""


class GenerateRequest(Struct, kw_only=True):
    """A request as the plans see it: every option named, nothing decided yet."""

    messages: list[dict[str, Any]]
    """In OpenAI's form."""
    raw_prompt: str | None = None
    """A prompt for the completions endpoint, sent as it is, without a chat template."""
    model: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters by their OpenAI names."""
    max_output_tokens: int | None = None
    n: int = 1
    """How many answers are wanted."""
    beam: BeamSearch | None = None
    best_of: int | None = None
    """Of how many sampled candidates the ``n`` likeliest are wanted."""
    emulate: bool = False
    """Whether a beam search may be replaced by ranked samples where the server can't keep its other promises."""
    logprobs: int | None = None
    """How many of the likeliest tokens to report at each place; 0 for the chosen one only."""
    constraint: Any = None
    """A constraint of ``abstractcore.constraint``."""
    on_cut: OnCut | None = None
    thinking: Thinking | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    priority: int | None = None
    check_length: bool = False
    """Whether the server is asked for the length of the prompt before it is sent."""
    response_model: Any = None
    """The ``structured.ResponseModel`` that the answer is read by; its schema is the constraint."""
    max_retries: int = 2
    """How often an answer that the response model refuses is asked for again."""
    tools: tuple[Any, ...] = ()
    """The ``tools.ToolDefinition`` that the model may call."""
    tool_choice: str = "auto"
    """``auto``, ``required``, ``none`` or a tool's name."""
    parallel_tool_calls: bool | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    allow_unknown: bool = False
    timeout: float | UnsetType | None = UNSET
    """Total seconds."""
    request_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that only some providers know."""
