"""What an answer must be, and the proof that it is.

A constraint knows nothing of any server. It compiles itself locally before anything is sent (a regex that does not
compile kills some server versions), proves a finished text, and can cut an unfinished one back to the longest prefix
that satisfies it. Regexes, choices and grammars run on llguidance, whose matching takes linear time whatever the
pattern; JSON is validated by jsonschema-rs. Regexes are Rust's: Unicode classes, no look-around, no back-references.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import msgspec

from .errors import InvalidConstraintError
from .matching import byte_tokenizer, gave_up, limits, steps
from .pattern_cost import MOST, grammar_size, regex_size, schema_size
from .schema_cost import UNCOUNTED, parts, refers, too_costly

if TYPE_CHECKING:
    from llguidance import LLMatcher


class Proof(msgspec.Struct, frozen=True):
    """The outcome of checking a text against a constraint."""

    holds: bool
    checker: str
    """What checked it: ``llguidance``, ``jsonschema-rs``, ``membership``, ``structure``; ``none`` if nothing could."""
    why: str | None = None
    """Where and how the text departs from the constraint."""


class Constraint(ABC):
    """Base of all constraints. Instances are immutable and compared by value."""

    kind: ClassVar[str]
    """Its name in vLLM's requests: ``regex``, ``json``, ``choice``, ``grammar`` or ``structural_tag``."""

    @property
    @abstractmethod
    def value(self) -> Any:
        """The constraint as it is sent."""

    @abstractmethod
    def check(self) -> None:
        """Compiles the constraint locally.

        Raises:
            InvalidConstraintError: It does not compile; carries the engine's own message.
        """

    @abstractmethod
    def prove(self, text: str) -> Proof:
        """Checks a whole text."""

    @abstractmethod
    def begins(self, text: str) -> Proof:
        """Checks the beginning of a text: whether it can still become one that satisfies the constraint."""

    @abstractmethod
    def complete(self, text: str) -> bool:
        """Whether the text satisfies the constraint and nothing could follow: a length limit cut nothing off."""

    def trim(self, text: str) -> str | None:
        """The longest prefix of ``text`` that satisfies the constraint, or ``None`` if there is none."""
        return None

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Constraint) and other.value == self.value

    def __hash__(self) -> int:
        return hash((self.kind, msgspec.json.encode(self.value)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class Matched(Constraint):
    """A constraint that llguidance matches byte by byte."""

    @abstractmethod
    def compiled(self) -> str:
        """The grammar in llguidance's own form."""

    def _matcher(self, length: int = 0) -> LLMatcher:
        """A matcher for a text of this length."""
        if length > _SHARED:
            return self.new_matcher()
        master = _master(self)
        if master.left < length:
            master.matcher, master.left = self.new_matcher(), _SHARED
        master.left -= length
        return master.matcher.deep_copy()

    def _drop(self, matcher: LLMatcher) -> None:
        """One that gave up has filled what all copies share: the next text gets a new one."""
        if matcher.is_error():
            _master(self).left = -1

    def new_matcher(self) -> LLMatcher:
        """Compiles the constraint; raises ``InvalidConstraintError`` if it does not compile."""
        from llguidance import LLMatcher

        matcher = LLMatcher(byte_tokenizer(), self.compiled(), log_level=0, limits=limits())
        problem = matcher.get_error()
        if problem:
            raise InvalidConstraintError(
                f"the {self.kind} does not compile: {_first_cause(problem)}",
                why=problem.strip(),
                hint=_HINTS[self.kind],
            )
        return matcher

    def check(self) -> None:
        self._matcher()

    def prove(self, text: str) -> Proof:
        matcher = self._matcher(len(text))
        begun = self._follow(matcher, text)
        if begun.holds and not matcher.is_accepting():
            return Proof(False, "llguidance", f"fits the {self.kind} so far, but ends before it is complete")
        return begun

    def begins(self, text: str) -> Proof:
        return self._follow(self._matcher(len(text)), text)

    def _follow(self, matcher: LLMatcher, text: str) -> Proof:
        data = text.encode("utf-8", "surrogatepass")
        fitting = sum(steps(matcher, data))
        if fitting == len(data):
            return Proof(True, "llguidance")
        if matcher.validate_tokens([data[fitting]]) or gave_up(matcher):  # it fits: only the time was over
            self._drop(matcher)
            return Proof(False, "llguidance", f"the {self.kind} is too complex to be checked on this text")
        at = len(data[:fitting].decode("utf-8", "ignore"))
        return Proof(False, "llguidance", f"departs from the {self.kind} at character {at}: {text[at : at + 20]!r}")

    def complete(self, text: str) -> bool:
        matcher = self._matcher(len(text))
        data = text.encode("utf-8", "surrogatepass")
        fits = sum(steps(matcher, data)) == len(data)
        self._drop(matcher)
        matcher.consume_tokens([])  # of an empty text, it would not know yet that it is at its end
        return fits and matcher.is_accepting() and matcher.is_stopped()

    def trim(self, text: str) -> str | None:
        ends, _ = self.accepted(text)
        return text[: max(ends)] if ends else None

    def accepted(self, text: str) -> tuple[frozenset[int], bool]:
        """The lengths of the beginnings that satisfy the constraint, and whether more could follow the whole text."""
        matcher = self._matcher(len(text))
        data = text.encode("utf-8", "surrogatepass")
        ends = {0} if matcher.is_accepting() else set()
        fitting = characters = 0
        for position, _ in enumerate(steps(matcher, data, 1), start=1):
            fitting = position
            if position == len(data) or data[position] & 0xC0 != 0x80:  # the next byte begins another character
                characters += 1
                if matcher.is_accepting():
                    ends.add(characters)
        self._drop(matcher)
        return frozenset(ends), fitting == len(data) and not matcher.is_stopped()


class _Master:
    """A compiled constraint; a copy costs a thousandth of another compilation."""

    def __init__(self, constraint: Matched) -> None:
        self.matcher = constraint.new_matcher()
        self.left = _SHARED


_master: Final = lru_cache(maxsize=32)(_Master)
_SHARED: Final = 20_000
"""Characters that may be held against copies of one matcher: they share what their lexer learns, which has a limit."""


class Regex(Matched):
    """The whole text matches a regular expression.

    Args:
        pattern: Rust syntax; ``^`` and ``$`` around the whole are allowed and change nothing.
    """

    kind = "regex"

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    @property
    def value(self) -> str:
        return self.pattern

    def compiled(self) -> str:
        from llguidance import LLMatcher

        _check_size("regex", regex_size(self.pattern) - len(self.pattern))
        return LLMatcher.grammar_from_regex(self.pattern)


class Grammar(Matched):
    """The whole text is a sentence of a context-free grammar.

    Args:
        text: The grammar, in GBNF/EBNF (``root ::= ...``) or Lark (``start: ...``).
    """

    kind = "grammar"

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def value(self) -> str:
        return self.text

    def compiled(self) -> str:
        from llguidance import LLMatcher
        from llguidance.gbnf_to_lark import any_to_lark

        if self.text.count("::=") > _MOST_GBNF_RULES:
            raise InvalidConstraintError(
                "the grammar does not compile: it has too many rules",
                why=f"it has {self.text.count('::=')} rules (::=), and {_MOST_GBNF_RULES} are taken in this form",
                hint="write it as a Lark grammar (start: ...), whose rules cost a hundredth",
            )
        try:
            lark = any_to_lark(self.text)
            _check_size("grammar", grammar_size(lark) - len(lark))
            return LLMatcher.grammar_from_lark(lark)
        except InvalidConstraintError:
            raise
        except Exception as error:  # the converter raises bare Exception for a missing root rule
            raise InvalidConstraintError(
                f"the grammar does not compile: {error}", why=str(error), hint=_HINTS["grammar"]
            ) from error


class Choice(Constraint):
    """The text is one of the options.

    Args:
        options: At least one string; none of them empty.
    """

    kind = "choice"

    def __init__(self, options: Sequence[str]) -> None:
        self.options = list(options) if not isinstance(options, str) else [options]

    @property
    def value(self) -> list[str]:
        return self.options

    def check(self) -> None:
        if not self.options or not all(isinstance(option, str) and option for option in self.options):
            raise InvalidConstraintError(
                "the choice does not compile: it needs at least one option, and none may be empty",
                why=f"the options are {self.options!r}",
                hint="give a list of non-empty strings",
            )

    def begins(self, text: str) -> Proof:
        if any(option.startswith(text) for option in self.options):
            return Proof(True, "membership")
        return Proof(False, "membership", f"none of the {len(self.options)} options begins with {text[:60]!r}")

    def complete(self, text: str) -> bool:
        return text in self.options and not any(o != text and o.startswith(text) for o in self.options)

    def prove(self, text: str) -> Proof:
        if text in self.options:
            return Proof(True, "membership")
        return Proof(False, "membership", f"{text[:60]!r} is none of the {len(self.options)} options")


class JsonSchema(Constraint):
    """The text is a JSON document that satisfies a JSON Schema.

    Args:
        schema: A schema as ``dict`` or ``bool``, as a JSON string, or a pydantic model class.
    """

    kind = "json"

    def __init__(self, schema: Any) -> None:
        self.schema = _schema_of(schema)

    @cached_property
    def _cost(self) -> int:
        """Work for each character of a document, at most; 0 where that has to be counted."""
        return 0 if refers(self.schema) else parts(self.schema)

    @property
    def value(self) -> Any:
        return self.schema

    def check(self) -> None:
        import jsonschema_rs

        try:
            _check_size("json", schema_size(self.schema))
            self._validator()
        except RecursionError as error:
            raise InvalidConstraintError(
                "the json does not compile: it is nested too deeply", why=str(error)
            ) from error
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise InvalidConstraintError(
                f"the json does not compile: {_first_cause(str(error))}", why=str(error), hint=_HINTS["json"]
            ) from error

    def _validator(self) -> Any:
        written = msgspec.json.encode(self.schema)
        return (_kept if len(written) <= _KEPT_BYTES else _compiled)(_Written(self.schema, written))

    def begins(self, text: str) -> Proof:
        """Looks at JSON's own syntax only: what the schema says of an unfinished document stays open."""
        return _JsonSyntax().begins(text)

    def complete(self, text: str) -> bool:
        # A number may be the beginning of a longer one; every other document has an end of its own.
        return self.prove(text).holds and not text.rstrip()[-1].isdigit()

    def prove(self, text: str) -> Proof:
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            return Proof(False, "jsonschema-rs", f"not a JSON document: {error}")
        except RecursionError:
            return Proof(False, "jsonschema-rs", "the document is nested too deeply to be checked")
        if (not self._cost or self._cost * len(text) > UNCOUNTED) and too_costly(self.schema, document, len(text)):
            return Proof(False, "jsonschema-rs", _TOO_MANY_CHECKS)
        validator = self._validator()
        if validator.is_valid(document):
            return Proof(True, "jsonschema-rs")
        import jsonschema_rs

        try:
            validator.validate(document)  # collects no more than the first fault; a list of all took 30 s
        except jsonschema_rs.ValidationError as fault:
            return Proof(False, "jsonschema-rs", f"at /{'/'.join(map(str, fault.instance_path))}: {fault.message}")
        return Proof(False, "jsonschema-rs", "it does not satisfy the schema")


class _Written(NamedTuple):
    """A schema, and what tells it from all others: to Python, ``True`` is ``1``."""

    schema: Any
    written: bytes

    def __hash__(self) -> int:
        return hash(self.written)


def _compiled(written: _Written) -> Any:
    import jsonschema_rs

    patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000, size_limit=2**21)
    return jsonschema_rs.validator_for(written.schema, retriever=_refuse_remote, pattern_options=patterns)


_KEPT_BYTES: Final = 64 * 1024
_kept: Final = lru_cache(maxsize=64)(_compiled)
"""A schema is checked before a request and held against its answer, and then often asked for again."""


class _JsonSyntax(Grammar):
    """The text is any JSON document of RFC 8259."""

    kind = "json"

    def __init__(self) -> None:
        super().__init__(_RFC_8259)


_RFC_8259: Final = r"""
start: WS? value
value: (object | array | STRING | NUMBER | "true" | "false" | "null") WS?
object: "{" WS? (pair ("," WS? pair)*)? "}"
pair: STRING WS? ":" WS? value
array: "[" WS? (value ("," WS? value)*)? "]"
WS: /[ \t\n\r]+/
STRING: /"(?:[^"\\\x00-\x1f]|\\(?:["\\\/bfnrt]|u[0-9a-fA-F]{4}))*"/
NUMBER: /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/
"""


_HINTS: Final = {
    "regex": "mend the pattern; it is a Rust regular expression: no look-around, no back-references, no \\b",
    "grammar": "mend the grammar; it is GBNF/EBNF (root ::= ...) or Lark (start: ...)",
    "json": "mend the schema; it is JSON Schema, by default draft 2020-12",
}


def _check_size(kind: str, size: int) -> None:
    if size > MOST:
        raise InvalidConstraintError(
            f"the {kind} does not compile: its repetitions are too many",
            why=f"written out they add {size:,} positions or more, and {MOST:,} are taken",
            hint="bound its repetitions lower, and those within each other most of all",
        )


_MOST_GBNF_RULES: Final = 250
"""Their conversion takes quadratic time: 0.1 s here, 90 s for 10,000 rules."""
_TOO_MANY_CHECKS: Final = (
    "the schema is too costly to be checked on this document: its parts and references lead to too many checks"
)


def _first_cause(problem: str) -> str:
    """The one line of an engine's message that names the cause."""
    lines = [line.strip() for line in problem.strip().splitlines()]
    named = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return named[0] if named else lines[0] if lines else "no reason given"


def _refuse_remote(uri: str) -> Any:
    raise ValueError(f"the schema refers to {uri}, which is never fetched; put it under $defs")


def _schema_of(schema: Any) -> Any:
    if isinstance(schema, str):
        try:
            return msgspec.json.decode(schema)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidConstraintError(
                "guided_json is a string but not JSON", why=str(error), hint="pass a dict, a JSON string or a class"
            ) from error
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        return schema.model_json_schema()
    if isinstance(schema, dict | bool):
        return schema
    raise InvalidConstraintError(
        "guided_json takes a dict, a JSON string or a pydantic model class", why=f"it is {type(schema).__name__}"
    )
