"""What a client wants of a completion: read, held against what is known, and sorted. Pure.

A request with nothing to check goes to a backend of the same protocol as it came (``relay``). One that holds a promise,
or goes to a backend of another protocol, goes through the provider, which negotiates and proves (``options``).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from ...wire.failure import UNREADABLE
from ..errors import LONGEST_NAME, GatewayError
from ..fields import CHAT, PROMISES
from .types import MOST_CHOICES, READERS, Sampling


class Wanted(msgspec.Struct):
    """A request, each field still as the client wrote it."""

    path: str
    body: bytes
    fields: dict[str, msgspec.Raw]
    model: str
    stream: bool
    n: int

    @property
    def choices(self) -> int:
        """How many choices the answer has: ``n`` for each prompt."""
        prompt = self.fields.get("prompt")
        return self.n if prompt is None or bytes(prompt)[:1] != b"[" else self.n * _prompts(prompt)

    def drop_idle(self) -> None:
        """Takes out the promises that promise nothing, as some clients always send them: what goes on is the same.

        One of them, a ``response_format`` of type text, kills the engine of vLLM 0.11.0.
        """
        idle = [name for name in PROMISES & self.fields.keys() if _is_idle(name, bytes(self.fields[name]))]
        if idle:
            for name in idle:
                del self.fields[name]
            self.body = b""

    def add(self, fields: Mapping[str, Any]) -> None:
        """Adds what the client has not said itself."""
        for name, value in fields.items():
            if name not in self.fields:
                self.fields[name] = msgspec.Raw(_ENCODER.encode(value))
                self.body = b""

    def with_model(self, model: str | None) -> bytes:
        """The body as it is passed on: with the backend's own name of the model."""
        if model == self.model and self.body:
            return self.body
        return _ENCODER.encode({**self.fields, "model": model})


_T = TypeVar("_T")
_ENCODER: Final = msgspec.json.Encoder()
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FALSE: Final = (b"null", b"false")


def _is_idle(name: str, value: bytes) -> bool:
    match name:
        case "use_beam_search" | "emulate" | "guided_json_object":
            return value in _FALSE
        case "best_of":
            return value in (b"null", b"1")
        case "tools":
            return value == b"null" or value.strip(b"[] \n\r\t") == b""
        case "response_format":
            return value == b"null" or _TEXT.fullmatch(value) is not None
    return value == b"null"


_TEXT: Final = re.compile(rb'\{\s*"type"\s*:\s*"text"\s*\}')


def _prompts(raw: msgspec.Raw) -> int:
    """How many prompts a list holds: token ids are one, lists of them or texts several."""
    prompts = decoded("prompt", raw, _LIST)
    return len(prompts) if prompts and not isinstance(prompts[0], int) else 1


_LIST: Final = msgspec.json.Decoder(list[Any])
_MISSING: Final = re.compile(r"missing required field `(\w+)`")


def read(body: bytes, path: str = CHAT) -> Wanted:
    """Reads a request.

    Raises:
        GatewayError: It is no JSON object, names no model, or a field has the wrong type; says where.
    """
    fields = read_fields(body)
    known: Sampling = typed(body, READERS[path])
    n = known.n
    if n is not None and not 1 <= n <= MOST_CHOICES:
        raise GatewayError(f"n must be between 1 and {MOST_CHOICES}; it is {n}", code="invalid_value", param="n")
    return Wanted(path, body, fields, known.model, bool(known.stream), n or 1)


def read_fields(body: bytes) -> dict[str, msgspec.Raw]:
    """The fields of any request, each as the client wrote it; one of them is its model.

    Raises:
        GatewayError: It is no JSON object, has a field twice, or names no model.
    """
    try:
        if not body.isascii():
            body.decode()  # fields of no known type are not looked at, so nothing else would see it
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    except UNREADABLE as error:
        raise _no_json(body, error) from None
    _check_twice(body, fields)
    if "model" not in fields:
        raise GatewayError("the request names no model", code="missing_field", param="model")
    return fields


def typed(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """All fields of known types, held to them.

    Raises:
        GatewayError: One has the wrong type; names it.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise wrong_type(error) from None
    except UNREADABLE as error:
        raise _no_json(body, error) from None


def decoded(name: str, raw: msgspec.Raw, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The value of a field.

    Raises:
        GatewayError: It has the wrong type.
    """
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise wrong_type(error, name) from None


def wrong_type(error: msgspec.ValidationError, below: str = "") -> GatewayError:
    """The refusal of a value that is not of its type.

    Args:
        error: What msgspec says.
        below: The field in which it looked.
    """
    text = str(error)
    inner = text.rpartition("`$")[2].rstrip("`") if "`$" in text else ""
    where = f"{below}{inner}".removeprefix(".") or None
    if missing := _MISSING.search(text):
        where = f"{where}.{missing[1]}" if where else missing[1]
        return GatewayError(f"the field {where} is missing", code="missing_field", param=where)
    return GatewayError(
        f"the request is not valid: {text.partition(' - at ')[0]}" + (f" at {where}" if where else ""),
        code="invalid_type",
        param=where,
    )


def _no_json(body: bytes, error: Exception) -> GatewayError:
    why = str(error)
    if not body.strip():
        why = "it is empty"
    elif isinstance(error, RecursionError):
        why = "it is nested too deeply"
    elif isinstance(error, UnicodeDecodeError):
        why = f"byte {error.start} is no UTF-8"
    elif "(byte" not in why:
        try:
            json.loads(body)  # says where, which msgspec does not of an end that comes too soon
        except json.JSONDecodeError as found:
            why = f"{found.msg} (byte {len(found.doc[: found.pos].encode('utf-8', 'surrogatepass'))})"
        except RecursionError:
            why = "it is nested too deeply"
        else:
            why = "a string in it has half of a surrogate pair"
    return GatewayError(f"the request's body is no JSON: {why}", code="invalid_json")


def _check_twice(body: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
    """Refuses a field that is there twice: which of them counts would be anybody's guess.

    A body of the size that its fields have, written the usual ways, holds nothing else and needs no second look.
    """
    size = sum(map(len, fields)) + sum(map(len, fields.values())) + 4 * len(fields) + 1
    if len(body) in (size, size + 2 * len(fields) - 1):
        return
    try:
        pairs = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise _no_json(body, error) from None
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            short = name[:LONGEST_NAME]
            raise GatewayError(f"the field {short!r} is there twice", code="duplicate_field", param=short)
        seen.add(name)


def check_fields(names: Iterable[str], known: Collection[str], *, hidden: bool = False) -> None:
    """Refuses fields that nobody would obey.

    Args:
        names: Of the request.
        known: What somebody does obey.
        hidden: The backend does not say which fields it reads, so ``known`` is what all versions of it do.

    Raises:
        GatewayError: Names the field and the nearest known one.
    """
    for full in names:
        if full in known:
            continue
        name = full[:LONGEST_NAME]  # megabytes in place of a name are neither compared nor sent back
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "leave it out"
        if name == "extra_body":
            hint = (
                "its fields belong at the top level: the OpenAI SDK merges extra_body there, on the wire it is nothing"
            )
        raise GatewayError(
            f"unknown field {name!r}",
            code="unknown_field",
            param=name,
            why="the backend hides which fields it reads, and not all versions of it know this one"
            if hidden
            else "the backend does not list it: it would be ignored",
            hint=hint,
        )
