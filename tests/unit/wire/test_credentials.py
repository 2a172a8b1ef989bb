"""A key that a server repeats goes into nothing that is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abstractcore.errors import ProviderAPIError
from abstractcore.wire.credentials import HIDDEN, hide, secrets_of, without

KEY = "sk-0123456789-abcdef"


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ({"authorization": f"Bearer {KEY}"}, [KEY]),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, ["dXNlcjpwYXNz"]),
        ({"x-api-key": KEY, "content-type": "application/json"}, [KEY]),
        ({"authorization": "Bearer EMPTY"}, []),
        ({}, []),
    ],
)
def test_the_secrets_of_a_request(headers: dict[str, str], secrets: list[str]) -> None:
    assert secrets_of(headers) == secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no such key: {KEY}.", f"no such key: {HIDDEN}."),
        (f"{KEY}{KEY} twice", f"{HIDDEN}{HIDDEN} twice"),
        (f"it begins '{KEY[:12]}'", f"it begins '{HIDDEN}'"),
        (f"cut {KEY[:8]}", f"cut {HIDDEN}"),
        ("nothing of it", "nothing of it"),
    ],
)
def test_a_secret_is_cut_out(text: str, shown: str) -> None:
    assert without(text, [KEY]) == shown


@given(st.text(), st.text(min_size=8), st.text())
def test_whatever_is_around_it(before: str, secret: str, after: str) -> None:
    shown = without(f"{before}{secret}{after}", [secret])
    assert HIDDEN in shown
    assert secret not in shown.replace(HIDDEN, "")


def test_an_error_is_silent_about_it_and_so_is_what_it_came_from() -> None:
    error = ProviderAPIError(f"refused {KEY}", why=f"{KEY}!", server_message=KEY, hint="none")
    error.__cause__ = ValueError(f"header {KEY}")
    error.__cause__.__context__ = error  # a ring has no end
    hide(error, [KEY])
    assert str(error) == f"refused {HIDDEN}\nwhy: {HIDDEN}!\ntry: none"
    assert error.server_message == HIDDEN
    assert KEY not in f"{error!r}{error.__cause__!r}{vars(error)}"
