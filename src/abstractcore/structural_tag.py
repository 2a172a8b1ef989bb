"""A constraint made of parts: free text, and tagged pieces that follow a schema, regex or grammar.

The forms are those of xgrammar, which vLLM's ``structural_tag`` takes: ``{"type": "structural_tag", "format": {...}}``,
the format alone, or the older ``{"structures": [...], "triggers": [...]}``. The proof follows the structure through the
text and holds each piece against its own constraint. Forms that speak of tokens rather than of text can't be followed;
an answer to one of those is not proved, and its metadata says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, NoReturn

import msgspec

from .constraint import Constraint, Grammar, JsonSchema, Proof, Regex
from .errors import InvalidConstraintError

Format = Mapping[str, Any]
Spans = frozenset[int]
"""Where a format may end, as character positions."""


class StructuralTag(Constraint):
    """The text follows a structural tag.

    Args:
        tag: The tag or its format, as ``dict`` or JSON string.

    Raises:
        InvalidConstraintError: It is neither.
    """

    kind = "structural_tag"

    def __init__(self, tag: Mapping[str, Any] | str) -> None:
        self.tag = _tag_of(tag)

    @property
    def value(self) -> dict[str, Any]:
        return self.tag

    @property
    def is_legacy(self) -> bool:
        """Whether it is in the older form, with structures and triggers."""
        return "structures" in self.tag

    @property
    def format(self) -> Format:
        """The format; that of the older form is its equal in the newer one."""
        if not self.is_legacy:
            found: Format = self.tag["format"]
            return found
        tags = [
            {
                "type": "tag",
                "begin": each["begin"],
                "content": {"type": "json_schema", "json_schema": each.get("schema", True)},
                "end": each["end"],
            }
            for each in self.tag["structures"]
        ]
        return {"type": "triggered_tags", "triggers": self.tag["triggers"], "tags": tags}

    @property
    def unprovable(self) -> str | None:
        """The part that a text can't be held against, if there is one."""
        return next((name for name in map(_beyond_text, _parts(self.format)) if name), None)

    def check(self) -> None:
        try:
            for part in _parts(self.format):
                _check(part)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidConstraintError(
                f"the structural tag does not compile: a part lacks {error}",
                why=f"{type(error).__name__}: {error}",
                hint='its form is {"type": "structural_tag", "format": {"type": ..., ...}}',
            ) from error

    def prove(self, text: str) -> Proof:
        if self.unprovable:
            return Proof(True, "none", f"{self.unprovable} can't be held against a text")
        if len(text) in _Follower(text).ends(self.format, 0):
            return Proof(True, "structure")
        return Proof(False, "structure", "the text does not follow the structural tag to its end")

    def begins(self, text: str) -> Proof:
        if self.unprovable:
            return Proof(True, "none", f"{self.unprovable} can't be held against a text")
        follower = _Follower(text)
        if len(text) in follower.ends(self.format, 0) or follower.open:
            return Proof(True, "structure")
        return Proof(False, "structure", "no text that follows the structural tag begins like this")

    def complete(self, text: str) -> bool:
        if self.unprovable:
            return False
        follower = _Follower(text)
        return len(text) in follower.ends(self.format, 0) and not follower.open

    def trim(self, text: str) -> str | None:
        ends = frozenset() if self.unprovable else _Follower(text).ends(self.format, 0)
        return text[: max(ends)] if ends else None


def _tag_of(tag: Mapping[str, Any] | str) -> dict[str, Any]:
    found: Any = tag
    if isinstance(tag, str):
        try:
            found = msgspec.json.decode(tag)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidConstraintError("the structural tag is a string but not JSON", why=str(error)) from error
    if isinstance(found, Mapping):
        if "format" in found or ("structures" in found and "triggers" in found):
            return {"type": "structural_tag", **found}
        if isinstance(found.get("type"), str) and found["type"] != "structural_tag":
            return {"type": "structural_tag", "format": dict(found)}
    raise InvalidConstraintError(
        "a structural tag is a dict with a format, or with structures and triggers",
        why=f"it is {type(found).__name__}" + (f" with {', '.join(found)}" if isinstance(found, Mapping) else ""),
    )


def _parts(part: Format) -> Iterator[Format]:
    """A format and all formats in it."""
    yield part
    for name in ("content", "elements", "tags"):
        inner = part.get(name, ())
        for each in inner if isinstance(inner, list | tuple) else (inner,):
            yield from _parts(each)


def _beyond_text(part: Format) -> str | None:
    """What of a format a text does not show: tokens, and spellings of JSON other than JSON."""
    kind = str(part["type"])
    if kind not in _FOLLOWERS:
        return kind or "a part without a name"
    for name in ("begin", "end"):
        if isinstance(part.get(name), Mapping):
            return f"a {name} that is a token"
    if part.get("max_tokens") is not None:
        return "max_tokens"
    if kind == "json_schema":
        return next((name for name in ("any_order", "excludes") if part.get(name)), None) or (
            "a style of JSON" if part.get("style", "json") != "json" else None
        )
    return None


def _check(part: Format) -> None:
    kind = part["type"]
    lacking = [name for name in _NEEDED.get(kind, ()) if name not in part]
    if lacking:
        raise KeyError(lacking[0])
    for name, kinds in _TYPES.items():
        if not isinstance(part.get(name), kinds | None) and not (name in ("begin", "end") and _beyond_text(part)):
            raise TypeError(f"{name} of another type than {type(part[name]).__name__}")
    if kind == "json_schema":
        JsonSchema(part["json_schema"]).check()
    elif kind == "regex":
        Regex(part["pattern"]).check()
    elif kind == "grammar":
        Grammar(part["grammar"]).check()
    elif kind == "triggered_tags":
        for tag in part["tags"]:
            begins = [trigger for trigger in part["triggers"] if trigger and tag["begin"].startswith(trigger)]
            if not begins:
                raise InvalidConstraintError(
                    f"the structural tag does not compile: {tag['begin']!r} begins with none of its triggers",
                    why=f"the triggers are {part['triggers']!r}",
                )


class _Follower:
    """Follows formats through a text.

    ``open`` is set when the text ends where a format could have gone on.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.open = False
        self._known: dict[tuple[int, int], Spans] = {}

    def ends(self, part: Format, start: int) -> Spans:
        """Where a format that begins at ``start`` may end."""
        key = (id(part), start)
        if key not in self._known:
            self._known[key] = frozenset()  # a part within itself adds nothing
            self._known[key] = _FOLLOWERS[part["type"]](self, part, start)
        return self._known[key]

    def literal(self, value: str, start: int) -> Spans:
        if self.text.startswith(value, start):
            return frozenset({start + len(value)})
        if value.startswith(self.text[start:]):
            self.open = True
        return frozenset()

    def const(self, part: Format, start: int) -> Spans:
        return self.literal(part["value"], start)

    def any_text(self, part: Format, start: int) -> Spans:
        last = self.free_until(part.get("excludes", ()), start)
        if part.get("max_chars") is not None:
            last = min(last, start + part["max_chars"])
        if last == len(self.text):
            self.open = True
        return frozenset(range(start, last + 1))

    def free_until(self, forbidden: Any, start: int) -> int:
        """The furthest end of a text from ``start`` on that holds none of some strings."""
        found = [self.text.find(each, start) + len(each) - 1 for each in forbidden if each in self.text[start:]]
        return min(found, default=len(self.text))

    def json(self, part: Format, start: int) -> Spans:
        constraint = JsonSchema(part["json_schema"])
        begin = start
        while self.text[begin : begin + 1] in (" ", "\t", "\n", "\r"):
            begin += 1
        try:
            _, end = _JSON.raw_decode(self.text, begin)
        except (JSONDecodeError, RecursionError):
            self.open = self.open or constraint.begins(self.text[start:]).holds
            return frozenset()
        if end == len(self.text) and self.text[-1].isdigit():
            self.open = True
        return frozenset({end}) if constraint.prove(self.text[begin:end]).holds else frozenset()

    def pattern(self, part: Format, start: int) -> Spans:
        constraint = Regex(part["pattern"]) if part["type"] == "regex" else Grammar(part["grammar"])
        accepted, goes_on = constraint.accepted(self.text[start:])
        self.open = self.open or goes_on
        return frozenset(start + end for end in accepted)

    def sequence(self, part: Format, start: int) -> Spans:
        at = frozenset({start})
        for element in part["elements"]:
            at = self._after(at, element)
        return at

    def either(self, part: Format, start: int) -> Spans:
        return frozenset().union(*(self.ends(element, start) for element in part["elements"]))

    def tag(self, part: Format, start: int) -> Spans:
        inside = frozenset().union(*(self.ends(part["content"], at) for at in self.literal(part["begin"], start)))
        stops = [part["end"]] if isinstance(part["end"], str) else part["end"]
        return frozenset(end for at in inside for stop in stops for end in self.literal(stop, at))

    def repeat(self, part: Format, start: int) -> Spans:
        least, most = _TIMES.get(part["type"]) or (part["min"], part["max"])
        at, times, found = frozenset({start}), 0, frozenset[int]()
        while at and (most < 0 or times <= most):
            if times >= least:
                if at <= found:
                    break
                found |= at
            if times == most:
                break
            at, times = self._after(at, part["content"]), times + 1
            if times > least + len(self.text) + 1:
                break
        return found

    def separated(self, part: Format, start: int) -> Spans:
        at = {end for tag in part["tags"] for end in self.ends(tag, start)}
        found = set(at) if part.get("at_least_one") else {start, *at}
        while at and not part.get("stop_after_first"):
            nexts = {begin for each in at for begin in self.literal(part["separator"], each)}
            at = {end for begin in nexts for tag in part["tags"] for end in self.ends(tag, begin)} - found
            found |= at
        return frozenset(found)

    def triggered(self, part: Format, start: int) -> Spans:
        forbidden = [*part["triggers"], *part.get("excludes", ())]
        found: set[int] = set()
        seen: set[tuple[int, bool]] = set()
        waiting = [(start, False)]
        while waiting:
            state = at, after_tag = waiting.pop()
            if state in seen:
                continue
            seen.add(state)
            if after_tag and part.get("stop_after_first"):
                found.add(at)
                continue
            last = self.free_until(forbidden, at)
            if last == len(self.text):
                self.open = True
            if after_tag or not part.get("at_least_one"):
                found.update(range(at, last + 1))
            for trigger in part["triggers"]:
                begin = self.text.find(trigger, at)
                if 0 <= begin <= last:
                    fitting = (tag for tag in part["tags"] if tag["begin"].startswith(trigger))
                    waiting += [(end, True) for tag in fitting for end in self.ends(tag, begin)]
        return frozenset(found)

    def _after(self, starts: Spans, part: Format) -> Spans:
        return frozenset().union(*(self.ends(part, at) for at in starts))


def _refuse_constant(name: str) -> NoReturn:
    raise JSONDecodeError(f"{name} is no JSON", name, 0)


_JSON: Final = JSONDecoder(parse_constant=_refuse_constant)
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "const_string": ("value",),
    "optional": ("content",),
    "or": ("elements",),
    "plus": ("content",),
    "repeat": ("content", "min", "max"),
    "sequence": ("elements",),
    "star": ("content",),
    "tag": ("begin", "content", "end"),
    "tags_with_separator": ("tags", "separator"),
}
_TYPES: Final[Mapping[str, Any]] = {
    "begin": str,
    "elements": list | tuple,
    "end": str | list | tuple,
    "excludes": list | tuple,
    "grammar": str,
    "max": int,
    "max_chars": int,
    "min": int,
    "pattern": str,
    "separator": str,
    "tags": list | tuple,
    "triggers": list | tuple,
    "value": str,
}
_TIMES: Final = {"optional": (0, 1), "star": (0, -1), "plus": (1, -1)}
_FOLLOWERS: Final[Mapping[str, Callable[[_Follower, Format, int], Spans]]] = {
    "any_text": _Follower.any_text,
    "const_string": _Follower.const,
    "grammar": _Follower.pattern,
    "json_schema": _Follower.json,
    "optional": _Follower.repeat,
    "or": _Follower.either,
    "plus": _Follower.repeat,
    "regex": _Follower.pattern,
    "repeat": _Follower.repeat,
    "sequence": _Follower.sequence,
    "star": _Follower.repeat,
    "tag": _Follower.tag,
    "tags_with_separator": _Follower.separated,
    "triggered_tags": _Follower.triggered,
}
