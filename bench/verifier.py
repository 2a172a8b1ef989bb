"""What it costs to compile constraints and to hold answers against them: everyday ones, and those made to hang.

    python bench/verifier.py [--short]

CPU time of one check, the least of several where it is short. What is refused says so; a refusal counts as answered.
The limit is 0.1 s, and 2 µs more for each byte of the constraint and the text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from abstractcore.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from abstractcore.errors import InvalidConstraintError
from abstractcore.matching import PROOF_SECONDS, PROOF_SECONDS_PER_BYTE

LOAD = os.getloadavg()[0]
RESULTS = Path(__file__).with_name("results")
ROW = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["name", "n"],
    "additionalProperties": False,
}
ROWS = {"type": "array", "items": ROW}
LOOP = {"$defs": {"a": {"anyOf": [{"type": "string"}, {"items": {"$ref": "#/$defs/a"}}]}}, "$ref": "#/$defs/a"}
ARITHMETIC = 'root ::= expr\nexpr ::= term (("+"|"-") term)*\nterm ::= [0-9]+ | "(" expr ")"'
Case = tuple[str, Callable[[], Constraint], str]


def rows(count: int) -> str:
    """An answer with so many objects, 30 bytes each."""
    return json.dumps([{"name": "abcdefghij", "n": each} for each in range(count)])


def everyday(scale: int) -> list[Case]:
    """What people ask for."""
    doubled: dict[str, Any] = {"type": "array"}
    return [
        ("a date", lambda: Regex(r"\d{4}-\d{2}-\d{2}"), "2024-01-01"),
        ("a choice of 10,000", lambda: Choice([f"w{each}" for each in range(10_000)]), "w9999"),
        ("any text, 100 kB", lambda: Regex(r"[\s\S]*"), "ab c\n" * 200 * scale),
        ("words, 100 kB", lambda: Regex(r"(\w+ ?)+"), "word " * 200 * scale),
        ("an object", lambda: JsonSchema(ROW), '{"name": "a", "n": 1}'),
        ("objects, 100 kB", lambda: JsonSchema(ROWS), rows(33 * scale)),
        ("objects, 1 MB", lambda: JsonSchema(ROWS), rows(330 * scale)),
        ("references, 100 kB", lambda: JsonSchema({**LOOP, "$comment": ""}), json.dumps([["a" * 90]] * 10 * scale)),
        ("arithmetic, 10 kB", lambda: Grammar(ARITHMETIC), "+".join(["(1+2)"] * 17 * scale)),
        ("not an array", lambda: JsonSchema(doubled), "1"),
    ]


def hostile() -> list[Case]:
    """What somebody may ask for who wants it to hang."""
    nested = '{"not":' * 5000 + "{}" + "}" * 5000
    return [
        ("(a+)+! on 100 kB of a", lambda: Regex("(a+)+!"), "a" * 100_000),
        ("(a{1000}){1000}", lambda: Regex("(a{1000}){1000}"), "a"),
        ("X{99999999}", lambda: Regex("X{99999999}"), "a"),
        ("X{50000}, the most that is taken", lambda: Regex("X{50000}w"), "ab"),
        (r"(\p{L}{1,100}){1,100}!", lambda: Regex(r"(\p{L}{1,100}){1,100}!"), "a" * 9000),
        ("an ambiguous grammar, 1,000 letters", lambda: Grammar('start: start start | "a"'), "a" * 1000),
        ("250 rules, the most that are taken", lambda: Grammar(_rules(248)), "a" * 248 + "c"),
        ("10,000 rules", lambda: Grammar(_rules(10_000)), "a"),
        ("a pattern that looks back", lambda: JsonSchema({"pattern": r"^(a*)*\1b$"}), json.dumps("a" * 4000)),
        ("a list of references 400 deep", lambda: JsonSchema(LOOP), "[" * 400 + "]" * 400),
        ("1,000 options for 10,000 values", lambda: JsonSchema({"items": {"oneOf": _consts(1000)}}), _many(10_000)),
        ("5,000 objects beside 5,000", lambda: JsonSchema({"items": {"enum": _objects(5000)}}), _texts(5000)),
        ("a schema of 1 MB", lambda: JsonSchema({"properties": {f"n{each}": ROW for each in range(6000)}}), "{}"),
        ("a schema nested 5,000 deep", lambda: JsonSchema(nested), "1"),
        ("an answer nested 100,000 deep", lambda: JsonSchema({}), "[" * 100_000),
    ]


def _rules(count: int) -> str:
    rules = "\n".join(f'r{each} ::= "a" r{each + 1} | "b"' for each in range(count))
    return f'root ::= r0\n{rules}\nr{count} ::= "c"'


def _consts(count: int) -> list[Any]:
    return [{"const": each} for each in range(count)]


def _objects(count: int) -> list[Any]:
    return [{"a": each} for each in range(count)]


def _many(count: int) -> str:
    return json.dumps([999] * count)


def _texts(count: int) -> str:
    return json.dumps([{"a": count - 1}] * count)


def measure(name: str, make: Callable[[], Constraint], text: str) -> dict[str, Any]:
    """One case: milliseconds of CPU time, and what came of it."""
    began = time.process_time()
    compiled, proved, verdict = 0.0, 0.0, "refused before it is sent"
    size = len(text)
    try:
        constraint = make()
        size += len(str(constraint.value))
        constraint.check()
        compiled = time.process_time() - began
        began = time.process_time()
        proof = constraint.prove(text)
        proved = time.process_time() - began
        verdict = "holds" if proof.holds else "given up" if "too co" in str(proof.why) else "does not hold"
    except InvalidConstraintError:
        compiled = time.process_time() - began
    allowed = PROOF_SECONDS + size * PROOF_SECONDS_PER_BYTE
    return {
        "case": name,
        "bytes": size,
        "compile": round(compiled * 1e3, 2),
        "prove": round(proved * 1e3, 2),
        "verdict": verdict,
        "allowed": round(allowed * 1e3),
    }


def main() -> None:
    """Measures all, prints and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="answers of a tenth of the size, and nothing is written")
    options = parser.parse_args()
    Regex("a").check()  # the engines are loaded
    JsonSchema({}).prove("1")
    found = [measure(*case) for case in (*everyday(10 if options.short else 100), *hostile())]
    lines = ["| constraint | bytes | compile, ms | prove, ms | verdict |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['case']} | {r['bytes']:,} | {r['compile']:.1f} | {r['prove']:.1f} | {r['verdict']} |" for r in found
    ]
    over = [row["case"] for row in found if max(row["compile"], row["prove"]) > row["allowed"]]
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {LOAD:.1f}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    said = f"Measured on {machine}; {peak} MB at most. Over 0.1 s and 2 µs for each byte: {', '.join(over) or 'none'}."
    text = "\n".join([said, "", *lines]) + "\n"
    print(text)
    if not options.short:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "verifier.md").write_text(text, encoding="utf-8")
        document = {"machine": machine, "peak_mb": peak, "over": over, "rows": found}
        (RESULTS / "verifier.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
