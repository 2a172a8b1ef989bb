"""The pages that are made of data are made of today's data, and what they promise is sent as the releases want it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

from abstractcore.providers.exchange import Job
from abstractcore.vllm_facts import hazard_in, parse_version
from tests.docs.blocks import ROOT
from tests.live import real_faults
from tests.recordings import VERSIONS, schema_properties

SCRIPT = ROOT / "scripts" / "make_docs.py"


@cache
def make_docs() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("make_docs", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", sys.path[:])
        spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_fault_of_a_real_server_is_held_against_it_by_the_test_that_is_named() -> None:
    """By its name in that test; the two processes of the adapter race say themselves what they got."""
    names = {id(fault): name for name, fault in vars(real_faults).items() if isinstance(fault, real_faults.RealFault)}
    assert len(names) == len(real_faults.REAL_FAULTS)
    for fault in real_faults.REAL_FAULTS:
        file, _, test = fault.shown_by.partition("::")
        source = (ROOT / "tests" / "live" / file).read_text(encoding="utf-8")
        body = source.partition(f"def {test}(")[2].partition("\n\n\n")[0]
        assert body, fault.shown_by
        assert f".got(faults.{names[id(fault)]})" in body or fault is real_faults.ADAPTER_RACE, names[id(fault)]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_release_is_sent_what_its_schema_does_not_list_or_what_harms_it(version: str) -> None:
    """For every row of the page, whatever feature it is of."""
    for asked in make_docs().GENERATE:
        outcome = make_docs().decided(version, asked)
        if isinstance(outcome, Job):
            body = outcome.body(stream=asked.stream)
            path = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
            schema = "CompletionRequest" if "prompt" in body else "ChatCompletionRequest"
            assert body.keys() <= schema_properties(version, schema), asked.title
            assert hazard_in(parse_version(version), path, body) is None, asked.title
