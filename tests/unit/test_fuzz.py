"""A short run of what ``bench/fuzz.py`` runs for hours: bytes from outside are read or refused, and nothing else.

The inputs follow from their numbers, so every run has the same ones.
"""

from __future__ import annotations

import pytest

from tests.fuzz import TARGETS
from tests.fuzz.mutate import Mutator

INPUTS = 40
"""Of a target whose inputs cost little; a tenth where they cost milliseconds."""


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    mutator = Mutator(name, list(target.seeds()), target.tokens)
    for number in range(INPUTS // 10 if target.slow else INPUTS):
        try:
            target.outcome(mutator.make(number))
        except Exception as fault:
            fault.add_note(f"again: python bench/fuzz.py {name} --again {number}")
            raise


def test_inputs_are_the_same_in_every_run() -> None:
    target = TARGETS["openai-answer"]
    makers = [Mutator("openai-answer", list(target.seeds())) for _ in range(2)]
    assert list(makers[0].many(200)) == list(makers[1].many(200))
