"""Tokens to text, piece by piece, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from abstractcore.providers.local.detokenizer import Detokenizer, StopStrings


def decode(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode("utf-8", "replace")


def decode_words(tokens: Sequence[int]) -> str:
    """As tokenizers with word marks do: the first word of a text loses its space."""
    return "".join(f" {token}" for token in tokens)[1:]


@given(st.binary(max_size=60))
def test_the_pieces_are_the_whole_text_whatever_the_bytes(data: bytes) -> None:
    text = Detokenizer(decode)
    pieces = [text.add(byte) for byte in data]
    assert "".join(pieces) + text.rest() == decode(data)


@given(st.text(max_size=30))
def test_no_piece_holds_half_a_character(written: str) -> None:
    text = Detokenizer(decode)
    pieces = [text.add(byte) for byte in written.encode("utf-8", "ignore")]
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in written
    assert all(piece == "" for byte, piece in zip(written.encode(), pieces, strict=True) if byte >= 0xC0)


@given(st.lists(st.integers(0, 99), min_size=1), st.lists(st.integers(0, 99), min_size=1))
def test_the_first_piece_keeps_the_space_that_it_has_after_the_prompt(prompt: list[int], answer: list[int]) -> None:
    text = Detokenizer(decode_words, prompt)
    pieces = [text.add(token) for token in answer]
    assert decode_words(prompt) + "".join(pieces) == decode_words(prompt + answer)


def test_a_character_comes_with_its_last_byte() -> None:
    text = Detokenizer(decode)
    assert [text.add(byte) for byte in "a€".encode()] == ["a", "", "", "€"]
    assert text.rest() == ""


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_a_text_ends_before_the_first_stop_string(written: str, strings: list[str], data: st.DataObject) -> None:
    stop, pieces, at = StopStrings(strings), [], 0
    while at < len(written) and stop.found is None:
        step = data.draw(st.integers(1, 5))
        pieces.append(stop.add(written[at : at + step]))
        at += step
    found = "".join(pieces) + ("" if stop.found else stop.rest())
    ends = [(written.find(string) + len(string), written.find(string)) for string in strings if string in written]
    assert found == (written[: min(ends)[1]] if ends else written)
    assert (stop.found is not None) == bool(ends)


def test_text_is_held_back_only_while_it_may_become_a_stop_string() -> None:
    stop = StopStrings(["STOP"])
    assert [stop.add(piece) for piece in ("go S", "TO", "RE ", "ST", "OP more")] == ["go ", "", "STORE ", "", ""]
    assert stop.found == "STOP"
    assert stop.add("after") == ""
