from __future__ import annotations

import json
from typing import Any

import pytest

from abstractcore.vllm_facts import HAZARDS, Version, hazard_in, parse_version
from scripts.vllm_probes import probes
from tests.recordings import VERSIONS, Request, engine_deaths, probe_names, recorded

CHAT = "/v1/chat/completions"
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
PROBES = {probe.name: probe for probe in probes()}


def hazard_name(version: str, request: Request) -> str | None:
    body = request.json() if request.body.startswith(b"{") and request.body.endswith(b"}") else {}
    hazard = hazard_in(parse_version(version), request.path, body)
    return hazard.name if hazard else None


def test_what_killed_0_11_0_is_a_hazard_to_it_and_nothing_else_is() -> None:
    seen = {name: hazard_name("0.11.0", recorded("0.11.0", name).request) for name in probe_names("0.11.0")}
    assert {name for name, hazard in seen.items() if hazard} == set(engine_deaths("0.11.0"))
    assert seen["rf_text"] == "text format"
    assert seen["so_empty"] == seen["so_unknown_key"] == "empty constraint"


def test_what_killed_0_8_5_is_a_hazard_to_it() -> None:
    assert hazard_name("0.8.5", recorded("0.8.5", "S /sleep?level=1").request) == "sleep on the CPU"
    assert {"S /is_sleeping", "guided_bad_regex"} <= set(engine_deaths("0.8.5"))
    broken_regex = next(hazard for hazard in HAZARDS if hazard.name == PROBES["guided_bad_regex"].hazard)
    assert broken_regex.concerns((0, 8, 5))


@pytest.mark.parametrize("version", [version for version in VERSIONS if not engine_deaths(version)])
def test_what_a_release_survived_is_no_hazard_to_it(version: str) -> None:
    blamed = {name for name in probe_names(version) if hazard_name(version, recorded(version, name).request)}
    assert blamed == set()


@pytest.mark.parametrize(
    ("version", "body", "expected"),
    [
        ((0, 11, 0), {"response_format": {"type": "text"}}, "text format"),
        ((0, 11, 1), {"response_format": {"type": "text"}}, None),
        ((0, 11, 0), {"response_format": SCHEMA_FORMAT}, None),
        ((0, 11, 0), {"structured_outputs": {"regex": "a"}}, None),
        ((0, 11, 2), {"structured_outputs": {}}, "empty constraint"),
        ((0, 11, 0), {"structured_outputs": {"disable_any_whitespace": True}}, "empty constraint"),
        ((0, 12, 0), {"structured_outputs": {"choice": ["a"]}, "response_format": SCHEMA_FORMAT}, "two constraints"),
        ((0, 14, 1), {"structured_outputs": {"choice": ["a"]}, "response_format": SCHEMA_FORMAT}, "two constraints"),
        ((0, 15, 0), {"structured_outputs": {"choice": ["a"]}, "response_format": SCHEMA_FORMAT}, None),
        ((0, 11, 0), {"guided_regex": "a", "response_format": SCHEMA_FORMAT}, "two constraints"),
        ((0, 10, 2), {"guided_regex": "a", "response_format": SCHEMA_FORMAT}, None),
        ((0, 11, 0), {"guided_regex": None, "structured_outputs": None, "response_format": SCHEMA_FORMAT}, None),
        (None, {"response_format": {"type": "text"}}, "text format"),
        (None, {"messages": []}, None),
    ],
)
def test_hazards_are_seen_in_the_request(version: Version | None, body: dict[str, Any], expected: str | None) -> None:
    hazard = hazard_in(version, CHAT, body)
    assert (hazard.name if hazard else None) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recorded_requests_are_those_of_the_probe_list(version: str) -> None:
    for name in set(probe_names(version)) & set(PROBES):
        sent, probe = recorded(version, name).request, PROBES[name]
        assert (sent.method, sent.path) == (probe.method, probe.path)
        if name == "bad json":
            assert sent.body.decode() == probe.body
        else:
            assert json.loads(sent.body or "null") == json.loads(probe.body or "null")
    assert len(set(probe_names(version)) & set(PROBES)) > 190
